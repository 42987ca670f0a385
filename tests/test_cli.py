import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unet2015 import InputError, __version__
from unet2015.cli import COMMANDS, main
from unet2015.images import write_image
from unet2015.progress import Progress


def test_the_overview_names_every_command(capsys):
    for words in ([], ["--help"], ["-h"], ["help"]):
        assert main(words) == 0
        shown = capsys.readouterr().out
        assert all(name in shown for name in COMMANDS)


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"unet2015 {__version__}"


def test_an_unknown_command_is_reported(capsys):
    assert main(["segment"]) == 2
    assert "unknown command 'segment'" in capsys.readouterr().err


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_has_a_help_page(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    page = capsys.readouterr().out
    assert f"unet2015 {command}" in page
    assert "{None}" not in page


def test_an_option_that_takes_the_data_is_explained(capsys):
    words = "takes all words that follow it: name files and folders first"
    for told, arguments in (
        (True, ["train", "--sequences", "01", "data", "--out", "run"]),
        (True, ["train", "--out", "run", "--sequences", "01", "data", "--device", "cpu"]),
        (False, ["train", "data", "--sequences", "01", "--no-such-option"]),
        (False, ["train", "data", "--no-such-option"]),
        (False, ["weightmap", "--spacing", "1", "1", "labels.tif"]),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert (words in capsys.readouterr().err) == told, arguments


def test_help_can_be_a_command(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["help", "train"])
    assert stopped.value.code == 0
    assert "--learning-rate" in capsys.readouterr().out


def test_ctrl_c_prints_one_line_and_has_its_own_status(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("unet2015.cli._run", interrupt)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err.strip() == "unet2015: interrupted."


@pytest.fixture
def failing(monkeypatch):
    def fail(*_):
        raise RuntimeError("it broke")

    monkeypatch.setattr("unet2015.cli._run", fail)


@pytest.mark.usefixtures("failing")
def test_an_internal_error_gets_one_line(capsys):
    assert main(["demo"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:116] DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 3.00 GiB."),
    ],
)
def test_lack_of_memory_is_not_an_internal_error(error, monkeypatch, capsys):
    def fail(*_):
        raise error

    monkeypatch.setattr("unet2015.cli._run", fail)
    assert main(["train"]) == 2
    assert capsys.readouterr().err.endswith("use a smaller --tile.\n")
    assert main(["predict"]) == 2
    told = "use a smaller --tile, with --overwrite if a run was interrupted.\n"
    assert capsys.readouterr().err.endswith(told)
    assert main(["weightmap"]) == 2
    assert capsys.readouterr().err.endswith("use a smaller image.\n")


def test_the_error_for_an_open_file_names_that_file(monkeypatch, capsys):
    def fail(*_):
        error = PermissionError(13, "Access is denied", ".hidden/draft.tif", None, "mask000.tif")
        error.winerror = 5
        raise error

    monkeypatch.setattr("unet2015.cli._run", fail)
    assert main(["track"]) == 2
    told = "unet2015: mask000.tif: Access is denied; it may be open in another program.\n"
    assert capsys.readouterr().err == told


@pytest.mark.usefixtures("failing")
def test_verbose_shows_the_traceback(capsys, caplog):
    assert main(["demo", "--verbose"]) == 1
    assert "it broke" in capsys.readouterr().err
    assert "in fail" in caplog.text
    caplog.clear()
    assert main(["demo"]) == 1
    assert not caplog.text


def test_quiet_hides_progress_bars_for_one_run_only(monkeypatch, capsys):
    def show(*_):
        sys.stderr.isatty = lambda: True
        for _ in Progress(range(3), disable=None):
            pass

    monkeypatch.setattr("unet2015.cli._run", show)
    assert main(["demo", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["demo"]) == 0
    assert "3/3" in capsys.readouterr().err


def test_verbose_does_not_show_messages_of_other_packages(monkeypatch, caplog):
    monkeypatch.setattr("unet2015.cli._run", lambda *_: logging.getLogger("other").debug("hello"))
    assert main(["demo", "--verbose"]) == 0
    assert "hello" not in caplog.text


@pytest.mark.parametrize(
    "words",
    [
        "weightmap r/mask000.tif -o w.tif --preview w.png",
        "track r",
        "evaluate r r --picture p.png --report p.html",
    ],
)
def test_commands_without_a_network_do_not_import_torch(words, tmp_path):
    write_image(tmp_path / "r" / "mask000.tif", np.eye(30, dtype=np.uint16))
    code = (
        "import sys; from unet2015.cli import main; "
        "sys.exit(main(sys.argv[1:]) or 'torch' in sys.modules)"
    )
    program = [sys.executable, "-c", code, *words.split()]
    assert subprocess.run(program, cwd=tmp_path, capture_output=True).returncode == 0


def test_help_does_not_import_heavy_packages():
    code = (
        "import sys; from unet2015.cli import main; main(['--help']); "
        "sys.exit(bool({'torch', 'numpy', 'tyro'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def unet2015(words, output):
    """Run the command line as a user does, with buffered output."""
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-m", "unet2015", *words],
        stdout=output,
        stderr=subprocess.PIPE,
        env=buffered,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [["--help"], ["models"], ["track", "--help"]])
def test_unwritable_output_gets_one_line(words):
    with open("/dev/full", "w") as full:
        ended = unet2015(words, full)
    assert ended.returncode == 2
    assert ended.stderr.count(b"\n") == 1


@pytest.mark.parametrize("words", [["--help"], ["models"], ["track", "--help"]])
def test_a_closed_pipe_is_not_an_error(words):
    reading, writing = os.pipe()
    os.close(reading)
    ended = unet2015(words, writing)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_names_outside_the_output_encoding_are_escaped(tmp_path):
    image = tmp_path / "\u7d30\u80de.tif"
    tifffile.imwrite(image, np.eye(9, dtype=np.uint8))
    words = [sys.executable, "-m", "unet2015", "evaluate", image, image]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    ended = subprocess.run(words, capture_output=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert rb"\u7d30\u80de" in ended.stdout


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_openmp_threads_spin_briefly_unless_configured(given, spins):
    code = (
        "import os, sys; from unet2015 import cli\n"
        "sys.argv = ['unet2015', '--version']\n"
        "try: cli.run()\n"
        "except SystemExit: print('torch' in sys.modules, os.environ.get('GOMP_SPINCOUNT'))"
    )
    plain = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, env=plain | given)
    assert ended.stdout.split()[-2:] == [b"False", spins.encode()]


def test_a_missing_stdout_is_not_an_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["--version"]) == 0


def test_an_error_is_reported_even_if_output_is_unwritable(monkeypatch, capsys):
    def fail(*_):
        raise InputError("the mistake")

    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unet2015.cli._run", fail)
    monkeypatch.setattr("unet2015.cli._flush", full)
    assert main(["demo"]) == 2
    assert "the mistake" in capsys.readouterr().err


def test_messages_have_lines_of_their_own_beside_a_progress_bar():
    code = (
        "import logging; from tqdm import tqdm; from unet2015 import cli, progress\n"
        "def work(*_):\n"
        "    log = logging.getLogger('unet2015').warning\n"
        "    with tqdm(total=9, desc='work') as bar:\n"
        "        bar.update(3)\n"
        "        bar.refresh()\n"
        "        log('a message')\n"
        "    with progress.Progress(total=9, desc='not drawn yet'):\n"
        "        log('another')\n"
        "    log('a third')\n"
        "cli._run = work; cli.main(['demo'])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    lines = re.split(r"[\r\n]", ended.stderr)
    assert any(line.startswith("work:  33%") for line in lines)
    assert {"a message", "another", "a third"} <= set(lines)
    assert "not drawn yet" not in ended.stderr


def test_a_missing_stderr_is_not_an_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with Progress(total=3) as bar:
        bar.refresh()
