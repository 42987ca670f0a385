"""The pixels that reference cells and segmented objects share, as a table for all measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import as_labels
from ..errors import InputError, by

LARGEST_LABEL = 2**32 - 1


class Overlaps(NamedTuple):
    """Areas of the cells of two label images, and the pixels shared by each touching pair.

    Label 0, the background, is left out everywhere. R, S and K are the numbers of reference cells,
    segmented objects, and pairs that share at least one pixel.

    Attributes
    ----------
    reference_labels, result_labels : int64 array (R,), (S,)
        The labels present, ascending.
    reference_areas, result_areas : int64 array (R,), (S,)
        Their numbers of pixels.
    reference_index, result_index : int64 array (K,)
        For each pair, the positions of its cells in the label arrays.
    shared : int64 array (K,)
        For each pair, the number of pixels that belong to both.
    """

    reference_labels: NDArray[np.int64]
    reference_areas: NDArray[np.int64]
    result_labels: NDArray[np.int64]
    result_areas: NDArray[np.int64]
    reference_index: NDArray[np.int64]
    result_index: NDArray[np.int64]
    shared: NDArray[np.int64]

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each pair, float64 (K,)."""
        areas = self.reference_areas[self.reference_index]
        areas = areas + self.result_areas[self.result_index]
        return self.shared / (areas - self.shared)

    @property
    def majority(self) -> NDArray[np.bool_]:
        """Pairs whose object holds more than half of the reference cell, bool (K,).

        The challenge's rule for "detected". At most one object can hold more than half of a cell.
        """
        return 2 * self.shared > self.reference_areas[self.reference_index]


def overlap_table(reference: ArrayLike, result: ArrayLike, margin: int = 0) -> Overlaps:
    """Count the pixels that reference cells and segmented objects share.

    Parameters
    ----------
    reference, result : integer array (..., H, W)
        Label images of one shape, 0 = background, labels up to 2**32 - 1; floats must hold whole
        numbers.
    margin : int
        Width in pixels of the border outside the field of interest. Cells and objects entirely
        within it count as background.

    Returns
    -------
    Overlaps

    Raises
    ------
    InputError
        If the shapes differ, the arrays do not hold labels, or the margin leaves no field.

    Examples
    --------
    >>> table = overlap_table([[1, 1, 0, 2]], [[7, 7, 7, 0]])
    >>> table.reference_labels, table.reference_areas
    (array([1, 2]), array([2, 1]))
    >>> table.result_labels, table.result_areas
    (array([7]), array([3]))
    >>> table.shared
    array([2])
    """
    reference, result = _numbered(reference, "reference"), _numbered(result, "result")
    if reference.shape != result.shape:
        raise InputError(
            f"the reference has shape {by(reference.shape)} and the result {by(result.shape)}: "
            "give label images of the same size."
        )
    # Both labels share a 64-bit key, so that a single pass counts every pair. Neighbouring pixels
    # mostly repeat the pair: counting runs leaves a few thousand numbers to sort, not all pixels.
    key = reference.astype(np.uint64).ravel()
    key <<= np.uint64(32)
    np.bitwise_or(key, result.ravel(), out=key, casting="unsafe", dtype=np.uint64)
    starts = _run_starts(key)
    pairs, run_pair = np.unique(key[starts], return_inverse=True)
    count = _total(run_pair, np.diff(starts, append=key.size), pairs.size)
    reference_of = (pairs >> np.uint64(32)).astype(np.int64)
    result_of = (pairs & np.uint64(LARGEST_LABEL)).astype(np.int64)
    if margin:
        reference_of[np.isin(reference_of, within_margin(reference, margin))] = 0
        result_of[np.isin(result_of, within_margin(result, margin))] = 0

    reference_labels, r = np.unique(reference_of, return_inverse=True)
    result_labels, s = np.unique(result_of, return_inverse=True)
    reference_areas = _total(r, count, reference_labels.size)
    result_areas = _total(s, count, result_labels.size)
    both = (reference_of > 0) & (result_of > 0)
    # Drop the background entry, which an image full of cells lacks.
    r_first, s_first = int((reference_labels == 0).sum()), int((result_labels == 0).sum())
    return Overlaps(
        reference_labels[r_first:],
        reference_areas[r_first:],
        result_labels[s_first:],
        result_areas[s_first:],
        r[both] - r_first,
        s[both] - s_first,
        count[both],
    )


def within_margin(labels: NDArray[Any], margin: int) -> NDArray[Any]:
    """Labels without a single pixel in the field of interest.

    Parameters
    ----------
    labels : integer array (..., H, W)
        Label image.
    margin : int
        The field of interest lies at least this many pixels from the image's edges.

    Returns
    -------
    array (N,)
        Ascending, without 0; the dtype is that of `labels`.

    Raises
    ------
    InputError
        If the margin is negative or leaves no field.

    Examples
    --------
    >>> within_margin(np.array([[1, 1, 2], [1, 3, 3], [0, 0, 0]]), margin=1)
    array([1, 2])
    """
    check_margin(margin, labels.shape)
    height, width = labels.shape[-2:]
    field = labels[..., margin : height - margin, margin : width - margin]
    return np.setdiff1d(_distinct(labels), np.append(_distinct(field), 0))


def _run_starts(values: NDArray[Any]) -> NDArray[np.intp]:
    """Positions in a flat array at which the value changes, the first one included."""
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    return np.append(0, changes)[: values.size]  # an empty array has none


def _distinct(labels: NDArray[Any]) -> NDArray[Any]:
    flat = labels.ravel()
    return np.unique(flat[_run_starts(flat)])


def check_margin(margin: int, shape: Sequence[int], name: str = "an image") -> None:
    """Refuse a negative margin, and one that leaves no field of interest."""
    if margin < 0:
        raise InputError(f"the margin is {margin} pixels: it must be at least 0.")
    if 2 * margin >= min(shape[-2:]):
        raise InputError(
            f"a margin of {margin} pixels leaves no field of interest in {name} of {by(shape)} "
            "pixels: choose less than half of the shorter side."
        )


def _numbered(image: ArrayLike, name: str) -> NDArray[Any]:
    """Check a label image, and that its numbers fit into 32 bits, half of a key."""
    try:
        labels = as_labels(image)
    except InputError as error:
        raise InputError(f"the {name}: {error}") from error
    if labels.max(initial=0) > LARGEST_LABEL:
        raise InputError(
            f"the {name} holds the label {labels.max()}: renumber the cells, up to {LARGEST_LABEL}."
        )
    return labels


def _total(index: NDArray[np.int64], weight: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    # bincount adds in float64, which is exact up to 2**53 pixels.
    return np.bincount(index, weights=weight, minlength=size).astype(np.int64)
