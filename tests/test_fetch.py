"""Downloads and archives, from a local server that serves good ones, cut ones and bad ones."""

import http.server
import io
import stat
import threading
import zipfile

import pytest

from unet2015 import InputError, unpack
from unet2015.cli import main
from unet2015.commands import fetch
from unet2015.datasets.official import OFFICIAL
from unet2015.download import download

HOLDS = ("train-volume.tif", "train-labels.tif", "test-volume.tif")


def zipped(*members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


GOOD = zipped(*((f"top/{name}", name * 5000) for name in HOLDS))


class Server(http.server.ThreadingHTTPServer):
    """Serves `content`; cuts after `cut` bytes; knows ranges unless `plain`."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cut, self.plain, self.length = GOOD, None, False, None
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/data.zip"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        if server.content is None:
            return self.send_error(404)
        start = int(wanted[6:-1]) if wanted and not server.plain else 0
        if start >= len(server.content):
            return self.send_error(416)
        body = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(server.length or len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    local = OFFICIAL["em"]._replace(url=running.url)
    monkeypatch.setitem(OFFICIAL, "em", local)
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def fetched(tmp_path):
    return main(["fetch", "em", "--to", str(tmp_path / "data")])


def left(tmp_path):
    return sorted(path.name for path in (tmp_path / "data").iterdir())


@pytest.mark.usefixtures("server")
def test_a_data_set_is_fetched_unpacked_and_its_terms_are_told(tmp_path, caplog):
    caplog.set_level("INFO")
    assert fetched(tmp_path) == 0
    assert left(tmp_path) == ["ISBI-2012-EM"]
    assert (tmp_path / "data/ISBI-2012-EM/train-labels.tif").read_text() == HOLDS[1] * 5000
    assert "Arganda-Carreras" in caplog.text
    assert "free for research" in caplog.text


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    fetched(tmp_path)
    assert fetched(tmp_path) == 0
    assert len(server.asked) == 1
    (tmp_path / "data/ISBI-2012-EM/train-labels.tif").unlink()
    assert fetched(tmp_path) == 2


@pytest.mark.parametrize("plain", [False, True])
def test_a_cut_download_goes_on(server, tmp_path, capsys, plain):
    server.cut, server.plain = 100, plain
    assert fetched(tmp_path) == 2
    assert "goes on from here" in capsys.readouterr().err
    assert left(tmp_path) == ["data.zip.part"]
    server.cut = None
    assert fetched(tmp_path) == 0
    assert server.asked == [None, "bytes=100-"]


def test_a_part_of_something_longer_is_thrown_away(server, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/data.zip.part").write_bytes(GOOD + b"more")
    assert fetched(tmp_path) == 0
    assert server.asked == [f"bytes={len(GOOD) + 4}-", None]


def test_a_wrong_checksum_is_refused_and_nothing_kept(server, tmp_path):
    with pytest.raises(InputError, match="checksum"):
        download(server.url, tmp_path / "a.zip", 10**6, "0" * 64)
    assert not list(tmp_path.iterdir())


def test_a_missing_file_and_a_dead_server_are_told_in_one_sentence(server, tmp_path, capsys):
    server.content = None
    assert fetched(tmp_path) == 2
    assert "404" in capsys.readouterr().err
    with pytest.raises(InputError, match="goes on from here"):
        download("http://127.0.0.1:9/a.zip", tmp_path / "a.zip", 10**6)


@pytest.mark.parametrize("announced", [None, 10])
def test_more_bytes_than_expected_are_refused(server, tmp_path, monkeypatch, capsys, announced):
    monkeypatch.setattr(fetch, "LARGEST", 50)
    server.length = announced
    assert fetched(tmp_path) == 2
    message = capsys.readouterr().err
    assert ("50 at most" if announced is None else "damaged") in message


def link():
    member = zipfile.ZipInfo("link")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member, "/etc/passwd"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped(("../out.tif", "x")), "leaves the folder"),
        (zipped(("/out.tif", "x")), "leaves the folder"),
        (zipped(("a\\..\\..\\out.tif", "x")), "leaves the folder"),
        (zipped(("C:/out.tif", "x")), "leaves the folder"),
        (zipped(link()), "link"),
        (zipped(("top/other.tif", "x")), "does not hold train-volume.tif"),
        (zipped(("bomb", b"\0" * 2_000_000)), "unpacks to more"),
        (zipped(*((str(n), "") for n in range(40))), "holds 40 files"),
        (GOOD[:200] + bytes(50) + GOOD[250:], "damaged"),
        (GOOD[:-40], "damaged"),
        (b"<html>not found</html>", "damaged"),
    ],
)
def test_bad_archives_leave_nothing_unpacked(
    server, tmp_path, monkeypatch, capsys, content, message
):
    monkeypatch.setattr(unpack, "LARGEST", 1_000_000)
    monkeypatch.setattr(unpack, "MOST_FILES", 30)
    server.content = content
    assert fetched(tmp_path) == 2
    assert message in capsys.readouterr().err
    assert left(tmp_path) == ["data.zip"]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
