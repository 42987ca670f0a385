"""Scores of results on disk: sequences of cells and stacks of membranes, as tables and pictures."""

from __future__ import annotations

from .annotated import score_annotated
from .sequence import FrameScore, SequenceScore, score_frame, score_sequence

__all__ = ["FrameScore", "SequenceScore", "score_annotated", "score_frame", "score_sequence"]
