"""Scores of cells and membranes, of files or of predictions in memory, as tables and pictures."""

from __future__ import annotations

from .annotated import score_annotated
from .sequence import FrameScore, SequenceScore, score_frame, score_sequence

__all__ = ["FrameScore", "SequenceScore", "score_annotated", "score_frame", "score_sequence"]
