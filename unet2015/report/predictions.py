"""A result that is still in memory, scored for a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.frames import AnnotatedFrame
from ..evaluation import FrameScore, SequenceScore, score_frame
from ..metrics import add_counts, overlap_table, sequence_seg
from .content import ScoredFrame, ScoredResult
from .gathering import frames_to_show


def score_predictions(
    frames: Sequence[AnnotatedFrame],
    predicted: Sequence[NDArray[Any]],
    made_by: str,
    margin: int = 0,
) -> ScoredResult:
    """Score the objects that were found in annotated frames.

    Parameters
    ----------
    frames : sequence of AnnotatedFrame
        With names that differ.
    predicted : sequence of array of int, shape (height, width)
        The objects of each frame.
    made_by : str
        What to call the result.
    margin : int
        Width in pixels of the border outside the field of interest.
    """
    found = {frame.name: (frame, cells) for frame, cells in zip(frames, predicted, strict=True)}
    scores = [_score(frame, cells, margin) for frame, cells in found.values()]
    unjudged = sum(score.unjudged for score in scores)
    score = SequenceScore(
        scores,
        sequence_seg(score.seg for score in scores),
        add_counts(score.counts for score in scores),
        graph=None,
        tracked=False,
        notes=[f"{unjudged} objects where annotation is missing are not judged."] * (unjudged > 0),
    )
    shown = []
    for worst in frames_to_show(scores):
        frame, cells = found[worst.name]
        shown.append(ScoredFrame(worst, frame.image.mean(axis=0), frame.labels, cells))
    sources = ", ".join(sorted({frame.name.rpartition("/")[0] for frame in frames}))
    return ScoredResult(sources, made_by, margin, score, shown)


def _score(frame: AnnotatedFrame, cells: NDArray[Any], margin: int) -> FrameScore:
    """Score a frame; objects that hold no cell and lie mostly in `ignore` are not judged."""
    table = overlap_table(frame.labels, cells, margin)
    holders = table.segmented_labels[table.segmented_index[table.majority]]
    ignored = overlap_table(frame.ignore.astype(np.uint8), cells)
    inside = 2 * ignored.shared > ignored.segmented_areas[ignored.segmented_index]
    unknown = ignored.segmented_labels[ignored.segmented_index[inside]]
    return score_frame(frame.name, table, np.setdiff1d(unknown, holders))
