"""Scores of predictions in memory against annotated frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from ..datasets.frames import AnnotatedFrame
from ..metrics import overlap_table
from .sequence import FrameScore, SequenceScore, score_frame


def score_annotated(
    frames: Sequence[AnnotatedFrame], predicted: Sequence[NDArray[Any]], margin: int = 0
) -> SequenceScore:
    """Score the objects predicted in annotated frames, without tracks.

    Parameters
    ----------
    frames : sequence of AnnotatedFrame
        The ground truth.
    predicted : sequence of array of int, shape (height, width)
        The objects of each frame. Those that hold no cell and lie mostly in `ignore` are not
        judged.
    margin : int
        Width in pixels of the border outside the field of interest.

    Returns
    -------
    SequenceScore
    """
    scores = [_score(frame, cells, margin) for frame, cells in zip(frames, predicted, strict=True)]
    unjudged = sum(score.unjudged for score in scores)
    notes = [f"Objects not judged, since annotation is missing there: {unjudged}."] * (unjudged > 0)
    return SequenceScore(scores, graph=None, tracked=False, notes=notes)


def _score(frame: AnnotatedFrame, cells: NDArray[Any], margin: int) -> FrameScore:
    table = overlap_table(frame.labels, cells, margin)
    ignored = overlap_table(frame.ignore, cells)
    inside = 2 * ignored.shared > ignored.result_areas[ignored.result_index]
    return score_frame(frame.name, table, ignored.result_labels[ignored.result_index[inside]])
