"""Downloads and archives, from a local server that serves good, truncated and bad ones."""

import errno
import hashlib
import http.server
import io
import random
import signal
import ssl
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest

from unet2015 import InputError
from unet2015.cli import main
from unet2015.commands import fetch
from unet2015.datasets import unpack
from unet2015.datasets.download import download
from unet2015.datasets.official import OFFICIAL

HOLDS = ("train-volume.tif", "train-labels.tif", "test-volume.tif")


def zipped(*members, compression=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


GOOD = zipped(*((f"top/{name}", name * 5000) for name in HOLDS))


class Server(http.server.ThreadingHTTPServer):
    """Serves `content`, truncated to `cut` bytes; no ranges if `plain`, ranges wrong by `off`."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cut, self.plain, self.length = GOOD, None, False, None
        self.tag, self.off, self.asked = '"1"', 0, []
        self.go_on = threading.Event()
        self.go_on.set()

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
        same = self.headers.get("If-Range", server.tag) == server.tag and not server.plain
        start = int(wanted[6:-1]) + server.off if wanted and same else 0
        if start >= len(server.content):
            return self.send_error(416)
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if server.tag:
            self.send_header("ETag", server.tag)
        if start:
            end = len(server.content)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        self.send_header("Content-Length", str(server.length or len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut])
        self.wfile.flush()
        server.go_on.wait(60)
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


def test_a_full_disk_is_not_taken_for_a_broken_connection(server, tmp_path, monkeypatch):
    real = Path.open

    def open_full(path, mode="r", **options):
        if mode == "wb":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, mode, **options)

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(OSError, match="No space left") as full:
        download(server.url, tmp_path / "a.zip", 10**6)
    assert full.value.filename == str(tmp_path / "a.zip.part")


@pytest.mark.usefixtures("server")
def test_a_data_set_is_fetched_and_unpacked_and_its_terms_are_shown(tmp_path, caplog):
    caplog.set_level("INFO")
    assert fetched(tmp_path) == 0
    assert left(tmp_path) == ["ISBI-2012-EM"]
    assert (tmp_path / "data/ISBI-2012-EM/train-labels.tif").read_text() == HOLDS[1] * 5000
    assert "Arganda-Carreras" in caplog.text
    assert "non-commercial" in caplog.text


def test_an_existing_archive_is_verified_and_kept(server, tmp_path, monkeypatch, capsys):
    archive = tmp_path / "data" / Path(OFFICIAL["em"].url).name
    archive.parent.mkdir()
    archive.write_bytes(GOOD)
    official = OFFICIAL["em"]
    monkeypatch.setitem(OFFICIAL, "em", official._replace(sha256="0" * 64))
    assert fetched(tmp_path) == 2
    assert "not the official archive" in capsys.readouterr().err
    assert left(tmp_path) == [archive.name]
    known = hashlib.sha256(GOOD).hexdigest()
    monkeypatch.setitem(OFFICIAL, "em", official._replace(sha256=known))
    assert fetched(tmp_path) == 0
    assert left(tmp_path) == ["ISBI-2012-EM", archive.name]
    assert not server.asked


@pytest.mark.usefixtures("server")
def test_another_archive_than_the_official_one_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setitem(OFFICIAL, "em", OFFICIAL["em"]._replace(sha256="0" * 64))
    assert fetched(tmp_path) == 2
    assert left(tmp_path) == []


def test_an_existing_data_set_is_not_fetched_again(server, tmp_path):
    fetched(tmp_path)
    assert fetched(tmp_path) == 0
    assert len(server.asked) == 1
    (tmp_path / "data/ISBI-2012-EM/train-labels.tif").unlink()
    assert fetched(tmp_path) == 2


@pytest.mark.parametrize("plain", [False, True])
def test_an_interrupted_download_resumes(server, tmp_path, capsys, plain):
    server.cut, server.plain = 100, plain
    assert fetched(tmp_path) == 2
    assert "repeat the command to resume" in capsys.readouterr().err
    assert left(tmp_path) == ["data.zip.part", "data.zip.part.tag"]
    server.cut = None
    assert fetched(tmp_path) == 0
    assert server.asked == [None, "bytes=100-"]
    assert left(tmp_path) == ["ISBI-2012-EM"]


def test_a_file_that_changed_in_the_meantime_is_fetched_anew(server, tmp_path):
    server.cut, server.content = 100, zipped(("old", "old" * 1000))
    assert fetched(tmp_path) == 2
    server.cut, server.content, server.tag = None, GOOD, '"2"'
    assert fetched(tmp_path) == 0
    assert left(tmp_path) == ["ISBI-2012-EM"]


def test_a_tag_is_never_stored_with_bytes_of_another_version(server, tmp_path, monkeypatch):
    server.cut, server.content = 100, zipped(("old", "old" * 1000))
    assert fetched(tmp_path) == 2
    server.cut, server.content, server.tag = None, GOOD, '"2"'
    part = tmp_path / "data" / "data.zip.part"

    def killed(_path, text):
        assert text == '"2"'
        assert not part.exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", killed)
    assert fetched(tmp_path) == 130


@pytest.mark.parametrize("tag", [None, 'W/"1"'])
def test_a_file_without_a_strong_tag_is_fetched_anew(server, tmp_path, tag):
    server.cut, server.tag = 100, tag
    assert fetched(tmp_path) == 2
    server.cut = None
    assert fetched(tmp_path) == 0
    assert server.asked == [None, None]


def test_a_response_at_a_wrong_offset_is_not_appended(server, tmp_path):
    server.cut = 100
    assert fetched(tmp_path) == 2
    server.cut, server.off = None, 7
    assert fetched(tmp_path) == 0
    assert server.asked == [None, "bytes=100-", None]


def test_a_download_stopped_by_ctrl_c_can_be_resumed(server, tmp_path):
    noise = random.Random(0).randbytes(900_000)  # more than the 128 KiB that Python 3.14 buffers
    server.content, server.cut = zipped(("noise", noise), *((name, "") for name in HOLDS)), 600_000
    server.go_on.clear()
    part = tmp_path / "data/data.zip.part"
    code = (
        "import sys\nfrom unet2015.cli import main\n"
        "from unet2015.datasets.official import OFFICIAL\n"
        f"OFFICIAL['em'] = OFFICIAL['em']._replace(url={server.url!r});"
        f"sys.exit(main(['fetch', 'em', '--to', {str(part.parent)!r}]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate(timeout=30)
    server.go_on.set()
    assert process.returncode == 130
    assert "Traceback" not in shown
    assert shown.endswith("unet2015: interrupted.\n")
    have = part.stat().st_size
    server.cut = None
    assert fetched(tmp_path) == 0
    assert server.asked == [None, f"bytes={have}-"]
    assert (tmp_path / "data/ISBI-2012-EM/noise").read_bytes() == noise


def test_an_oversized_partial_file_is_discarded(server, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/data.zip.part").write_bytes(GOOD + b"more")
    (tmp_path / "data/data.zip.part.tag").write_text(server.tag)
    assert fetched(tmp_path) == 0
    assert server.asked == [f"bytes={len(GOOD) + 4}-", None]


def test_a_file_with_a_wrong_checksum_is_refused_and_deleted(server, tmp_path):
    with pytest.raises(InputError, match="checksum"):
        download(server.url, tmp_path / "a.zip", 10**6, "0" * 64)
    assert not list(tmp_path.iterdir())


def test_a_missing_file_and_an_unreachable_server_get_one_sentence(server, tmp_path, capsys):
    server.content = None
    assert fetched(tmp_path) == 2
    assert "404" in capsys.readouterr().err
    with pytest.raises(InputError, match="repeat the command to resume"):
        download("http://127.0.0.1:9/a.zip", tmp_path / "a.zip", 10**6)


def test_missing_certificates_are_explained(tmp_path, monkeypatch):
    reason = ssl.SSLCertVerificationError("CERTIFICATE_VERIFY_FAILED")

    def urlopen(*_, **__):
        raise urllib.error.URLError(reason)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    for code, told in (
        (20, 'run "Install Certificates'),
        (10, "repeat the command to resume"),
    ):  # expired
        reason.verify_code = code
        with pytest.raises(InputError, match=f"VERIFY_FAILED.*{told}"):
            download("https://somewhere/a.zip", tmp_path / "a.zip", 10**6)


@pytest.mark.parametrize("announced", [None, 10])
def test_more_bytes_than_expected_are_refused(server, tmp_path, monkeypatch, capsys, announced):
    monkeypatch.setattr(fetch, "LARGEST", 50)
    server.length = announced
    assert fetched(tmp_path) == 2
    message = capsys.readouterr().err
    assert ("at most 50" if announced is None else "damaged") in message


def broken(compression):
    content = bytearray(zipped(("a", "x" * 5000), compression=compression))
    content[45:60] = bytes(15)
    return bytes(content)


def encrypted():
    content = bytearray(zipped(("secret", "x")))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


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
        (encrypted(), "encrypted"),
        (zipped(("a", "x"), ("a/b", "x")), "damaged"),
        (b"<html>not found</html>", "damaged"),
        (broken(zipfile.ZIP_LZMA), "damaged"),
        (broken(zipfile.ZIP_BZIP2), "damaged"),
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
