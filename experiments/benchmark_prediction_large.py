"""Speed and memory of predicting large images.

    python experiments/benchmark_prediction_large.py [--sides 6000] [--full] [--model M]
        [--base-channels 16] [--depth 4] [--backend torch] [--kills 10]
        [--output experiments/results/prediction_large.json]

For each side length, ``unet2015 predict --labels`` finds the cells of a generated image (uint8,
tiled BigTIFF, Deflate) in its own process. Measured are

peak     resident memory of the process and its descendants, sampled every 0.1 s, in GiB, without
         the kernel's file cache
speed    megapixels of the image per second, from the start of the command to its end
network  share of that wall time in which the network computes; with PyTorch as the backend only

--kills N predicts each image again, kills that run N times with SIGKILL at random moments, and
reports whether the final result is the same, byte by byte.

--full measures the size of the stated goal, 20,000 x 20,000 pixels. Without --model, the weights
are random except for one channel, which carries the blurred image to the output, so that cells
have a realistic size.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from results_table import HERE
from scipy import ndimage

from unet2015.checkpoint import Model, save_model
from unet2015.images import open_image
from unet2015.unet import UNet

GOAL = 20_000
GOAL_GIB = 1.5
GOAL_SHARE = 0.85
TILE = 512

PROGRAM = """
import json, sys, time
import torch
from unet2015.cli import main
from unet2015.unet import UNet

spent, start = 0.0, 0.0

def before(*_):
    global start
    start = time.perf_counter()

def after(*_):
    global spent
    spent += time.perf_counter() - start

torch.nn.modules.module.register_module_forward_pre_hook(
    lambda module, _: before() if isinstance(module, UNet) else None
)
torch.nn.modules.module.register_module_forward_hook(
    lambda module, *_: after() if isinstance(module, UNet) else None
)
status = main(sys.argv[2:])
json.dump(spent, open(sys.argv[1], "w"))
sys.exit(status)
"""


def generated(side: int, seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Tiles of bright blobs on a noisy background, each a random crop of one patch."""
    rng = np.random.default_rng(seed)
    patch = 2 * TILE
    points = np.zeros((patch, patch), np.float32)
    points[tuple(rng.integers(0, patch, (2, patch * patch // 2000)))] = 1
    blobs = ndimage.gaussian_filter(points, 7, mode="wrap")
    grey = 60 + 120 * np.clip(blobs / np.percentile(blobs, 99), 0, 1)
    grey = (grey + rng.normal(0, 6, grey.shape)).clip(0, 255).astype(np.uint8)
    for _ in range((-(-side // TILE)) ** 2):
        row, column = rng.integers(0, patch - TILE, 2)
        yield grey[row : row + TILE, column : column + TILE]


def write_source(path: Path, side: int) -> None:
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(
            generated(side),
            shape=(side, side),
            dtype=np.uint8,
            tile=(TILE, TILE),
            compression="zlib",
            photometric="minisblack",
            metadata=None,
        )


def thresholding_model(base_channels: int, depth: int, source: Path) -> Model:
    """Network of the usual cost that finds the brightest third of the image."""
    torch.manual_seed(0)
    network = UNet(base_channels=base_channels, depth=depth)
    level = 4.0  # added to the normalised image, so that it passes the ReLUs
    with torch.no_grad():
        # In the concatenation, the skip's channels follow those of the up-convolution.
        for convolution, channel in [
            (network.contracting[0][0], 0),
            (network.contracting[0][2], 0),
            (network.expanding[0][0], base_channels),
            (network.expanding[0][2], 0),
        ]:
            convolution.weight[0] = 0
            convolution.weight[0, channel] = 1 / 9
        network.contracting[0][0].bias[0] = level
        network.classifier.weight[:] = 0
        network.classifier.weight[1, 0] = 1
        with open_image(source) as image:
            part = image.read((), slice(0, 2000), slice(0, 2000))[0].astype(np.float32)
        blurred = ndimage.gaussian_filter((part - part.mean()) / part.std(), 1.6)
        network.classifier.bias[0] = level + float(np.percentile(blurred, 67))
    return Model(network, "standard")


class PeakMemory(threading.Thread):
    """Watches the resident memory of a process and its descendants."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self._process = process
        self.bytes = 0

    def run(self) -> None:
        """Sample until the process has ended."""
        page = os.sysconf("SC_PAGE_SIZE")
        while resident := sum(_resident(number) for number in _family(self._process)):
            self.bytes = max(self.bytes, resident * page)
            time.sleep(0.1)


def _family(process: int) -> Iterator[int]:
    yield process
    try:
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _family(int(child))
    except OSError:  # the process has just ended
        return


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except OSError:
        return 0


def measure(side: int, folder: Path, options: Namespace) -> dict[str, Any]:
    source, target, model = folder / "image.tif", folder / "cells.tif", folder / "m.safetensors"
    write_source(source, side)
    if options.model is None:
        save_model(model, thresholding_model(options.base_channels, options.depth, source))
    start = time.perf_counter()
    process = launch(source, target, options.model or model, folder, options)
    memory = PeakMemory(process.pid)
    memory.start()
    if process.wait():
        raise SystemExit(f"prediction failed with status {process.returncode}")
    seconds = time.perf_counter() - start
    memory.join()
    network = json.loads((folder / "network.json").read_text())
    with open_image(target) as result:
        rows = range(0, side, 1024)
        cells = max(int(result.read((), slice(row, row + 1024)).max()) for row in rows)
    found = {
        "side": side,
        "cells": cells,
        "peak_gib": round(memory.bytes / 2**30, 3),
        "seconds": round(seconds, 1),
        "megapixels_per_second": round(side**2 / 1e6 / seconds, 3),
        "network_share": round(network / seconds, 3) if options.backend == "torch" else None,
        "source_mib": round(source.stat().st_size / 2**20, 1),
        "result_mib": round(target.stat().st_size / 2**20, 1),
    }
    if options.kills:
        again = folder / "again.tif"
        predict_killed(source, again, options.model or model, folder, seconds, options)
        found["kills"] = options.kills
        found["identical_after_kills"] = again.read_bytes() == target.read_bytes()
    return found


def predict_killed(
    source: Path, target: Path, model: Path, folder: Path, seconds: float, options: Namespace
) -> None:
    """Predict, killed at random moments; without kills, the run takes `seconds`."""
    rng = np.random.default_rng(0)
    for _ in range(options.kills):
        process = launch(source, target, model, folder, options)
        try:
            process.wait(float(rng.uniform(0.1, 1)) * seconds / 3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        else:
            raise SystemExit(f"it had finished before it was killed {options.kills} times")
    if status := launch(source, target, model, folder, options).wait():
        raise SystemExit(f"the run after the kills ended with status {status}")


def launch(
    source: Path, target: Path, model: Path, folder: Path, options: Namespace
) -> subprocess.Popen[bytes]:
    words = ["predict", source, "-m", model, "-o", target, "--labels"]
    words += ["--device", "cpu", "--precision", options.precision, "--backend", options.backend]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, [folder / "network.json", *words])],
        stderr=None if options.verbose else subprocess.DEVNULL,
    )


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[6000])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--base-channels", type=int, default=16)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--backend", default="torch", choices=["torch", "compile", "openvino"])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--folder", type=Path, help="for the images; a temporary one by default")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "prediction_large.json")
    options = parser.parse_args()
    results = {
        "machine": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load_at_start": round(os.getloadavg()[0], 2),
        "torch_threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "network": str(options.model or f"{options.base_channels} channels, depth {options.depth}"),
        "precision": options.precision,
        "backend": options.backend,
        "goal": {"side": GOAL, "peak_gib": GOAL_GIB, "network_share": GOAL_SHARE},
        "runs": [],
    }
    for side in [GOAL] if options.full else options.sides:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            results["runs"].append(measure(side, Path(folder), options))
        print(json.dumps(results["runs"][-1]), flush=True)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
