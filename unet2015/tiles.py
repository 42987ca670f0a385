"""The overlap-tile strategy of Fig. 2 as pure geometry.

An image is covered by tiles of one size. Each tile *writes* a region of the image, and *reads* one
that reaches `border` pixels further on every side, mirrored where it lies outside the image. Every
pixel of the image is written by exactly one tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .arrays import as_array
from .errors import InputError


class Tile(NamedTuple):
    """One step of the overlap-tile strategy, in pixels of the image.

    Attributes
    ----------
    top, left : int
        Where the network's output for this tile begins.
    height, width : int
        How much of that output is written: less than all of it where tiles overlap or the image
        ends.
    """

    top: int
    left: int
    height: int
    width: int

    @property
    def write(self) -> tuple[slice, slice]:
        """Rows and columns of the image that this tile alone writes."""
        return (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )


@dataclass(frozen=True)
class TileGrid:
    """How an image is cut into tiles.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image.
    output : (int, int)
        Height and width of the network's output for one tile.
    border : int
        Pixels that the network needs around its output.
    step : int
        Tile offsets are multiples of this: 2**depth for a U-Net, so that tiles agree with the
        whole-image result; 1 for a network that is shift invariant.
    """

    shape: tuple[int, int]
    output: tuple[int, int]
    border: int
    step: int = 1

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise InputError(f"the image has {self.shape} pixels: there is nothing to predict.")
        if self.border < 0 or self.step < 1:
            raise InputError(
                f"the border is {self.border} and the step {self.step}: give at least 0 and 1."
            )
        if self.step > min(self.output):
            raise InputError(
                f"a tile with an output of {self.output} pixels and a border of {self.border} "
                f"cannot move in steps of {self.step}: take a larger tile."
            )

    @property
    def input(self) -> tuple[int, int]:
        """Height and width of the region read for one tile."""
        return self.output[0] + 2 * self.border, self.output[1] + 2 * self.border

    @property
    def stride(self) -> tuple[int, int]:
        """Distance between tiles: blocks of this size are each written by a single tile.

        The last tile may be longer, by less than a step, to also write the block at the edge.
        """
        return self.output[0] // self.step * self.step, self.output[1] // self.step * self.step

    def read(self, tile: Tile) -> tuple[range, range]:
        """Rows and columns that the network sees for `tile`; they may lie outside the image."""
        top, left = tile.top - self.border, tile.left - self.border
        return range(top, top + self.input[0]), range(left, left + self.input[1])

    def __len__(self) -> int:
        return len(self._intervals(0)) * len(self._intervals(1))

    def __iter__(self) -> Iterator[Tile]:
        for top, height in self._intervals(0):
            for left, width in self._intervals(1):
                yield Tile(top, left, height, width)

    def _intervals(self, axis: int) -> list[tuple[int, int]]:
        """Offset and written length of the tiles along one axis."""
        size, output, stride = self.shape[axis], self.output[axis], self.stride[axis]
        # A tile that reaches the end is the last, even if it is longer than the stride.
        offsets = range(0, max(size - output, 0) + stride, stride)
        return [
            (offset, (size if offset == offsets[-1] else offset + stride) - offset)
            for offset in offsets
        ]


class Source(Protocol):
    """An image that can be read by region: an array in memory, or a file larger than that."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Pixels of a region inside the image, shape (channels, rows, columns)."""


class ArraySource:
    """An array, (channels, height, width) or (height, width), as a source of regions.

    Arrays of Zarr, Dask and HDF5 are read region by region.
    """

    def __init__(self, image: Any) -> None:
        is_array_like = isinstance(getattr(image, "dtype", None), np.dtype)  # no list or tensor
        if isinstance(image, np.ndarray) or not is_array_like:
            image = as_array(image)
        if len(image.shape) not in (2, 3):
            raise InputError(
                f"the image has the shape {tuple(image.shape)}: give (channels, height, width)."
            )
        if image.dtype.kind not in "buif":
            raise InputError(f"the image holds {image.dtype} values: give real numbers.")
        self._image = image

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return np.dtype(self._image.dtype)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        *channels, height, width = self._image.shape
        return channels[0] if channels else 1, height, width

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Pixels of a region, shape (channels, rows, columns)."""
        region = np.asarray(self._image[..., rows, columns])
        return region.reshape(-1, *region.shape[-2:])


def mirror(positions: range | NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """Map positions into an axis by mirroring at its ends.

    The edge pixel itself is not repeated, as in the authors' code (NumPy's ``reflect``). Positions
    beyond the first reflection are reflected repeatedly.

    Parameters
    ----------
    positions : range or array of int
        Positions, which may be negative or beyond the end.
    size : int
        Length of the axis in pixels.

    Examples
    --------
    >>> mirror(range(-2, 6), 4).tolist()
    [2, 1, 0, 1, 2, 3, 2, 1]
    """
    period = max(2 * (size - 1), 1)
    folded = np.asarray(positions) % period
    return np.minimum(folded, period - folded)


def read_mirrored(source: Source, rows: range, columns: range) -> NDArray[Any]:
    """Read a region that may lie partly outside the image, where it is mirrored.

    Parameters
    ----------
    source : Source
        The image; only the needed part is read.
    rows, columns : range
        The region, which may begin below 0 and end beyond the image.

    Returns
    -------
    ndarray
        Shape (channels, len(rows), len(columns)), in the source's dtype.
    """
    _, height, width = source.shape
    if min(rows.start, columns.start) >= 0 and rows.stop <= height and columns.stop <= width:
        return source.read(slice(rows.start, rows.stop), slice(columns.start, columns.stop)).copy()
    row, column = mirror(rows, height), mirror(columns, width)
    top, left = int(row.min()), int(column.min())
    pixels = source.read(slice(top, int(row.max()) + 1), slice(left, int(column.max()) + 1))
    return pixels.take(column - left, axis=2).take(row - top, axis=1)
