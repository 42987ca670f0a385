"""Measures of segmentation and tracking: small pure functions on arrays."""

from __future__ import annotations

from .cells import (
    IOU_THRESHOLDS,
    MatchCounts,
    SegScore,
    add_counts,
    average_precision,
    count_matches,
    foreground_iou,
    panoptic_quality,
    seg_from_table,
    seg_score,
    sequence_seg,
)
from .em import (
    THRESHOLDS,
    AtThreshold,
    EmScore,
    best_over_thresholds,
    em_score,
    information_f_score,
    rand_f_score,
    thin_borders,
)
from .lineage import GraphErrors, compare_lineages, det, tra
from .mistakes import Mistakes, find_mistakes, objects_without_truth, without_objects
from .overlap import Overlaps, overlap_table, within_margin
from .warping import WarpingError, warp, warping_error

__all__ = [
    "IOU_THRESHOLDS",
    "THRESHOLDS",
    "AtThreshold",
    "EmScore",
    "GraphErrors",
    "MatchCounts",
    "Mistakes",
    "Overlaps",
    "SegScore",
    "WarpingError",
    "add_counts",
    "average_precision",
    "best_over_thresholds",
    "compare_lineages",
    "count_matches",
    "det",
    "em_score",
    "find_mistakes",
    "foreground_iou",
    "information_f_score",
    "objects_without_truth",
    "overlap_table",
    "panoptic_quality",
    "rand_f_score",
    "seg_from_table",
    "seg_score",
    "sequence_seg",
    "thin_borders",
    "tra",
    "warp",
    "warping_error",
    "within_margin",
    "without_objects",
]
