"""Annotations that cannot be learned from, and those that are probably mistakes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import InputError, some
from ..labelfiles.doubt import are_strays, numbers_in_pieces
from .frames import AnnotatedFrame, cell_sizes

logger = logging.getLogger(__name__)


def require_cells(frames: Sequence[AnnotatedFrame], where: Path | str) -> None:
    """Refuse annotations that contain no cell at all."""
    if not frames:
        raise InputError(f"{where} has no frames: give annotated ones.")
    if not any(frame.labels.any() for frame in frames):
        raise InputError(
            f"{where}: none of the {len(frames)} label images contains a cell: give each cell a "
            "number above 0, the background."
        )
    if all(frame.labels.all() for frame in frames):
        raise InputError(
            f"{where}: no pixel of the {len(frames)} label images is 0, the background: set the "
            "background to 0."
        )


def warn_of_doubts(frames: Sequence[AnnotatedFrame]) -> None:
    """Warn of images and annotations from which a network would learn something else."""
    constant = [frame.name for frame in frames if (frame.image == frame.image[:, :1, :1]).all()]
    _warn(constant, "all pixels of the image are equal, so there is nothing to learn from it.")
    pieces = [frame.name for frame in frames if numbers_in_pieces(frame.labels)]
    _warn(
        pieces,
        "most numbers in the labels have several separate pieces, as in masks and maps of classes, "
        "and each number counts as one cell: number the cells, with `label_cells(labels > 0)` if "
        "they do not touch.",
    )
    inverted = [f.name for f in frames if f.name not in pieces and _looks_inverted(f)]
    _warn(
        inverted,
        "one cell fills most of the image and has several holes, so the labels may be inverted: "
        "0 is the background.",
    )


def warn_of_strays(frames: Sequence[AnnotatedFrame]) -> None:
    """Warn of cells so small that they are probably stray pixels; the image's edge may cut some."""
    found = [cell_sizes(frame.labels) for frame in frames]
    typical = _typical_size(np.concatenate([sizes for _, sizes in found]))
    strays = []
    for frame, (numbers, sizes) in zip(frames, found, strict=True):
        odd = are_strays(sizes, typical) & ~np.isin(numbers, _edge(frame.labels))
        small = zip(sizes[odd], numbers[odd], strict=True)
        strays += [(size, frame, number) for size, number in small]
    if strays:
        size, frame, number = min(strays, key=lambda stray: stray[0])
        row, column = np.argwhere(frame.labels == number)[0].tolist()
        more = f" and {len(strays) - 1} more have" if len(strays) > 1 else " has"
        logger.warning(
            "%s: cell %d at row %d, column %d%s so few pixels (%d) that it may be a stray: the "
            "smallest cell sets the size below which prediction drops objects, so remove strays, "
            "or give `unet2015 predict` a --min-size.",
            frame.name,
            number,
            row,
            column,
            more,
            size,
        )


def _typical_size(sizes: NDArray[Any]) -> int:
    """Size of the cell that the median pixel lies in, which many strays hardly change."""
    sizes = np.sort(sizes)
    below = np.cumsum(sizes)
    return int(sizes[np.searchsorted(below, below[-1] / 2)])


def _looks_inverted(frame: AnnotatedFrame) -> bool:
    """Whether one cell fills most of a frame and has more holes than there are cells."""
    inside = frame.labels > 0
    sizes = cell_sizes(frame.labels)[1]
    if 2 * sizes.max(initial=0) < inside.size:
        return False
    pieces, count = ndimage.label(~inside)
    holes = count - np.count_nonzero(np.unique(_edge(pieces)))
    return bool(holes > sizes.size)


def _edge(plane: NDArray[Any]) -> NDArray[Any]:
    """The outermost pixels of a plane."""
    return np.concatenate([plane[0], plane[-1], plane[:, 0], plane[:, -1]])


def _warn(names: Sequence[str], why: str) -> None:
    if names:
        logger.warning("%s: %s", some(names), why)
