"""Speed of training: iterations per second against a bare loop, tiles against elasticdeform.

    python experiments/benchmark_training.py [--base-channels 16] [--iterations N] [--rounds 3]
        [--output experiments/results/benchmark_training[_cuda].json]

bare      forward, backward and step on one constant tile of 572 x 572 pixels, and nothing else
unet2015  `unet2015.training.train` as it comes, with a new random tile for each iteration, for as
          many iterations as the bare loop, in turns with it; the best round counts for both
tile      one training tile of `unet2015.samples`: image, target and weights, deformed, rotated,
          shifted, with varied grey values
deform    `elasticdeform.deform_grid` of image, target and weights over the whole tile, with
          nearest-pixel interpolation, and nothing else

Without rotation and shift, both deformations are checked to agree: of the image everywhere, of
target and weights where the network has an output. The cells are synthetic; both kinds of tiles
are made in one thread. `unet2015.keep_memory` applies to all, as on the command line.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from profiling import shares
from results_table import HERE

from unet2015.augment import AugmentationConfig, Variation, tile_coordinates
from unet2015.datasets.frames import AnnotatedFrame
from unet2015.datasets.synthetic import simulate
from unet2015.engines.allocation import keep_memory
from unet2015.engines.device import Engine, choose_engine
from unet2015.loss import weighted_cross_entropy
from unet2015.runs import read_log
from unet2015.samples import TrainingFrame, nearest, prepare, random_sample
from unet2015.schedule import TrainingConfig
from unet2015.settings import Settings
from unet2015.training import train
from unet2015.unet import UNet, UNetConfig
from unet2015.weightmap import WeightMapConfig

TILE = TrainingConfig.tile
TILES = 20
"""Tiles per measurement."""
ITERATIONS, GPU_ITERATIONS = 20, 300
"""Per interval; more on a GPU, so that tiles made before the interval hardly count."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base-channels", type=int, default=16)
    parser.add_argument("--iterations", type=int, help="20, and 300 on a GPU, if not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    keep_memory()
    engine = choose_engine()
    on_gpu = engine.device.type == "cuda"
    iterations = arguments.iterations or (GPU_ITERATIONS if on_gpu else ITERATIONS)
    load = os.getloadavg()[0]
    frame = next(simulate(1, (TILE, TILE), 200, np.random.default_rng(0)))
    frames = [
        AnnotatedFrame(frame.image[None], frame.labels, "0", np.zeros(frame.labels.shape, bool))
    ]
    bare, ours = [], []
    for _ in range(arguments.rounds):
        bare.append(bare_rate(arguments.base_channels, iterations, engine))
        ours.append(our_rate(frames, arguments.base_channels, iterations, engine))
    rate, waiting = max(ours)
    prepared, _ = prepare(frames, TrainingConfig(), WeightMapConfig())
    found = {
        "torch": torch.__version__,
        "engine": str(engine),
        "cores": os.cpu_count(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
        "load_at_start": round(load, 1),
        "base_channels": arguments.base_channels,
        "iterations": iterations,
        "rounds": arguments.rounds,
        "iterations_per_second": {
            "bare": round(max(bare), 3),
            "unet2015": round(rate, 3),
            "share": round(rate / max(bare), 3),
            "waiting_for_tiles": waiting,
        },
        "profile_of_a_bare_step": bare_profile(arguments.base_channels, engine),
        "milliseconds_per_tile": None if on_gpu else tile_times(prepared[0]),
        "augmentation": asdict(AugmentationConfig()),
    }
    print(json.dumps(found, indent=1))
    output = arguments.output or HERE / "results" / f"benchmark_training{'_cuda' * on_gpu}.json"
    output.write_text(json.dumps(found, indent=1) + "\n")


def bare_rate(base_channels: int, iterations: int, engine: Engine) -> float:
    """Iterations per second of the network alone."""
    step = bare_step(base_channels, engine)

    def interval() -> None:
        for _ in range(iterations):
            step()

    _seconds(interval, engine)
    return iterations / _seconds(interval, engine)


def bare_profile(base_channels: int, engine: Engine) -> dict[str, float]:
    """Share of each kind of operation in the time of the network alone."""
    step = bare_step(base_channels, engine)
    step()
    return shares(lambda: [step() for _ in range(3)], engine.device)


def bare_step(base_channels: int, engine: Engine) -> Callable[[], None]:
    """Return a function that does forward, backward and step on a constant tile."""
    network = engine.place(UNet(base_channels=base_channels).train(), training=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.99)
    image = torch.randn(1, 1, TILE, TILE, device=engine.device)
    image = image.contiguous(memory_format=engine.memory_format(training=True))
    side = network.output_size(TILE)
    target = torch.zeros(1, side, side, dtype=torch.uint8, device=engine.device)
    weight = torch.ones(1, side, side, device=engine.device)

    def step() -> None:
        with engine.autocast():
            logits = network(image)
        optimizer.zero_grad()
        weighted_cross_entropy(logits, target, weight).backward()
        optimizer.step()

    return step


def our_rate(
    frames: list[AnnotatedFrame], base_channels: int, iterations: int, engine: Engine
) -> tuple[float, float]:
    """Iterations per second of `train` in its second interval, and the share spent waiting."""
    config = TrainingConfig(iterations=2 * iterations, interval=iterations)
    settings = Settings(UNetConfig(base_channels=base_channels), config)
    with tempfile.TemporaryDirectory() as folder:
        train(frames, folder, settings, engine)
        line = read_log(Path(folder))[1]
    return iterations / line.seconds, line.waiting_share


def tile_times(frame: TrainingFrame) -> dict[str, float]:
    """Milliseconds per tile, by us and by elasticdeform; both must agree."""
    import elasticdeform

    generator = np.random.default_rng(0)
    border = UNet(base_channels=1).border
    nodes = generator.normal(scale=AugmentationConfig.deformation_sigma, size=(2, 3, 3))
    arrays = [frame.image[0], frame.target, frame.weight]

    def deform() -> list[Any]:
        return elasticdeform.deform_grid(arrays, nodes, order=0, mode="mirror")

    seen = tile_coordinates(Variation(nodes, 0.0, 1.0, 0.0), ((TILE - 1) / 2,) * 2, TILE)
    inner = slice(border, TILE - border)
    pixels = nearest(seen, frame.target.shape)
    cut = np.s_[:, :], np.s_[inner, inner], np.s_[inner, inner]
    for array, expected, where in zip(arrays, deform(), cut, strict=True):
        differing = np.mean(array.ravel()[pixels[where]] != expected[where])
        assert differing < 1e-4, "pixels halfway between two others may fall to either side"
    config = AugmentationConfig()
    ours = _seconds(
        lambda: [random_sample([frame], TILE, border, config, generator) for _ in range(TILES)]
    )
    theirs = _seconds(lambda: [deform() for _ in range(TILES)])
    return {
        "unet2015": round(1000 * ours / TILES, 1),
        "elasticdeform": round(1000 * theirs / TILES, 1),
        "times_as_fast": round(theirs / ours, 2),
    }


def _seconds(work: Callable[[], object], engine: Engine | None = None) -> float:
    began = time.perf_counter()
    work()
    if engine is not None and engine.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
