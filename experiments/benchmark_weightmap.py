"""Speed and exactness of the weight map, compared with other ways to compute it.

    python experiments/benchmark_weightmap.py [--quick] [--output experiments/results/...json]

Each row is one label image of overlapping discs that cover about a third of it. All methods run on
one core; all but the first compute the border term alone, of touching cells already separated.

ours      `border_weight_map`, including the ridge and the balanced classes
local     scipy's Euclidean distance transform (EDT) around each cell, as far as the border term
          matters, merged into the two smallest distances
scipy     one EDT of the whole image per cell, as in most ports of the paper: the formula as it
          stands
edt       the same with the `edt` package (pip install edt), skipped if not installed

The times of scipy and edt, marked with ~, are extrapolated from a few cells, since a full run takes
hours or days. That flatters them: the two smallest distances are updated cell by cell, so neither
the memory for all distances nor the final sort is counted.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from results_table import HERE
from scipy import ndimage

from unet2015.weightmap import WeightMapConfig, border_weight_map, halo, separate_touching

Transform = Callable[[NDArray[Any]], NDArray[Any]]

CASES = {
    512: (10, 100, 1_000),
    1024: (10, 500, 5_000),
    2048: (10, 2_000, 20_000),
    4096: (10, 1_000, 8_000, 50_000),
    8192: (10, 1_000, 32_000, 100_000),
}
"""Numbers of cells by height and width."""
GOAL = (2048, 2_000)
LARGEST_SCIPY = 4096
"""Its EDT takes at least 40 bytes a pixel: 8192 x 8192 needs too much memory."""
W0, SIGMA = WeightMapConfig.w0, WeightMapConfig.sigma


def cells_on(size: int, count: int) -> NDArray[np.uint32]:
    """Draw `count` discs at random, later ones over earlier ones, some touching."""
    rng = np.random.default_rng(size + count)
    radius = max(1, round(0.36 * size / math.sqrt(count)))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = x**2 + y**2 <= radius**2
    labels = np.zeros((size, size), np.uint32)
    for name in range(1, count + 1):
        top, left = rng.integers(0, size - 2 * radius, 2)
        labels[top : top + 2 * radius + 1, left : left + 2 * radius + 1][disc] = name
    return labels


def merge(two: NDArray[Any], distance: NDArray[Any]) -> None:
    """Keep the two smallest distances in `two`, shape (2, height, width)."""
    np.minimum(two[1], np.maximum(two[0], distance), out=two[1])
    np.minimum(two[0], distance, out=two[0])


def border_term(two: NDArray[Any], cells: NDArray[Any]) -> NDArray[Any]:
    """Eq. 2 without class weights, from the two smallest distances."""
    return np.where(cells == 0, W0 * np.exp(-((two[0] + two[1]) ** 2) / (2 * SIGMA**2)), 0)


def local(cells: NDArray[np.uint32]) -> NDArray[Any]:
    """Take one EDT of the surroundings of each cell."""
    two = np.full((2, *cells.shape), np.inf)
    (margin, _) = halo(SIGMA)
    for number, box in enumerate(ndimage.find_objects(cells.astype(np.int64)), start=1):
        if box is not None:
            grown = tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in box)
            merge(two[:, *grown], ndimage.distance_transform_edt(cells[grown] != number))
    return border_term(two, cells)


def whole(
    cells: NDArray[np.uint32], transform: Callable[[NDArray[Any]], NDArray[Any]], numbers: list[int]
) -> NDArray[Any]:
    """Take one EDT of the whole image for each cell in `numbers`."""
    two = np.full((2, *cells.shape), np.inf)
    for number in numbers:
        merge(two, transform(cells != number))
    return border_term(two, cells)


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Return the processor time of the fastest run; other programs do not count."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def transforms() -> dict[str, Transform]:
    """Return the distance transforms that are installed."""
    found: dict[str, Transform] = {"scipy": ndimage.distance_transform_edt}
    try:
        import edt
    except ImportError:
        print("edt: skipped, not installed (pip install edt)\n")
    else:
        found["edt"] = lambda image: edt.edt(image, parallel=1)
    return found


def measure(size: int, count: int, ways: dict[str, Transform]) -> dict[str, Any]:
    """Time all methods on one image."""
    labels = cells_on(size, count)
    cells = separate_touching(labels)
    names = [int(name) for name in np.unique(cells) if name]
    repeats = 7 if size <= 2048 else 2
    row: dict[str, Any] = {"size": size, "cells": len(names)}
    row["ours"] = seconds(lambda: border_weight_map(labels), repeats)
    row["local"] = seconds(lambda: local(cells), repeats) if size <= LARGEST_SCIPY else None
    for way, transform in ways.items():
        if way == "scipy" and size > LARGEST_SCIPY:
            row[way] = None
            continue
        few = names[:: max(1, len(names) // 3)][:3]
        work = partial(whole, cells, transform, few)
        row[way] = seconds(work, repeats) / len(few) * len(names)
    return row


def error() -> float:
    """Return the largest difference from the formula as it stands, in units of w0."""
    labels = cells_on(512, 100)
    cells = separate_touching(labels)
    exact = whole(cells, ndimage.distance_transform_edt, [int(n) for n in np.unique(cells) if n])
    return float(np.abs(border_weight_map(labels, class_weights=None) - exact).max() / W0)


def cpu() -> str:
    """Name the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def line(row: dict[str, Any]) -> str:
    rate = row["size"] ** 2 / row["ours"] / 1e6
    text = f"{row['size']:>5}  {row['cells']:>7,}  {row['ours']:>8.3f}  {rate:>6.1f}"
    for way, sign in (("local", ""), ("scipy", "~"), ("edt", "~")):
        time_ = row.get(way)
        shown = "-" if time_ is None else f"{sign}{time_:,.1f} ({time_ / row['ours']:,.0f}x)"
        text += f"  {shown:>22}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="up to 2048 x 2048 only")
    parser.add_argument(
        "--output",
        type=Path,
        default=HERE / "results" / "benchmark_weightmap.json",
    )
    options = parser.parse_args()
    largest_difference, ways = error(), transforms()
    print(f"largest difference to the formula: {largest_difference:.1e} w0\n")
    head = "".join(f"  {way + ' [s]':>22}" for way in ("local", "scipy", "edt"))
    print(f"{'size':>5}  {'cells':>7}  {'ours [s]':>8}  {'Mpx/s':>6}{head}")
    rows = []
    for size, counts in CASES.items():
        for count in counts:
            if not (options.quick and size > 2048):
                rows.append(measure(size, count, ways))
                print(line(rows[-1]), flush=True)
                if (size, count) == GOAL:
                    goal = rows[-1]
    rate = GOAL[0] ** 2 / goal["ours"] / 1e6
    factor = goal["scipy"] / goal["ours"]
    print(
        f"\n{GOAL[1]:,} cells on {GOAL[0]} x {GOAL[0]}: {rate:.1f} Mpx/s (goal: 10), "
        f"{factor:,.0f} times the formula (goal: 500)"
    )
    options.output.parent.mkdir(exist_ok=True)
    result = {
        "processor": cpu(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("numpy", *ways)},
        "largest_difference_in_w0": largest_difference,
        "seconds_on_one_core": rows,
        "extrapolated": ["scipy", "edt"],
    }
    options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
