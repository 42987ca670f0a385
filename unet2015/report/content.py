"""Contents of a report: a run, a training frame, a scored result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from ..evaluation import FrameScore, SequenceScore

if TYPE_CHECKING:
    from ..runs import LogLine  # its module imports torch


WORST_CELLS = 12
"""Worst cells of a result that are shown one by one."""


class RunRecord(NamedTuple):
    """A training run."""

    name: str
    """Its folder."""
    version: str
    """The version of this package that wrote the model."""
    parameters: int
    """Number of learned parameters."""
    settings: dict[str, Any]
    """As stored in the model file."""
    defaults: dict[str, Any]
    """Default settings."""
    log: list[LogLine]


class WeighedFrame(NamedTuple):
    """A training frame and the weight of each of its pixels in the loss."""

    name: str
    image: NDArray[Any]
    """Grey values, shape (height, width)."""
    labels: NDArray[Any]
    """Cell numbers with 0 on the ridges between cells, shape (height, width)."""
    weights: NDArray[Any]
    """w(x) of Eq. 2, shape (height, width)."""


class ScoredFrame(NamedTuple):
    """A frame to show, with its reference and its result."""

    score: FrameScore
    image: NDArray[Any] | None
    """Grey values, shape (height, width); None if not available."""
    reference: NDArray[Any]
    """Cell numbers, shape (height, width)."""
    result: NDArray[Any]
    """Object numbers, shape (height, width)."""


class ScoredResult(NamedTuple):
    """A result with its score."""

    reference: str
    """Where the ground truth is."""
    result: str
    """Where the result is, or what made it."""
    margin: int
    """Width in pixels of the border outside the field of interest."""
    score: SequenceScore
    frames: list[ScoredFrame]
    """The worst frames and those of the `WORST_CELLS` worst cells, worst first."""


class Report(NamedTuple):
    """Everything on a page; parts that are None are left out."""

    title: str
    run: RunRecord | None = None
    weighed: WeighedFrame | None = None
    scored: ScoredResult | None = None
