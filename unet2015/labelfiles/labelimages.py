"""Read label images of one or several planes; each pixel has the number of its cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike, NDArray

from ..arrays import as_labels
from ..errors import InputError, by
from ..images import Image, open_image


def open_labels(path: Path) -> Image:
    """Open a label image and check that it has one channel; read its planes with `read_plane`.

    Raises
    ------
    InputError
        If the file is not readable or has several channels.
    """
    image = open_image(path, indices=True)
    if image.channels == 1:
        return image
    image.close()
    raise InputError(
        f"{path} has {image.channels} channels: a label image has one number per pixel, so keep "
        "one channel if they are equal (Fiji: Image > Type > 8-bit), or convert colours to labels"
        f"{image.stack_hint}."
    )


def integer_labels(labels: ArrayLike, name: Path | str, ignore: int | None = None) -> NDArray[Any]:
    """Check that an array is one plane of labels; like `as_labels`, with a name for messages."""
    try:
        plane = as_labels(labels, ignore)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    if plane.ndim != 2:
        raise InputError(
            f"{name}: the labels have the shape {by(plane.shape)}: "
            "give one plane with one number per pixel."
        )
    return plane


def read_plane(
    image: Image, plane: Sequence[int], rows: slice = slice(None), ignore: int | None = None
) -> NDArray[Any]:
    """Read a plane of an opened label image, or rows of it.

    Parameters
    ----------
    image : Image
        From `open_labels`.
    plane : sequence of int
        One of its planes.
    rows : slice
        Bounds in pixels, without a step; all rows by default.
    ignore : int, optional
        A value that is not a cell; it is replaced by 0.

    Returns
    -------
    array of int, shape (rows, width)
        Floats that are whole numbers are converted.

    Raises
    ------
    InputError
        If it holds anything but whole, non-negative numbers, or is damaged.
    """
    return integer_labels(image.read(plane, rows)[0], image.plane_name(plane), ignore)


def read_labels(path: Path) -> NDArray[Any]:
    """Read a label image of one plane, (H, W).

    Raises
    ------
    InputError
        As `open_labels`, or if the file holds several planes.
    """
    with open_labels(path) as image:
        return integer_labels(image.read_single()[0], path)
