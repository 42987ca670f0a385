"""Memory: what is freed stays with the process, where the C library can do that."""

import platform
import subprocess
import sys

import pytest

from unet2015 import allocation

FAULTS_OF_A_SECOND_MAP = """
import resource, sys
import numpy as np
from unet2015 import keep_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.full(2**27, 1, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if "keep" in sys.argv:
    assert keep_memory()
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_is_not_asked_for_again():
    kept, usual = (
        int(subprocess.check_output([sys.executable, "-c", FAULTS_OF_A_SECOND_MAP, *words]))
        for words in (["keep"], [])
    )
    assert kept < 50 < usual


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", None)
    assert not allocation.keep_memory()
