"""Outlines of numbered cells as SVG paths."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import find_contours

Box = tuple[int, int, int, int]
"""x, y, width and height in pixels."""


def outlines(labels: NDArray[Any]) -> dict[int, str]:
    """Trace each cell, holes and pieces included.

    Parameters
    ----------
    labels : array of int, shape (H, W)
        0 is background.

    Returns
    -------
    dict of int to str
        By cell number, the ``d`` attribute of an SVG path in half pixels: the pixel of row r and
        column c covers 2r to 2r + 2 and 2c to 2c + 2.

    Examples
    --------
    >>> outlines(np.array([[0, 0], [0, 7]]))
    {7: 'M3 4l-1 -1l1 -1l1 1z'}
    """
    return {label: _trace(labels[box] == label, *box) for label, box in _boxes(labels)}


def boxes(labels: NDArray[Any]) -> dict[int, Box]:
    """Find the bounding box of each cell, by its number.

    Examples
    --------
    >>> boxes(np.array([[0, 0, 0], [0, 7, 7]]))
    {7: (1, 1, 2, 1)}
    """
    return {
        label: (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        for label, (rows, columns) in _boxes(labels)
    }


def _boxes(labels: NDArray[Any]) -> list[tuple[int, tuple[slice, slice]]]:
    present, numbered = np.unique(labels, return_inverse=True)
    # find_objects skips 0, and takes memory for every number up to the largest.
    found = ndimage.find_objects(numbered.reshape(labels.shape) + 1)
    return [(label, box) for label, box in zip(present.tolist(), found, strict=True) if label != 0]


def _trace(cell: NDArray[np.bool_], rows: slice, columns: slice) -> str:
    corner = np.array([rows.start, columns.start])
    # In the padded crop a pixel's centre is at its index; half a pixel is one unit.
    lines = (
        np.rint(2 * (line + corner - 0.5)).astype(int) for line in find_contours(np.pad(cell, 1))
    )
    return "".join(map(_closed_path, lines))


def _closed_path(line: NDArray[np.int_]) -> str:
    steps = np.diff(line, axis=0)
    turns = np.flatnonzero((steps[1:] != steps[:-1]).any(axis=1)) + 1
    corners = line[[0, *turns]]
    start = f"M{corners[0, 1]} {corners[0, 0]}"
    return start + "".join(f"l{x} {y}" for y, x in np.diff(corners, axis=0)) + "z"
