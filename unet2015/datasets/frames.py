"""An annotated frame, whatever data set it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..weightmap import as_labels


class AnnotatedFrame(NamedTuple):
    """An image and its numbered cells."""

    name: str
    """For messages and pictures."""
    image: NDArray[Any]
    """Grey values as stored, shape (channels, height, width)."""
    labels: NDArray[Any]
    """Cell numbers, 0 for the background, shape (height, width), integer."""
    ignore: NDArray[np.bool_]
    """Where the annotation says nothing: these pixels get weight 0. Shape (height, width)."""


def annotated_frame(
    name: str,
    image: NDArray[Any],
    labels: NDArray[Any],
    ignore: NDArray[np.bool_] | None = None,
) -> AnnotatedFrame:
    """Check an image and its labels and put them together.

    Parameters
    ----------
    name : str
        Named in messages.
    image : ndarray
        Shape (height, width) or (channels, height, width).
    labels : ndarray
        Shape (height, width).
    ignore : ndarray of bool, optional
        Pixels about which the annotation says nothing.

    Raises
    ------
    InputError
        If the shapes differ or the labels are not integers in two dimensions.
    """
    labels = integer_labels(name, labels)
    if image.ndim == 2:
        image = image[None]
    if image.ndim != 3 or image.shape[1:] != labels.shape:
        raise InputError(
            f"{name}: the image is {_times(image.shape[-2:])} and its labels are "
            f"{_times(labels.shape)} pixels: they must be of one size."
        )
    if ignore is None:
        ignore = np.zeros(labels.shape, dtype=bool)
    return AnnotatedFrame(name, image, labels, ignore)


def integer_labels(name: Path | str, labels: NDArray[Any]) -> NDArray[Any]:
    """Check that an array is one plane of whole, non-negative numbers; `name` is for messages."""
    try:
        labels = as_labels(labels)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    if labels.ndim != 2:
        raise InputError(
            f"{name}: the labels have the shape {_times(labels.shape)}: "
            "give one plane with one number per pixel."
        )
    return labels


def require_cells(frames: list[AnnotatedFrame], where: Path | str) -> None:
    """Refuse annotations that contain no cell at all."""
    if not any(frame.labels.any() for frame in frames):
        raise InputError(
            f"{where}: none of the {len(frames)} label images contains a cell: "
            "a network that sees background alone learns nothing else."
        )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
