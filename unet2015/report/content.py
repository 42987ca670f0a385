"""What a report can tell: of a run, of a training frame, of a scored result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from ..evaluation import FrameScore, SequenceScore

if TYPE_CHECKING:
    from ..runs import LogLine  # its module imports torch


WORST_CELLS = 12
"""Cells of a result that are shown one by one."""


class RunRecord(NamedTuple):
    """A training run."""

    name: str
    """Its folder."""
    version: str
    """The version of this package that wrote the model."""
    parameters: int
    """Numbers in the network that were learned."""
    settings: dict[str, Any]
    """As the model file holds them."""
    defaults: dict[str, Any]
    """What the settings are unless somebody changes them."""
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
    """A frame with its reference and its result, to be looked at."""

    score: FrameScore
    image: NDArray[Any] | None
    """Grey values, shape (height, width); None if they are not at hand."""
    reference: NDArray[Any]
    """Cell numbers, shape (height, width)."""
    result: NDArray[Any]
    """Object numbers, shape (height, width)."""


class ScoredResult(NamedTuple):
    """A result with its score."""

    reference: str
    """Where the truth is."""
    result: str
    """Where the result is, or what made it."""
    margin: int
    """Width in pixels of the border outside the field of interest."""
    score: SequenceScore
    frames: list[ScoredFrame]
    """The worst frames and those of the `WORST_CELLS` worst cells, worst first."""


class Report(NamedTuple):
    """Everything on a page; what is None is left out."""

    title: str
    run: RunRecord | None = None
    weighed: WeighedFrame | None = None
    scored: ScoredResult | None = None
