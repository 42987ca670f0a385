"""Ctrl-C in a separate process, as from a user."""

import os
import signal
import subprocess
import sys
import time

import numpy as np

from unet2015 import load_model, save_model
from unet2015.checkpoint import Model
from unet2015.cli import main
from unet2015.images import read_image, write_image
from unet2015.prediction import predict
from unet2015.unet import UNet


def test_a_second_ctrl_c_while_python_exits_shows_no_traceback():
    """Cleaning up takes a moment, in which many users press it again."""
    code = """
import atexit, os, signal, time
from unet2015 import cli

def tidy():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)

atexit.register(tidy)
cli._dispatch = lambda words: signal.raise_signal(signal.SIGINT)
cli.run()
"""
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (130, "unet2015: interrupted.\n")


def test_a_prediction_stopped_by_ctrl_c_can_be_resumed(tmp_path):
    source, network, out = (tmp_path / name for name in ("i.tif", "m.safetensors", "out.tif"))
    write_image(source, np.random.default_rng(0).integers(0, 255, (700, 800), dtype=np.uint8))
    save_model(network, Model(UNet(base_channels=2, depth=2), "standard"))
    words = ["predict", str(source), "-m", str(network), "-o", str(out), "--device", "cpu"]
    words += ["--precision", "float32", "--tile", "148", "--keep-scratch"]
    scratch = tmp_path / ".out.tif.unet2015"

    def files():
        return sum(path.is_file() for path in scratch.rglob("*"))

    with subprocess.Popen(
        [sys.executable, "-m", "unet2015", *words],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 60
        while files() < 6 and time.monotonic() < deadline:
            time.sleep(0.02)
        begun = files() >= 6
        os.killpg(process.pid, signal.SIGINT)
        _, shown = process.communicate(timeout=60)
    assert begun, "no tile within a minute"
    assert process.returncode == 130
    assert "Traceback" not in shown
    assert shown.rstrip().endswith("interrupted: the same command resumes where it stopped.")
    assert not out.exists()
    chunks = scratch.glob("pixels-*.zarr/c/**/*")
    done = {path: path.stat().st_mtime_ns for path in chunks if path.is_file()}
    assert done
    assert main(words) == 0
    uninterrupted = predict(read_image(source), load_model(network), tile=148)[1]
    np.testing.assert_allclose(read_image(out), uninterrupted, atol=1e-5)
    assert any(path.stat().st_mtime_ns == when for path, when in done.items()), "kept work"
