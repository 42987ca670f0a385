"""What all tests share: one thread, and where real data are."""

import os
import signal
from pathlib import Path

import hypothesis
import pytest

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# A job in a shell's background ignores Ctrl-C, and so would the processes that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Small networks gain nothing from threads, and busy machines lose much by them. Their number also
# decides the last bit of results, which must not depend on the process that computes them.
os.environ["OMP_NUM_THREADS"] = "1"

# What the tests expect is a CPU's; those of a GPU: CUDA_VISIBLE_DEVICES=0 pytest -k gpu
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(autouse=True)
def float32_unless_asked(monkeypatch):
    """What the tests expect is exact, so processors with bfloat16 compute as the others do."""
    monkeypatch.setattr("unet2015.engines.device._has_bfloat16", lambda _device: False)


@pytest.fixture(autouse=True)
def seeded():
    """Networks with initial weights are the same whatever ran before."""
    import torch  # not before the settings above

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_data():
    """Folder with the data sets of data/README.md, or a skipped test."""
    for folder in (os.environ.get("UNET2015_DATA"), Path(__file__).parents[1] / "data"):
        if folder and (Path(folder) / "PhC-C2DH-U373").is_dir():
            return Path(folder)
    pytest.skip("no real data: set UNET2015_DATA or put the data sets into data/")
