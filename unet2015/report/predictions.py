"""A result that is still in memory, scored for a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from ..datasets.frames import AnnotatedFrame
from ..evaluation import score_annotated
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
    score = score_annotated(frames, predicted, margin)
    found = {frame.name: (frame, cells) for frame, cells in zip(frames, predicted, strict=True)}
    shown = []
    for worst in frames_to_show(score.frames):
        frame, cells = found[worst.name]
        shown.append(ScoredFrame(worst, frame.image.mean(axis=0), frame.labels, cells))
    sources = ", ".join(sorted({frame.name.rpartition("/")[0] for frame in frames}))
    return ScoredResult(sources, made_by, margin, score, shown)
