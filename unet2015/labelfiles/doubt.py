"""Detect images that are given as labels but do not look like labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FEW_PAIRS = 100
"""Pairs of neighbouring pixels within cells that are too few to judge by."""
SEVERAL_PIECES = "most numbers have several separate pieces, as in masks and maps of classes"
IN_PIECES = f"{SEVERAL_PIECES}, and count as one cell: if each piece is a cell, add"
NUMBERS_IGNORED = (
    "cells have numbers, which --connected-components ignores: those that touch become one."
)
WINDOW = 2048
"""Rows and columns that are looked at, from the first cell on: all of them would take long."""
STRAYS_FROM, FEW_PIXELS, STRAY = 100, 3, 1 / 2000
"""Where cells have at least 100 pixels, those of fewer than 3, or 1/2000 of a typical one, may be
strokes that went astray. The smallest pieces between the membranes of the EM challenge have 5."""
NOT_LABELS = (
    "most pixels differ from the pixel beside them, as in a microscope image or a map of "
    "probabilities; labels are 0 in the background and have one number throughout each cell."
)
SOFT_EDGES = (
    "most pixels that are neither 0 nor 255 differ from all beside them, as in a mask with soft "
    "edges; each number means a cell, so threshold it first: labels > 127."
)


def looks_like_a_picture(labels: NDArray[Any]) -> bool:
    """Whether labels look like a microscope image, in which most pixels differ from the next.

    False if there are too few pixels to judge by, as when cells are marked by single pixels.
    """
    unlike, pairs = unlike_neighbours(labels)
    return bool(2 * unlike > pairs > max(FEW_PAIRS, labels[:, 1:].size / 10))


def unlike_neighbours(labels: NDArray[Any]) -> tuple[int, int]:
    """Count pairs of pixels side by side that are not 0: those that differ, and all."""
    left, right = labels[..., :-1], labels[..., 1:]
    inside = (left > 0) & (right > 0)
    return int(np.count_nonzero(inside & (left != right))), int(np.count_nonzero(inside))


def has_soft_edges(labels: NDArray[Any]) -> bool:
    """Whether labels look like a mask of 0 and 255 with grey edges, as left by drawing or scaling.

    Most grey pixels of such a mask differ from their four neighbours, unlike those of cells.
    """
    between = (labels > 0) & (labels < 255)
    full = np.count_nonzero(labels == 255)
    if labels.max(initial=0) != 255 or not 0 < np.count_nonzero(between) < 4 * full:
        return False
    around = np.pad(labels, 1)
    beside = around[1:-1, :-2], around[1:-1, 2:], around[:-2, 1:-1], around[2:, 1:-1]
    alone = np.logical_and.reduce([between, *(labels != other for other in beside)])
    return bool(2 * np.count_nonzero(alone) > np.count_nonzero(between))


def are_strays(sizes: NDArray[Any], typical: NDArray[Any] | int) -> NDArray[np.bool_]:
    """Whether cells or pieces are so small that a stroke may have gone astray there."""
    few = sizes < np.maximum(np.multiply(typical, STRAY), FEW_PIXELS)
    return np.asarray(few & (np.asarray(typical) >= STRAYS_FROM))


def has_several_numbers(labels: NDArray[Any]) -> bool:
    """Whether labels have several numbers besides 0, unlike a binary mask."""
    return bool((labels[labels > 0] != labels.max(initial=0)).any())


def numbers_in_pieces(labels: NDArray[Any]) -> bool:
    """Whether most numbers have several separate pieces, as in masks and maps of classes.

    Pieces that are strays, compared to the largest one of their number, do not count. Of large
    images only a part is looked at.
    """
    from skimage.measure import label  # slow to import

    top = labels.any(axis=1).argmax()
    labels = labels[top : top + WINDOW]
    left = labels.any(axis=0).argmax()
    labels = labels[:, left : left + WINDOW]
    pieces, count = label(labels, background=0, connectivity=2, return_num=True)
    numbers = np.zeros(count + 1, labels.dtype)
    numbers[pieces] = labels
    sizes = np.bincount(pieces.ravel(), minlength=1)[1:]
    _, number = np.unique(numbers[1:], return_inverse=True)
    largest = np.zeros(count, sizes.dtype)
    np.maximum.at(largest, number, sizes)
    per_number = np.bincount(number[~are_strays(sizes, largest[number])])
    return bool(2 * np.count_nonzero(per_number > 1) > per_number.size)


def doubt(labels: NDArray[Any]) -> str | None:
    """Return why an array may not be a label image; None if it looks like one."""
    if looks_like_a_picture(labels):
        return NOT_LABELS
    return SOFT_EDGES if has_soft_edges(labels) else None
