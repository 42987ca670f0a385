"""Kinds of mistakes of a segmentation: missed, split, merged, spurious."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .overlap import Overlaps, overlap_table


class Mistakes(NamedTuple):
    """The cells and objects of one frame that are wrong, each array ascending, int64.

    Attributes
    ----------
    missed : labels of reference cells
        No object holds more than half of them, and they are not split.
    split : labels of reference cells
        At least two objects lie mostly in them.
    merged : labels of reference cells
        The object that holds them holds other cells as well.
    spurious : labels of segmented objects
        They hold no cell and do not lie mostly in one.
    """

    missed: NDArray[np.int64]
    split: NDArray[np.int64]
    merged: NDArray[np.int64]
    spurious: NDArray[np.int64]


def find_mistakes(table: Overlaps) -> Mistakes:
    """Sort the wrong cells and objects of a frame by kind.

    Notes
    -----
    An object holds a cell if it covers more than half of the cell, the challenge's rule of
    detection; it lies mostly in a cell that covers more than half of the object. A cell that is
    both merged and split counts as merged.

    Examples
    --------
    >>> reference = [[1, 1, 1, 1, 0, 2, 2, 0, 3, 4, 0, 0]]
    >>> result = [[1, 1, 2, 2, 0, 0, 0, 0, 5, 5, 0, 9]]
    >>> find_mistakes(overlap_table(reference, result))
    Mistakes(missed=array([2]), split=array([1]), merged=array([3, 4]), spurious=array([9]))
    """
    holds = table.majority
    inside = 2 * table.shared > table.result_areas[table.result_index]
    cells, objects = table.reference_labels.size, table.result_labels.size
    held = np.bincount(table.reference_index[holds], minlength=cells) > 0
    pieces = np.bincount(table.reference_index[inside], minlength=cells)
    cells_held = np.bincount(table.result_index[holds], minlength=objects)
    lies_in_cell = np.bincount(table.result_index[inside], minlength=objects) > 0

    merged = np.zeros(cells, bool)
    merged[table.reference_index[holds]] = cells_held[table.result_index[holds]] > 1
    split = (pieces > 1) & ~merged
    return Mistakes(
        missed=table.reference_labels[~held & ~split],
        split=table.reference_labels[split],
        merged=table.reference_labels[merged],
        spurious=table.result_labels[(cells_held == 0) & ~lies_in_cell],
    )


def objects_without_truth(
    reference: ArrayLike, result: ArrayLike, markers: ArrayLike
) -> NDArray[np.int64]:
    """Find the objects that a partial reference cannot judge.

    The challenge's gold truth omits some cells, while its tracking markers cover all. An object on
    an omitted cell is not spurious, and must not lower AP, panoptic quality and foreground IoU. SEG
    considers annotated cells only.

    Parameters
    ----------
    reference, result, markers : integer array (H, W)
        Cell masks, possibly of some cells only; the result; a marker for every cell.

    Returns
    -------
    int64 array
        Labels of objects that hold the marker of a cell without a mask, even if they also hold a
        cell with one, by which they can be judged.

    Examples
    --------
    >>> reference, result = [[1, 1, 0, 0, 0]], [[5, 5, 0, 6, 6]]
    >>> objects_without_truth(reference, result, markers=[[1, 0, 0, 2, 0]])
    array([6])
    """
    by_cell = overlap_table(markers, reference)
    known = by_cell.reference_labels[by_cell.reference_index[by_cell.majority]]
    by_object = overlap_table(markers, result)
    held = by_object.majority
    unknown = ~np.isin(by_object.reference_labels[by_object.reference_index[held]], known)
    return np.unique(by_object.result_labels[by_object.result_index[held][unknown]])


def without_objects(table: Overlaps, labels: NDArray[np.integer]) -> Overlaps:
    """Leave segmented objects out of an overlap table, as if they were background."""
    stays = ~np.isin(table.result_labels, labels)
    position = np.cumsum(stays) - 1
    pairs = stays[table.result_index]
    return table._replace(
        result_labels=table.result_labels[stays],
        result_areas=table.result_areas[stays],
        reference_index=table.reference_index[pairs],
        result_index=position[table.result_index[pairs]],
        shared=table.shared[pairs],
    )
