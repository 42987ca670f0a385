"""Draw the paper's figures with this package, on synthetic cells, for the README.

    unet2015 demo && python experiments/draw_figures.py [--demo demo] [--out experiments/figures]

Fig. 1 is drawn from a run of the network itself: every box is a feature map that occurs, every
arrow a layer that is called. Figs. 2 to 4 use the output of ``unet2015 demo``; images of the
challenges are not shown, since their terms do not allow redistribution.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Patch, Rectangle
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries
from torch import Tensor, nn

from unet2015 import UNet, border_weight_map, separate_touching
from unet2015.commands.demo import SETTINGS, TILE
from unet2015.images import read_image
from unet2015.pictures import coloured, to_grey
from unet2015.tiles import mirror
from unet2015.tilesize import tile_grid
from unet2015.weightmapfiles.picture import draw_weights

INPUT_SIZE = 572
COLOURS = {
    "conv 3x3, ReLU": "#1f4e9c",
    "copy and crop": "#8c8c8c",
    "max pool 2x2": "#c0392b",
    "up-conv 2x2": "#2e8b57",
    "conv 1x1": "#16a3a3",
}
FRAME = "000"


class Map(NamedTuple):
    """A feature map of Fig. 1."""

    level: int
    channels: int
    size: int
    made_by: str


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--out", type=Path, default=Path("experiments/figures"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    draw_architecture(arguments.out / "figure1.svg")
    image = read_image(arguments.demo / f"data/02/t{FRAME}.tif")
    truth = read_image(arguments.demo / f"data/02_GT/SEG/man_seg{FRAME}.tif")
    cells = read_image(arguments.demo / f"02_RES/mask{FRAME}.tif")
    draw_tiles(image, cells, arguments.out / "figure2.jpg")
    part = (slice(0, 220), slice(0, 220))
    labels = np.ascontiguousarray(truth[part])
    target, weights = separate_touching(labels) > 0, border_weight_map(labels)
    draw_weights(arguments.out / "figure3.png", labels, target, weights, image[part])
    draw_results(image, truth, cells, arguments.out / "figure4.jpg")


def maps_of(network: UNet) -> list[Map]:
    """Run the network on the meta device and note each feature map, in order of computation."""
    depth = network.config.depth
    found = [Map(0, network.config.in_channels, INPUT_SIZE, "input")]

    def note(level: int, made_by: str, shape: torch.Size) -> None:
        found.append(Map(level, shape[1], shape[2], made_by))

    def watch(module: nn.Module, level: int, made_by: str) -> None:
        module.register_forward_hook(lambda _m, _i, output: note(level, made_by, output.shape))

    def watch_copy(module: nn.Module, level: int) -> None:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            note(level, "copy and crop", inputs[0].shape)

        module.register_forward_pre_hook(hook)

    pooled = iter(range(1, depth + 1))
    network.pool.register_forward_hook(
        lambda _m, _i, output: note(next(pooled), "max pool 2x2", output.shape)
    )
    for level, block in enumerate(network.contracting):
        for convolution in (block[0], block[2]):
            watch(convolution, level, "conv 3x3, ReLU")
    for level in range(depth):
        watch(network.up[level], level, "up-conv 2x2")
        watch_copy(network.expanding[level], level)
        for convolution in (network.expanding[level][0], network.expanding[level][2]):
            watch(convolution, level, "conv 3x3, ReLU")
    watch(network.classifier, 0, "conv 1x1")
    network.to("meta").eval()(torch.empty(1, 1, INPUT_SIZE, INPUT_SIZE, device="meta"))
    return found


def draw_architecture(path: Path) -> None:
    """Fig. 1: boxes whose height grows with the size of a map, and width with its channels."""
    maps = maps_of(UNet())
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    boxes: list[tuple[float, float, float, float]] = []  # left, bottom, width, height
    left = 0.0
    tallest = [
        max(_height(m) for m in maps if m.level == n) for n in range(1 + max(m.level for m in maps))
    ]
    tops = [-sum(tallest[:level]) - 1.3 * level for level in range(len(tallest))]
    skips: dict[int, tuple[float, float, float, float]] = {}
    for number, part in enumerate(maps):
        width, height = 0.12 + part.channels**0.5 / 40, _height(part)
        joined = part.made_by == "copy and crop"
        if joined:  # in place of the up-convolution's box, which is half of this one
            left = boxes[-1][0]
        elif number:
            left += -0.2 if part.made_by == "max pool 2x2" else 0.66
        bottom = tops[part.level] - height
        box = (left, bottom, width, height)
        _draw_box(axes, part, box, copied=width / 2 if joined else 0)
        if number and not joined:
            _arrow(axes, part.made_by, boxes[-1], box)
        if joined:
            _copy_arrow(axes, skips[part.level], box)
        if number + 1 < len(maps) and maps[number + 1].made_by == "max pool 2x2":
            skips[part.level] = box
        boxes.append(box)
        left += width
    axes.set_aspect("equal")
    axes.autoscale_view()
    axes.set_axis_off()
    handles = [Patch(color=colour, label=name) for name, colour in COLOURS.items()]
    axes.legend(handles=handles, loc="lower right", frameon=False, fontsize=12)
    with matplotlib.rc_context({"svg.hashsalt": "unet2015"}):  # reproducible file
        figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")


def _height(part: Map) -> float:
    return part.size**0.6 / 22


def _draw_box(axes: Axes, part: Map, box: tuple[float, float, float, float], copied: float) -> None:
    left, bottom, width, height = box
    if part.made_by == "up-conv 2x2":
        return  # drawn together with the copied half
    axes.add_patch(Rectangle((left, bottom), width, height, fc="#dbe7f7", ec="#1f4e9c", lw=0.8))
    if copied:
        axes.add_patch(Rectangle((left, bottom), copied, height, fc="white", ec="#1f4e9c", lw=0.8))
    middle = left + width / 2
    axes.text(middle, bottom + height + 0.06, part.channels, ha="center", fontsize=10)
    axes.text(
        middle, bottom - 0.06, f"{part.size}²", ha="center", va="top", fontsize=8, color="0.4"
    )


def _arrow(
    axes: Axes,
    made_by: str,
    before: tuple[float, float, float, float],
    after: tuple[float, float, float, float],
) -> None:
    if made_by == "max pool 2x2":
        middle = after[0] + after[2] / 2
        start, end = (middle, before[1] - 0.35), (middle, after[1] + after[3] + 0.38)
    elif made_by == "up-conv 2x2":
        start = (before[0] + before[2] / 2, before[1] + before[3] + 0.38)
        end = (after[0] + after[2] / 2, after[1] - 0.35)
    else:
        middle = after[1] + after[3] / 2
        start, end = (before[0] + before[2], middle), (after[0], middle)
    _draw_arrow(axes, start, end, COLOURS[made_by])


def _copy_arrow(
    axes: Axes,
    skip: tuple[float, float, float, float],
    joined: tuple[float, float, float, float],
) -> None:
    height = joined[1] + joined[3] * 0.8
    _draw_arrow(axes, (skip[0] + skip[2], height), (joined[0], height), COLOURS["copy and crop"])


def _draw_arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str
) -> None:
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=colour, lw=1.6)
    )


def draw_tiles(image: NDArray[Any], cells: NDArray[Any], path: Path) -> None:
    """Fig. 2: the network's input (blue) in the mirrored image, and its output (yellow)."""
    network = UNet(base_channels=1, depth=SETTINGS.network.depth)
    grid = tile_grid(image.shape, network, TILE)
    margin = network.border
    rows, columns = (mirror(range(-margin, size + margin), size) for size in image.shape)
    seen = to_grey(image)[rows[:, None], columns]
    tile = next(iter(grid))
    figure = Figure(figsize=(12, 4.9), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    height, width = image.shape
    for axes, shown in ((left, seen), (right, coloured(cells, None))):
        around = margin if axes is left else 0
        axes.imshow(
            shown,
            cmap="gray",
            extent=(-around, width + around, height + around, -around),
        )
        axes.add_patch(_frame(tile.left, tile.top, tile.height, tile.width, "#f5c518"))
        axes.set_xlim(-margin - 5, width + margin + 5)
        axes.set_ylim(height + margin + 5, -margin - 5)
        axes.set_axis_off()
    left.add_patch(_frame(0, 0, height, width, "white", lw=1, ls="--"))
    for other in list(grid)[1:]:
        right.add_patch(_frame(other.left, other.top, other.height, other.width, "#8c8c8c", lw=1))
    left.add_patch(_frame(tile.left - margin, tile.top - margin, *grid.input, "#2f7fe0"))
    left.set_title("the image, continued by mirroring; the network sees the blue square")
    right.set_title("and predicts the yellow one; all tiles fit without seams")
    figure.savefig(path, dpi=90)


def _frame(
    left: float, top: float, height: float, width: float, colour: str, **style: Any
) -> Rectangle:
    return Rectangle((left, top), width, height, fill=False, ec=colour, **{"lw": 2.5, **style})


def draw_results(image: NDArray[Any], truth: NDArray[Any], cells: NDArray[Any], path: Path) -> None:
    """Fig. 4: an image, and predicted cells in colours with the reference outlined in yellow."""
    painted = coloured(cells, to_grey(image))
    painted[find_boundaries(truth, mode="inner")] = (1, 0.85, 0.1)
    figure = Figure(figsize=(12, 4.9), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, shown, title in zip(
        figure.subplots(1, 2),
        (to_grey(image), painted),
        ("unseen image", "predicted cells (colours) and reference (yellow)"),
        strict=True,
    ):
        axes.imshow(shown, cmap="gray", interpolation="nearest")
        axes.set_title(title)
        axes.set_axis_off()
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
