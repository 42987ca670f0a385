"""The ridge of background that separates touching cells."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import as_labels
from ..errors import InputError

_BAND = 256
"""Rows processed at once; the result does not depend on it."""


def separate_touching(labels: ArrayLike, ridge: int = 1) -> NDArray[Any]:
    """Cut a ridge of background between touching cells, by default one pixel wide.

    In raster order, a pixel becomes background if one of the four 8-neighbours visited before it
    (W, NW, N, NE) still belongs to another cell after its own visit. So the cut is one pixel wide,
    and no two cells are 8-connected afterwards. A tiny cell among others may vanish.

    Parameters
    ----------
    labels : array of int, shape (..., H, W)
        0 is background, each other value a cell. Leading axes are handled plane by plane.
    ridge : int
        Width of the ridge in pixels, odd, or 0 to cut none. Above 1, pixels within ``ridge // 2``
        rows and columns of the cut become background too, and more tiny cells may vanish. Nothing
        is cut where labels do not touch, however close they are.

    Returns
    -------
    array of the same shape and dtype
        Float labels are returned as int64, bool as uint8.

    Raises
    ------
    InputError
        If `labels` is not a label image or `ridge` is neither odd nor 0.

    Notes
    -----
    A second cut changes nothing. With a ridge of 1, a row depends only on itself and on the row
    above, as that is after its own cut. So an image can be cut in bands of full rows, each with the
    last cut row of the band before on top: the result is the same as in one piece.
    """
    check_ridge(ridge)
    cells = as_labels(labels)
    separated = cells.copy()
    if ridge == 0:
        return separated
    for index in np.ndindex(cells.shape[:-2]):
        plane = separated[index]
        _cut(plane)
        if ridge > 1:
            plane[grow(plane != cells[index], ridge // 2)] = 0
    return separated


def check_ridge(ridge: int) -> None:
    """Refuse an invalid width of a ridge."""
    if ridge != 0 and not (ridge >= 1 and ridge % 2 == 1):
        raise InputError(
            f"the ridge is {ridge} pixels wide: it must be an odd number above 0, or 0 to cut none."
        )


def _cut(plane: NDArray[Any]) -> None:
    """Cut a ridge of one pixel between the touching cells of a plane, in place."""
    height, width = plane.shape
    above = np.zeros(width, plane.dtype)
    for top in range(0, height, _BAND):
        rows = plane[top : top + _BAND]
        # A frame of background avoids special cases at the edges.
        framed = np.zeros((len(rows) + 1, width + 2), plane.dtype)
        framed[0, 1:-1] = above
        framed[1:, 1:-1] = rows
        _cut_framed(framed)
        rows[...] = framed[1:, 1:-1]
        above = rows[-1]


def _cut_framed(framed: NDArray[Any]) -> None:
    """Cut all rows but the first; the first and last column are background."""
    stride = framed.shape[1]
    flat = framed.reshape(-1)
    cell = flat != 0
    inside = slice(stride + 1, flat.size - 1)
    steps = (-1, -stride - 1, -stride, -stride + 1)  # W, NW, N, NE
    touching = np.zeros(inside.stop - inside.start, np.bool_)
    for step in steps:
        other = slice(inside.start + step, inside.stop + step)
        touching |= (flat[other] != flat[inside]) & cell[other]
    touching &= cell[inside]
    # Only these pixels can be cut. The cut of a row depends on the row above, after its own cut,
    # and within the row on the pixels to the left.
    at = np.flatnonzero(touching) + inside.start
    others = at + np.array(steps)[:, np.newaxis]
    foe = (flat[others] != flat[at]) & cell[others]
    west = foe[0]
    follows = west & (np.diff(at, prepend=0) == 1)
    place = np.arange(at.size)
    for start, stop in pairwise(
        np.append(np.flatnonzero(np.diff(at // stride, prepend=0)), at.size)
    ):
        row = slice(start, stop)
        threatened = np.logical_or.reduce(cell[others[1:, row]] & foe[1:, row])
        # A pixel threatened only by a candidate to its left is cut if that candidate is kept:
        # along such a chain, cut and kept pixels alternate.
        chained = follows[row] & ~threatened
        anchor = np.maximum.accumulate(np.where(chained, start, place[row]))
        cut = (threatened | west[row])[anchor - start] ^ ((place[row] - anchor) % 2 == 1)
        cell[at[row]] = ~cut
    flat[at[~cell[at]]] = 0


def grow(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Dilate a mask of shape (H, W) by this many rows and columns on each side."""
    from scipy import ndimage  # slower to import than the rest of the weight maps

    return ndimage.maximum_filter(mask, 2 * pixels + 1, mode="constant")
