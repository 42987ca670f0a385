"""Memory: freed memory stays with the process, where the C library allows it."""

import os
import platform
import subprocess
import sys

import pytest

from unet2015.cli import main
from unet2015.engines import allocation
from unet2015.errors import InputError

FAULTS_OF_A_SECOND_MAP = """
import resource
import sys
import numpy as np
from unet2015.engines.allocation import keep_memory, kept_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.full(2**28, 1, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

kept = "keep" in sys.argv and keep_memory()
faults()
print(faults(), kept_memory() >= 2**28, kept)
"""
needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="the C library is not glibc"
)


def faults(*words, **environment):
    command = [sys.executable, "-c", FAULTS_OF_A_SECOND_MAP, *words]
    found, *answers = subprocess.check_output(
        command, text=True, env=os.environ | environment
    ).split()
    return int(found), *answers


@needs_glibc
def test_freed_memory_is_kept_for_reuse():
    usual, is_kept, _ = faults()
    assert is_kept == "False"
    kept, is_kept, taken = faults("keep")
    assert (is_kept, taken) == ("True", "True")
    assert 4 * kept < usual


@needs_glibc
def test_malloc_settings_of_the_user_are_respected():
    assert faults("keep", MALLOC_ARENA_MAX="2")[1:] == ("False", "False")
    tunable = "glibc.malloc.arena_max=2"
    assert faults("keep", GLIBC_TUNABLES=tunable)[1:] == ("False", "False")


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", None)
    assert not allocation.keep_memory()
    assert allocation.kept_memory() == 0


@pytest.mark.parametrize(
    ("command", "words"),
    [("predict", "image.tif -m model"), ("train", "data -o run"), ("demo", "-o demo")],
)
def test_commands_that_run_a_network_keep_memory(command, words, tmp_path, monkeypatch, capsys):
    def keep_memory():
        raise InputError("memory would be kept.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(f"unet2015.commands.{command}.keep_memory", keep_memory)
    assert main([command, *words.split()]) == 2
    assert "memory would be kept" in capsys.readouterr().err
