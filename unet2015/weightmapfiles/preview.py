"""Preview of a weight map where it is largest, for images of any size."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from ..images import Image, open_image
from ..labelfiles.ctcnames import find_image, is_numbered, mask_digits
from ..labelfiles.labelfolder import folder_of_images
from ..labelfiles.labelimages import open_labels
from .regions import CellRows, LabelReading, Peak, TargetRegions, WeightRegions

WINDOW = 1024
"""Largest height and width shown, in pixels."""


def draw_peak(
    path: Path,
    labels: Path,
    microscope: Path | None,
    peak: Peak,
    reading: LabelReading,
    weigh: Callable[[Image], WeightRegions],
) -> None:
    """Draw the surroundings of the largest weight in the style of Fig. 3.

    Parameters
    ----------
    path : Path
        The PNG to write.
    labels, microscope : Path
        The label image, and the image that it belongs to, if there is one.
    peak : Peak
        Where the largest weight is.
    reading : LabelReading
        How the labels are read.
    weigh : callable
        Returns the weights of the opened label image.
    """
    from .picture import draw_weights  # importing matplotlib takes a second

    with open_labels(labels) as image:
        rows, columns = (
            _window(centre, size)
            for centre, size in zip((peak.row, peak.column), image.shape[-2:], strict=True)
        )
        where = (*peak.plane, rows, columns)
        touching = dataclasses.replace(reading, ridge=0)
        cells = CellRows(image, peak.plane, touching).read(rows, columns)
        target, weights = TargetRegions(image, reading)[where], weigh(image)[where]
    grey = None
    if microscope is not None:
        with open_image(microscope) as image:
            grey = image.read(peak.plane, rows, columns).mean(axis=0)
    draw_weights(path, cells, target, weights, grey)


def frame_of_mask(labels: Path) -> Path | None:
    """Find the frame of a Cell Tracking Challenge sequence that a mask belongs to."""
    home = folder_of_images(labels.resolve().parent.parent, None)
    return find_image(home, mask_digits(labels)) if is_numbered(labels) and home else None


def _window(centre: int, size: int) -> slice:
    start = max(min(centre - WINDOW // 2, size - WINDOW), 0)
    return slice(start, min(start + WINDOW, size))
