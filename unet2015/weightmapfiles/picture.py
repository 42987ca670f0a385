"""A figure of a weight map in the style of the paper's Fig. 3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..atomic import atomic_path
from ..pictures import aspect, coloured, to_grey


def draw_weights(
    path: Path | str,
    labels: NDArray[Any],
    target: NDArray[Any],
    weights: NDArray[Any],
    image: NDArray[Any] | None = None,
) -> None:
    """Draw image, cells in colour, target with its ridges, and weight map with a colour bar.

    Parameters
    ----------
    path : Path or str
        The PNG to write.
    labels : array of int, shape (H, W)
        0 is background, each other value a cell.
    target : array, shape (H, W)
        0 in background and on ridges.
    weights : array of float, shape (H, W)
    image : array, shape (H, W), optional
        Grey values; without it the first panel is left out.
    """
    grey = None if image is None else to_grey(image)
    panels = {} if grey is None else {"image": grey}
    panels |= {"cells": coloured(labels, grey), "target": target != 0, "weight map w(x)": weights}
    figure = Figure(figsize=(4.2 * len(panels) + 0.6, 4.2 * aspect(labels.shape) + 0.5))
    figure.set_layout_engine("constrained")
    row = figure.subplots(1, len(panels))
    for letter, axes, (title, panel) in zip("abcd", row, panels.items(), strict=False):
        shown = axes.imshow(
            panel, cmap="turbo" if panel is weights else "gray", interpolation="nearest"
        )
        axes.set_title(f"{letter}: {title}")
        axes.set_axis_off()
    figure.colorbar(shown, ax=row[-1], fraction=0.046, pad=0.02)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, bbox_inches="tight")
