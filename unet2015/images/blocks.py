"""Decoding the tiles, strips or chunks of a file no more often than needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

CACHE_BYTES = 1 << 27
"""Memory for decoded blocks of one image, 128 MiB, unless `BlockCache.reserve` asks for more."""
MOST_BYTES = 1 << 30
"""What it can ask for."""


class BlockCache:
    """The decoded blocks used last, up to a number of bytes (but always the last one).

    Parameters
    ----------
    capacity : int
        The number of bytes.
    """

    def __init__(self, capacity: int = CACHE_BYTES) -> None:
        self._capacity = capacity
        self._blocks: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def reserve(self, capacity: int) -> None:
        """Have room for so many bytes from now on, up to `MOST_BYTES`."""
        self._capacity = max(self._capacity, min(capacity, MOST_BYTES))

    def get(self, key: Hashable, decode: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the block of this key, decoding it if it is not here.

        Parameters
        ----------
        key : hashable
            What identifies the block.
        decode : callable
            Makes the block. It runs outside the lock, so that threads decode side by side; that two
            of them now and then decode the same block costs less than waiting would.

        Returns
        -------
        ndarray
            The block, not to be changed.
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


def assemble(
    rows: slice,
    columns: slice,
    block_shape: tuple[int, int],
    block: Callable[[int, int], NDArray[Any]],
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    """Put a region together from the blocks under it.

    Parameters
    ----------
    rows, columns : slice
        The region, not empty.
    block_shape : tuple of int
        Height and width of the blocks of the grid, which starts at pixel (0, 0).
    block : callable
        Gives the (height, width) pixels of the block in a row and column of the grid. Blocks at the
        lower and right edge may be cut off at the image's edge or not.
    dtype : numpy.dtype
        Of the result.

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
