import importlib.metadata
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from unet2015 import __version__
from unet2015.builtin import built_in_models
from unet2015.cli import COMMANDS, main
from unet2015.commands import info
from unet2015.images import write_image


@pytest.fixture(scope="module")
def bash(tmp_path_factory):
    """A function that asks bash what it would complete."""
    script = tmp_path_factory.mktemp("completion") / "unet2015"
    with script.open("w") as file, pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.stdout", file)
        patched.setenv("COLUMNS", "20")
        assert main(["completion", "bash"]) == 0

    def complete(*words):
        program = f"""source {script}
        COMP_WORDS=(unet2015 {" ".join(f"'{word}'" for word in words)}) COMP_CWORD={len(words)}
        _unet2015
        echo "${{COMPREPLY[@]}}" """
        return subprocess.check_output(["bash", "-c", program], text=True).split()

    return complete


def test_commands_are_completed(bash):
    assert bash("we") == ["weightmap"]
    assert set(bash("")) == {*COMMANDS, "--help", "--version", "--quiet", "--verbose"}
    assert bash("--quiet", "we") == ["weightmap"]


def test_options_of_the_command_are_completed(bash):
    assert bash("weightmap", "x.tif", "--conn") == ["--connected-components"]
    assert {"--base-channels", "--sequences", "--quiet"} <= set(bash("train", "--"))
    assert bash("--verbose", "train", "--pres") == ["--preset"]
    assert "--sequences" not in bash("weightmap", "--")
    assert bash("train", "--vali") == ["--validation-sequences", "--validation-data"]
    assert bash("predict", "ima") == [], "files are left to the shell"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_too(shell, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")  # changed for good by the command
    assert main(["completion", shell]) == 0
    lines = capsys.readouterr().out.splitlines()
    if shell == "zsh":
        assert lines[:2] == ["autoload -U +X bashcompinit && bashcompinit", "_unet2015() {"]
        assert sum(
            line.lstrip().startswith(f"{name}) words=") for name in COMMANDS for line in lines
        ) == len(COMMANDS)
    else:
        for name, what in COMMANDS.items():
            assert f"complete -c unet2015 -n __fish_use_subcommand -a {name} -d '{what}'" in lines
        option = "complete -c unet2015 -n '__fish_seen_subcommand_from train' -l base-channels"
        assert option in lines


def test_info_shows_versions_and_device(capsys):
    assert main(["info"]) == 0
    page = capsys.readouterr().out
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["unet2015"] == __version__
    assert found["models"] == ", ".join(built_in_models())
    assert found["computes on"].startswith(("cpu", "cuda"))
    assert all(name in page and value in page for name, value in found.items())


@pytest.mark.parametrize("words", [["--quiet", "weightmap"], ["weightmap", "--quiet"]])
def test_quiet_shows_only_warnings(words, tmp_path):
    write_image(tmp_path / "labels.tif", np.eye(20, dtype=np.uint8))
    environment = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    command = [
        sys.executable,
        "-m",
        "unet2015",
        *words,
        tmp_path / "labels.tif",
        "-o",
        tmp_path / "o.tif",
    ]
    loud = [word for word in command if word != "--quiet"]
    shown = [
        subprocess.run(c, capture_output=True, text=True, check=True, env=environment).stderr
        for c in (loud, command)
    ]
    assert "class weights" in shown[0]
    assert "class weights" not in shown[1]
    assert "all cells have the number" in shown[1]


def test_info_distinguishes_broken_from_missing_extras(monkeypatch):
    there = importlib.metadata.version

    def version(name):
        if name == "openvino":
            raise importlib.metadata.PackageNotFoundError
        return "2026.1" if name == "dask" else there(name)

    def broken(name):
        raise ModuleNotFoundError(f"{name} lacks toolz")

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(info.importlib, "import_module", broken)
    found = info.gather()
    assert found["openvino"] == "not installed"
    assert found["dask"] == "2026.1, but cannot be imported (dask lacks toolz)"
