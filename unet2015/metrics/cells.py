"""How well segmented objects match reference cells: SEG, AP, panoptic quality, IoU."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from .overlap import Overlaps, overlap_table

# 55 / 100 is the same double as an IoU of exactly 0.55; np.arange(0.5, 1, 0.05) differs from it.
IOU_THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))


class SegScore(NamedTuple):
    """SEG of one frame.

    Attributes
    ----------
    mean : float
        Mean over the reference cells; nan for a frame without any.
    labels : int64 array (R,)
        The reference cells, ascending.
    values : float64 array (R,)
        SEG of each reference cell.
    matched : int64 array (R,)
        The object that holds more than half of each reference cell, 0 where there is none.
    """

    mean: float
    labels: NDArray[np.int64]
    values: NDArray[np.float64]
    matched: NDArray[np.int64]


def seg_score(reference: ArrayLike, result: ArrayLike, *, margin: int = 0) -> SegScore:
    """Score one segmented frame as the Cell Tracking Challenge does.

    Parameters
    ----------
    reference, result : integer array (H, W)
        Label images, 0 = background.
    margin : int
        Width in pixels of the border outside the field of interest: cells and objects entirely
        within it are dropped. The challenge uses 50 for PhC-C2DH-U373 and DIC-C2DH-HeLa.

    Returns
    -------
    SegScore

    Raises
    ------
    InputError
        As `overlap_table`.

    Notes
    -----
    For a reference cell R, the segmented object S with ``|R and S| > |R| / 2`` gives
    ``|R and S| / |R or S|``; without such an object the cell gives 0. Objects that hold no
    reference cell cost nothing.

    References
    ----------
    .. [1] Maška et al., "A benchmark for comparison of cell tracking algorithms",
       Bioinformatics 30(11), 2014.

    Examples
    --------
    >>> score = seg_score([[1, 1, 0, 2]], [[5, 5, 5, 0]])
    >>> score.values  # cell 1: 2 shared of 3 pixels; cell 2 is missed
    array([0.66666667, 0.        ])
    >>> round(score.mean, 4)
    0.3333
    """
    return seg_from_table(overlap_table(reference, result, margin))


def seg_from_table(table: Overlaps) -> SegScore:
    """SEG from an overlap table; see `seg_score`."""
    values = np.zeros(table.reference_labels.size)
    matched = np.zeros(table.reference_labels.size, np.int64)
    held = table.majority
    values[table.reference_index[held]] = table.iou[held]
    matched[table.reference_index[held]] = table.result_labels[table.result_index[held]]
    mean = float(values.mean()) if values.size else float("nan")
    return SegScore(mean, table.reference_labels, values, matched)


def sequence_seg(scores: Iterable[SegScore]) -> float:
    """SEG of a sequence: the mean over all reference cells of all frames, nan without any.

    The challenge weighs every cell alike, so this is not the mean of the frames' means.

    Examples
    --------
    >>> one_cell = seg_score([[1, 0, 0]], [[1, 0, 0]])
    >>> two_cells = seg_score([[1, 0, 2]], [[0, 0, 0]])
    >>> sequence_seg([one_cell, two_cells])
    0.3333333333333333
    """
    values = [score.values for score in scores]
    every = np.concatenate(values) if values else np.zeros(0)
    return float(every.mean()) if every.size else float("nan")


class MatchCounts(NamedTuple):
    """Counts behind AP, panoptic quality and foreground IoU; they add up over frames.

    Attributes
    ----------
    cells, objects : int
        Numbers of reference cells and segmented objects.
    matches : int64 array (T,)
        For each threshold of `IOU_THRESHOLDS`, the largest number of one-to-one pairs of cell and
        object with at least that IoU.
    panoptic_iou : float
        The sum of the IoU of pairs with more than 0.5.
    intersection, union : int
        Pixels that belong to a cell in both images, and in at least one.
    """

    cells: int
    objects: int
    matches: NDArray[np.int64]
    panoptic_iou: float
    intersection: int
    union: int


def count_matches(table: Overlaps) -> MatchCounts:
    """Count the matches of one frame.

    Examples
    --------
    >>> counts = count_matches(overlap_table([[1, 1, 1, 0, 2]], [[5, 5, 0, 0, 6]]))
    >>> counts.matches  # IoU of the first cell is 2/3, of the second 1
    array([2, 2, 2, 2, 1, 1, 1, 1, 1, 1])
    >>> counts.intersection, counts.union
    (3, 4)
    """
    iou = table.iou
    above_half = iou > 0.5
    intersection = int(table.shared.sum())
    areas = int(table.reference_areas.sum()) + int(table.result_areas.sum())
    return MatchCounts(
        table.reference_labels.size,
        table.result_labels.size,
        np.array([_largest_matching(table, iou >= least) for least in IOU_THRESHOLDS], np.int64),
        float(iou[above_half].sum()),
        intersection,
        areas - intersection,
    )


def _largest_matching(table: Overlaps, allowed: NDArray[np.bool_]) -> int:
    """Count the pairs of the largest one-to-one matching among the allowed pairs.

    Above an IoU of 0.5 pairs are always one-to-one; at exactly 0.5 a cell can tie with two objects,
    and only one of them may count.
    """
    if not allowed.any():
        return 0
    index = (table.reference_index[allowed], table.result_index[allowed])
    shape = (table.reference_labels.size, table.result_labels.size)
    graph = csr_array((np.ones(index[0].size, np.int8), index), shape=shape)
    return int((maximum_bipartite_matching(graph) >= 0).sum())


def add_counts(counts: Iterable[MatchCounts]) -> MatchCounts:
    """Add the counts of several frames."""
    parts = list(counts)
    return MatchCounts(
        cells=sum(part.cells for part in parts),
        objects=sum(part.objects for part in parts),
        matches=sum((part.matches for part in parts), np.zeros(len(IOU_THRESHOLDS), np.int64)),
        panoptic_iou=sum(part.panoptic_iou for part in parts),
        intersection=sum(part.intersection for part in parts),
        union=sum(part.union for part in parts),
    )


def average_precision(counts: MatchCounts) -> NDArray[np.float64]:
    """Average precision at each threshold of `IOU_THRESHOLDS`, as defined by Cellpose.

    Parameters
    ----------
    counts : MatchCounts
        Of one frame, or of a sequence (`add_counts`).

    Returns
    -------
    float64 array (T,)
        nan where there is neither a cell nor an object. Its mean is the "mean average precision
        over IoU 0.5 to 0.95".

    Notes
    -----
    ``AP = TP / (TP + FP + FN)``. Cellpose calls it average precision, StarDist accuracy, the Data
    Science Bowl 2018 precision; it is not the area under a precision-recall curve that COCO calls
    average precision. Over several frames the counts are pooled, as StarDist's
    ``matching_dataset`` does by default; Cellpose averages the frames' values instead.

    References
    ----------
    .. [1] Stringer et al., "Cellpose", Nature Methods 18, 2021.
    .. [2] Schmidt et al., "Cell detection with star-convex polygons", MICCAI 2018.

    Examples
    --------
    >>> counts = count_matches(overlap_table([[1, 1, 1, 0, 2]], [[5, 5, 0, 0, 0]]))
    >>> average_precision(counts)[:5]  # one match up to IoU 0.65; one missed cell throughout
    array([0.5, 0.5, 0.5, 0.5, 0. ])
    """
    either = counts.cells + counts.objects - counts.matches
    precision = np.full(counts.matches.size, np.nan)
    np.divide(counts.matches, either, out=precision, where=either > 0)
    return precision


def panoptic_quality(counts: MatchCounts) -> float:
    """Panoptic quality, nan where there is neither a cell nor an object.

    Notes
    -----
    ``PQ = (sum of IoU over matches) / (TP + FP / 2 + FN / 2)`` with the pairs above an IoU of 0.5
    as matches.

    References
    ----------
    .. [1] Kirillov et al., "Panoptic segmentation", CVPR 2019.

    Examples
    --------
    >>> panoptic_quality(count_matches(overlap_table([[1, 1, 1, 2]], [[5, 5, 5, 0]])))
    0.6666666666666666
    """
    # TP + FP / 2 + FN / 2 is half the number of cells and objects.
    half = (counts.cells + counts.objects) / 2
    return counts.panoptic_iou / half if half else float("nan")


def foreground_iou(counts: MatchCounts) -> float:
    """Intersection over union of the foreground, nan if neither image has any.

    Examples
    --------
    >>> foreground_iou(count_matches(overlap_table([[1, 2, 0, 0]], [[3, 3, 3, 0]])))
    0.6666666666666666
    """
    return counts.intersection / counts.union if counts.union else float("nan")
