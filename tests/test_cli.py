import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unet2015 import InputError, __version__
from unet2015.cli import COMMANDS, main
from unet2015.progress import Progress


def test_the_overview_names_every_command(capsys):
    for words in ([], ["--help"], ["-h"]):
        assert main(words) == 0
        shown = capsys.readouterr().out
        assert all(name in shown for name in COMMANDS)


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"unet2015 {__version__}"


def test_an_unknown_command_is_answered_with_the_known_ones(capsys):
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


def test_ctrl_c_ends_with_one_line_and_its_own_status(monkeypatch, capsys):
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
def test_a_mistake_of_ours_is_told_in_one_line(capsys):
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
def test_too_little_memory_is_no_mistake_of_ours(error, monkeypatch, capsys):
    def fail(*_):
        raise error

    monkeypatch.setattr("unet2015.cli._run", fail)
    assert main(["predict"]) == 2
    assert capsys.readouterr().err.endswith("use a smaller --tile.\n")
    assert main(["weightmap"]) == 2
    assert capsys.readouterr().err.endswith("use a smaller image.\n")


def test_what_another_program_has_open_is_told_by_its_own_name(monkeypatch, capsys):
    def fail(*_):
        error = PermissionError(13, "Access is denied", ".hidden/draft.tif", None, "mask000.tif")
        error.winerror = 5
        raise error

    monkeypatch.setattr("unet2015.cli._run", fail)
    assert main(["track"]) == 2
    told = "unet2015: mask000.tif: Access is denied; it may be open in another program.\n"
    assert capsys.readouterr().err == told


@pytest.mark.usefixtures("failing")
def test_verbose_shows_where_an_error_comes_from(capsys, caplog):
    assert main(["demo", "--verbose"]) == 1
    assert "it broke" in capsys.readouterr().err
    assert "in fail" in caplog.text
    caplog.clear()
    assert main(["demo"]) == 1
    assert not caplog.text


def test_quiet_hides_the_bars_that_ask_for_a_screen_and_only_while_it_runs(monkeypatch, capsys):
    def show(*_):
        sys.stderr.isatty = lambda: True
        for _ in Progress(range(3), disable=None):
            pass

    monkeypatch.setattr("unet2015.cli._run", show)
    assert main(["demo", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["demo"]) == 0
    assert "3/3" in capsys.readouterr().err


def test_verbose_does_not_let_other_packages_talk(monkeypatch, caplog):
    monkeypatch.setattr("unet2015.cli._run", lambda *_: logging.getLogger("other").debug("hello"))
    assert main(["demo", "--verbose"]) == 0
    assert "hello" not in caplog.text


def test_the_weight_map_command_does_not_import_torch():
    code = (
        "import sys; from unet2015.cli import main\n"
        "try: main(['weightmap', '--help'])\n"
        "except SystemExit: sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_help_needs_no_heavy_imports():
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
def test_output_that_cannot_be_written_is_told_in_one_line(words):
    with open("/dev/full", "w") as full:
        ended = unet2015(words, full)
    assert ended.returncode == 2
    assert ended.stderr.count(b"\n") == 1


@pytest.mark.parametrize("words", [["--help"], ["models"], ["track", "--help"]])
def test_a_reader_that_has_gone_is_no_mistake(words):
    reading, writing = os.pipe()
    os.close(reading)
    ended = unet2015(words, writing)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_name_that_does_not_fit_the_encoding_of_the_output_is_shown_all_the_same(tmp_path):
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
def test_threads_do_not_wait_actively_for_long_unless_they_are_told_to(given, spins):
    code = (
        "import os, sys; from unet2015 import cli\n"
        "sys.argv = ['unet2015', '--version']\n"
        "try: cli.run()\n"
        "except SystemExit: print('torch' in sys.modules, os.environ.get('GOMP_SPINCOUNT'))"
    )
    plain = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, env=plain | given)
    assert ended.stdout.split()[-2:] == [b"False", spins.encode()]


def test_without_a_terminal_there_is_no_output_and_no_mistake(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["--version"]) == 0


def test_a_mistake_is_told_also_when_the_output_cannot_be_written(monkeypatch, capsys):
    def fail(*_):
        raise InputError("the mistake")

    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unet2015.cli._run", fail)
    monkeypatch.setattr("unet2015.cli._flush", full)
    assert main(["demo"]) == 2
    assert "the mistake" in capsys.readouterr().err
