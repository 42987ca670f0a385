"""Pyramid levels of an image, computed while its full resolution is streamed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

TILE = 512
"""Side of the written tiles and chunks, in pixels."""


class Sliceable(Protocol):
    """An array that is read by region: NumPy, Zarr, or anything that computes regions."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the pixels."""

    def __getitem__(self, index: Any) -> Any:
        """Return a region as a NumPy array."""


class Writable(Sliceable, Protocol):
    """A `Sliceable` whose regions can be set."""

    def __setitem__(self, index: Any, pixels: NDArray[Any]) -> None:
        """Set a region."""


class Block(NamedTuple):
    """A piece of a plane: its index in the image and its pixels."""

    region: tuple[Any, ...]
    pixels: NDArray[Any]


def level_shapes(height: int, width: int) -> list[tuple[int, int]]:
    """Halve a shape, rounding up, until one tile holds the image.

    Parameters
    ----------
    height, width : int
        Of the full resolution.

    Returns
    -------
    list of (int, int)
        Full resolution first.

    Examples
    --------
    >>> level_shapes(1500, 700)
    [(1500, 700), (750, 350), (375, 175)]
    """
    shapes = [(height, width)]
    while max(shapes[-1]) > TILE:
        shapes.append((-(-shapes[-1][0] // 2), -(-shapes[-1][1] // 2)))
    return shapes


def halve(pixels: NDArray[Any], labels: bool) -> NDArray[Any]:
    """Shrink by two along both axes.

    Parameters
    ----------
    pixels : ndarray of (height, width)
        A piece of an image that starts at an even row and column.
    labels : bool
        Whether the values are labels, of which the upper left of four is picked, instead of
        quantities, which are averaged.

    Returns
    -------
    ndarray of (ceil(height / 2), ceil(width / 2))
        Of the same dtype. In means, the last row or column counts twice at an odd edge.

    Examples
    --------
    >>> halve(np.array([[1, 3, 7], [5, 7, 9]]), labels=False)
    array([[4, 8]])
    """
    if labels:
        return pixels[::2, ::2]
    height, width = pixels.shape
    even = np.pad(pixels, ((0, height % 2), (0, width % 2)), mode="edge")
    wide: NDArray[Any] = even.astype(np.float32 if pixels.dtype.itemsize < 4 else np.float64)
    pairs = wide[::2] + wide[1::2]
    mean = (pairs[:, ::2] + pairs[:, 1::2]) / 4
    return (np.rint(mean) if pixels.dtype.kind in "iu" else mean).astype(pixels.dtype)


def blocks(
    source: Sliceable, coarser: Writable | None, rows: int, columns: int, labels: bool
) -> Iterator[Block]:
    """Read an image piece by piece and write the next pyramid level along the way.

    Parameters
    ----------
    source : Sliceable
        The image; Y and X are its last axes.
    coarser : Writable or None
        Receives the image at half the size; None for the last level.
    rows, columns : int
        Size of the pieces; even.
    labels : bool
        As in `halve`.

    Yields
    ------
    Block
        Plane after plane, row after row.
    """
    *planes, height, width = source.shape
    for plane in product(*map(range, planes)):
        for row, column in product(range(0, height, rows), range(0, width, columns)):
            bottom, right = min(row + rows, height), min(column + columns, width)
            index = (*plane, slice(row, bottom), slice(column, right))
            pixels = np.asarray(source[index])
            if coarser is not None:
                half = slice(row // 2, -(-bottom // 2)), slice(column // 2, -(-right // 2))
                coarser[*plane, *half] = halve(pixels, labels)
            yield Block(index, pixels)


def tiles(pieces: Iterator[Block]) -> Iterator[NDArray[Any]]:
    """Cut pieces one tile high into tiles, which are smaller at the right and lower edges."""
    for piece in pieces:
        for column in range(0, piece.pixels.shape[1], TILE):
            yield piece.pixels[:, column : column + TILE]


def pixels_of_levels(shape: Sequence[int]) -> int:
    """Count the pixels of all levels of an image of this shape."""
    planes = int(np.prod(shape[:-2]))
    return planes * sum(h * w for h, w in level_shapes(*shape[-2:]))
