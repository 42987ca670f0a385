"""A cache of decoded tiles, strips or chunks, and regions assembled from them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

CACHE_BYTES = 1 << 27
"""Default size of the cache of one image, 128 MiB."""
MOST_BYTES = 1 << 30
"""Largest size that `BlockCache.reserve` grants, 1 GiB."""


class BlockCache:
    """The most recently used decoded blocks; the latest is kept whatever its size.

    Parameters
    ----------
    capacity : int
        Size limit in bytes.
    """

    def __init__(self, capacity: int = CACHE_BYTES) -> None:
        self._capacity = capacity
        self._blocks: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def reserve(self, capacity: int) -> None:
        """Raise the capacity to at least this many bytes, unless these are more than `MOST_BYTES`.

        Where blocks are read in turns, a cache for only some of them saves nothing.
        """
        if capacity <= MOST_BYTES:
            self._capacity = max(self._capacity, capacity)

    def get(self, key: Hashable, decode: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the block with this key, decoding it if it is not cached.

        Parameters
        ----------
        key : hashable
            Identifies the block.
        decode : callable
            Decodes the block. It runs outside the lock, so that threads decode in parallel;
            occasionally decoding a block twice costs less than waiting.

        Returns
        -------
        ndarray
            The block; do not modify it.
        """
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
                return self._blocks[key]
        block = decode()
        with self._lock:
            if key not in self._blocks:
                self._blocks[key] = block
                self._bytes += block.nbytes
            while self._bytes > self._capacity and len(self._blocks) > 1:
                self._bytes -= self._blocks.popitem(last=False)[1].nbytes
        return block


def blocks_in(region: slice, size: int) -> int:
    """Count the blocks of this size that a region overlaps along one axis."""
    return -(-region.stop // size) - region.start // size


def assemble(
    rows: slice,
    columns: slice,
    block_shape: tuple[int, int],
    block: Callable[[int, int], NDArray[Any]],
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    """Assemble a region from the blocks that it overlaps.

    Parameters
    ----------
    rows, columns : slice
        The region, not empty.
    block_shape : tuple of int
        Height and width of the blocks of the grid, which starts at pixel (0, 0).
    block : callable
        Returns the (height, width) pixels of the block in a row and column of the grid. Blocks at
        the lower and right edges may extend beyond the image.
    dtype : numpy.dtype
        Type of the result.

    Returns
    -------
    ndarray of (height, width)
    """
    height, width = block_shape
    region = np.empty((rows.stop - rows.start, columns.stop - columns.start), dtype)
    for i in range(rows.start // height, -(-rows.stop // height)):
        top, bottom = max(rows.start, i * height), min(rows.stop, (i + 1) * height)
        for j in range(columns.start // width, -(-columns.stop // width)):
            left, right = max(columns.start, j * width), min(columns.stop, (j + 1) * width)
            region[
                top - rows.start : bottom - rows.start,
                left - columns.start : right - columns.start,
            ] = block(i, j)[
                top - i * height : bottom - i * height, left - j * width : right - j * width
            ]
    return region
