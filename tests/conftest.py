"""Shared by all tests: one thread, and the folder with real data."""

import os
import signal
from pathlib import Path

import hypothesis
import pytest

# The time of an example depends on the load of the machine.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# Background jobs of a shell ignore Ctrl-C, and so would the processes that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Small networks gain nothing from threads, and busy machines lose much. The number of threads also
# decides the last bit of results, which must be the same in all processes.
os.environ["OMP_NUM_THREADS"] = "1"

# Expected values are a CPU's. To run the tests for a GPU: CUDA_VISIBLE_DEVICES=0 pytest -k gpu
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(autouse=True)
def float32_unless_asked(monkeypatch):
    """Tests expect exact values, so bfloat16 is off by default on processors that have it."""
    monkeypatch.setattr("unet2015.engines.device._has_bfloat16", lambda _device: False)


@pytest.fixture(autouse=True)
def seeded():
    """Initial weights are the same whatever ran before."""
    import torch  # not before the settings above

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_data():
    """Folder with the data sets of data/README.md, or a skipped test."""
    for folder in (os.environ.get("UNET2015_DATA"), Path(__file__).parents[1] / "data"):
        if folder and (Path(folder) / "PhC-C2DH-U373").is_dir():
            return Path(folder)
    pytest.skip("no real data: set UNET2015_DATA or put the data sets into data/")
