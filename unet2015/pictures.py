"""The loss curve of a run, and grey values and colours for other figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .atomic import atomic_path

if TYPE_CHECKING:
    from .runs import LogLine  # its module imports torch

SEG_COLOUR = "#1b9e77"
LOSS_COLOUR = "#d95f02"


def draw_loss(path: Path | str, lines: Sequence[LogLine]) -> None:
    """Plot the loss of a run against the iterations, and the validation SEG if there is one.

    Parameters
    ----------
    path : Path or str
        The PNG to write.
    lines : sequence of LogLine
        The log of the run.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    iterations = [line.iteration for line in lines]
    axes.plot(iterations, [line.loss for line in lines], ".-", color=LOSS_COLOUR)
    axes.set(xlabel="iteration", ylabel="weighted cross-entropy", ylim=(0, None), xlim=(0, None))
    scored = [(line.iteration, seg) for line in lines if (seg := line.validation_seg) is not None]
    if scored:
        right = axes.twinx()
        right.plot(*zip(*scored, strict=True), ".-", color=SEG_COLOUR)
        right.set_ylabel("validation SEG", color=SEG_COLOUR)
        right.set_ylim(0, 1)
        axes.yaxis.label.set_color(LOSS_COLOUR)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def aspect(shape: tuple[int, ...]) -> float:
    """Height of the panel for an image, relative to its width; at most 4, for long strips."""
    return min(shape[0] / shape[1], 4.0)


def to_grey(image: NDArray[Any]) -> NDArray[np.float64]:
    """Stretch grey values to [0, 1], clipping the darkest and brightest half percent; NaN is 0."""
    known = image[np.isfinite(image)]
    low, high = np.percentile(known, (0.5, 99.5)) if known.size else (0, 1)
    return np.nan_to_num(np.clip((image - low) / max(high - low, 1e-9), 0, 1))


def distinct_colours(numbers: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """RGB colours in [0, 1], shape (N, 3), for N numbers; successive numbers differ in hue."""
    hues = numbers * 0.618034 % 1  # the golden ratio
    return hsv_to_rgb(np.stack([hues, np.full_like(hues, 0.75), np.full_like(hues, 0.95)], axis=-1))


def coloured(labels: NDArray[Any], grey: NDArray[Any] | None) -> NDArray[np.float64]:
    """Colour cells, over an image if given; successive labels differ in hue.

    Parameters
    ----------
    labels : ndarray of int
        0 is background, each other value a cell; shape (height, width).
    grey : ndarray, optional
        Grey values in [0, 1], shape (height, width).

    Returns
    -------
    ndarray of float64
        RGB colours in [0, 1], shape (height, width, 3).
    """
    names, number = np.unique(labels, return_inverse=True)
    colours = distinct_colours(np.arange(names.size))[number.reshape(labels.shape)]
    inside = (labels != 0)[..., np.newaxis]
    if grey is None:
        return np.where(inside, colours, 0)
    grey = grey[..., np.newaxis]
    return np.where(inside, 0.5 * colours + 0.5 * grey, grey)
