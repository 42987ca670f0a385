"""Annotated frames of any data set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..arrays import as_array
from ..errors import InputError, by
from ..images import open_image
from ..labelfiles.labelimages import integer_labels
from ..metrics.overlap import check_margin

SURROUNDINGS = 8
"""Outside the field of interest, pixels within this distance of an annotated cell count as
background, so that cells are learned to their edges."""


class AnnotatedFrame(NamedTuple):
    """An image and its numbered cells."""

    image: NDArray[Any]
    """Grey values as stored, shape (channels, height, width)."""
    labels: NDArray[Any]
    """Cell numbers, 0 for the background, shape (height, width), integer."""
    name: str
    """For messages and pictures, and for the record in the trained model."""
    ignore: NDArray[np.bool_]
    """Pixels without annotation, which get weight 0, shape (height, width)."""


def annotated_frame(
    image: NDArray[Any],
    labels: NDArray[Any],
    name: str | Path,
    ignore: NDArray[np.bool_] | None = None,
) -> AnnotatedFrame:
    """Check an image and its labels and put them together.

    Parameters
    ----------
    image : ndarray
        Integers or floating-point numbers, shape (height, width) or (channels, height, width).
    labels : ndarray
        0 for the background, another whole number for each cell; shape (height, width).
    name : str or Path
        For messages and pictures, and for the record in the trained model.
    ignore : ndarray of bool, optional
        Pixels without annotation, shape (height, width); by default there are none.

    Returns
    -------
    AnnotatedFrame
        For `train`.

    Raises
    ------
    InputError
        If the shapes differ, the image is not of real numbers, the labels are not whole numbers in
        two dimensions, `ignore` is not bool, or `name` is no name.
    """
    if not isinstance(name, (str, Path)):
        raise InputError(
            f"the name is {type(name).__name__}: give image, labels and name in this order."
        )
    image, labels = as_array(image), integer_labels(labels, name)
    if labels.size == 0:
        raise InputError(f"{name}: the labels are {by(labels.shape)} pixels: give at least one.")
    if image.dtype.kind not in "buif":
        raise InputError(f"{name}: the image is {image.dtype}: it must be of real numbers.")
    if image.ndim == 2:
        image = image[None]
    if image.shape[1:] != labels.shape:
        shape = image.shape[1:] if image.shape[:1] == (1,) else image.shape
        raise InputError(
            f"{name}: the image is {by(shape)} and its labels are {by(labels.shape)} pixels: they "
            "must have the same size, with any channels of the image first."
        )
    ignore = np.zeros(labels.shape, dtype=bool) if ignore is None else as_array(ignore)
    if ignore.shape != labels.shape or ignore.dtype != bool:
        raise InputError(
            f"{name}: ignore is {by(ignore.shape)} of {ignore.dtype}: it must be bool and have the "
            f"labels' size, {by(labels.shape)}."
        )
    return AnnotatedFrame(image, labels, str(name), ignore)


def read_frame(path: Path) -> NDArray[Any]:
    """Read an image of one plane, shape (channels, height, width)."""
    with open_image(path) as image:
        return image.read_single()


def in_field(frame: AnnotatedFrame, margin: int) -> AnnotatedFrame:
    """Ignore pixels outside the field of interest, except in and around annotated cells.

    The Cell Tracking Challenge annotates only cells with some pixel in the field. Outside it,
    background is therefore known only close to annotated cells, and even there not for certain: a
    neighbour wholly outside the field is not annotated.

    Parameters
    ----------
    frame : AnnotatedFrame
        The frame, which is not modified.
    margin : int
        Width in pixels of the border outside the field of interest.

    Raises
    ------
    InputError
        If the margin is negative or leaves no field.
    """
    check_margin(margin, frame.labels.shape, frame.name)
    if margin == 0:
        return frame
    outside = np.ones(frame.labels.shape, dtype=bool)
    outside[margin:-margin, margin:-margin] = False
    if frame.labels.any():
        outside &= ndimage.distance_transform_edt(frame.labels == 0) > SURROUNDINGS
    return frame._replace(ignore=frame.ignore | outside)


def cell_sizes(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Numbers of the cells, ascending, and their sizes in pixels."""
    return np.unique(labels[labels > 0], return_counts=True)


def smallest_cell(frames: Sequence[AnnotatedFrame]) -> int:
    """Size of the smallest annotated cell in pixels, 0 if there is none."""
    sizes = [cell_sizes(frame.labels)[1] for frame in frames]
    return int(min((size.min() for size in sizes if size.size), default=0))


def digest(frames: Sequence[AnnotatedFrame]) -> str:
    """Hash of the images and annotations of a training set."""
    sha256 = hashlib.sha256()
    for frame in frames:
        for array in (frame.image, frame.labels, frame.ignore):
            sha256.update(f"{array.shape} {array.dtype}".encode())
            sha256.update(array.tobytes())
    return sha256.hexdigest()
