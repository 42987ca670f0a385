import subprocess
import sys

import pytest

from unet2015 import __version__
from unet2015.cli import COMMANDS, main


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
    assert "no command 'segment'" in capsys.readouterr().err


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_has_a_help_page(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"unet2015 {command}" in capsys.readouterr().out


def test_ctrl_c_ends_with_one_line_and_its_own_status(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("unet2015.cli._run", interrupt)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err.strip() == "unet2015: interrupted."


def test_help_needs_no_heavy_imports():
    code = (
        "import sys; from unet2015.cli import main; main(['--help']); "
        "sys.exit(bool({'torch', 'numpy', 'tyro'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
