"""Connected components of a mask that does not fit in memory.

The mask is labelled block by block, which cuts components into *pieces*. Pairs of pieces that touch
across a block boundary form a graph, and its connected components are those of the mask. Memory
holds one block, a row of pixels and a few numbers per piece, never the labels: blocks are labelled
again when they are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..blockcache import BlockCache, assemble
from .components import EIGHT_NEIGHBOURS

_STRUCTURE = {8: EIGHT_NEIGHBOURS, 4: ndimage.generate_binary_structure(2, 1)}


class Plane(NamedTuple):
    """A plane of any size that is read by region.

    Attributes
    ----------
    shape : (int, int)
        Height and width.
    read : callable
        Takes slices of rows and of columns inside the plane, returns the pixels of that region.
    """

    shape: tuple[int, int]
    read: Callable[[slice, slice], NDArray[Any]]


class _Blocks(NamedTuple):
    """A mask and how it is cut into blocks."""

    mask: Plane
    neighbours: int
    size: tuple[int, int]

    def region(self, i: int, j: int) -> tuple[slice, slice]:
        """Rows and columns of a block."""
        (height, width), (rows, columns) = self.mask.shape, self.size
        return (
            slice(i * rows, min((i + 1) * rows, height)),
            slice(j * columns, min((j + 1) * columns, width)),
        )

    def label(self, i: int, j: int) -> tuple[NDArray[np.int32], int]:
        """Labels 1...count of the pieces of a block, and their count; the same on each call."""
        return ndimage.label(self.mask.read(*self.region(i, j)), _STRUCTURE[self.neighbours])


class Components:
    """The connected components of a mask, which is read once to find them.

    Parameters
    ----------
    mask : Plane
        Bool.
    neighbours : {4, 8}
        Connectivity.
    block : (int, int)
        Height and width of the blocks.

    Attributes
    ----------
    size : ndarray of int64, shape (components,)
        Number of pixels.
    first : ndarray of int64, shape (components,)
        Flat index of the first pixel in raster order.
    at_edge : ndarray of bool, shape (components,)
        Whether the component reaches the edge of the mask.
    """

    def __init__(self, mask: Plane, neighbours: int, block: tuple[int, int]) -> None:
        self._blocks = _Blocks(mask, neighbours, block)
        self._offsets: dict[tuple[int, int], int] = {}
        height, width = mask.shape
        diagonal = neighbours == 8
        sizes, firsts, at_edge, pairs = [], [], [], [np.empty((0, 2), np.int64)]
        total = 0
        above = np.full(width, -1)  # pieces in the row above the blocks; -1 is outside the mask
        for i in range(-(-height // block[0])):
            upper, lower = np.empty((2, width), np.int64)
            left = np.empty(0, np.int64)
            for j in range(-(-width // block[1])):
                rows, columns = self._blocks.region(i, j)
                labels, count = self._blocks.label(i, j)
                self._offsets[i, j] = total
                sizes.append(np.bincount(labels.ravel())[1:])
                row, column = np.divmod(_first_pixels(labels, count), labels.shape[1])
                firsts.append((row + rows.start) * width + column + columns.start)
                upper[columns], lower[columns], first, last = (
                    np.where(face > 0, face.astype(np.int64) + (total - 1), -1)
                    for face in (labels[0], labels[-1], labels[:, 0], labels[:, -1])
                )
                if j == 0:
                    at_edge.append(first)
                else:
                    pairs.append(_touching(left, first, diagonal))
                left = last
                total += count
            at_edge.append(left)
            pairs.append(_touching(above, upper, diagonal))
            above = lower
            if i == 0:
                at_edge.append(upper)
        at_edge.append(above)
        outer = np.unique(np.concatenate(at_edge))
        count, self._component = _joined(np.concatenate(pairs), total)
        self.size = np.zeros(count, np.int64)
        np.add.at(self.size, self._component, np.concatenate(sizes))
        self.first = np.full(count, np.iinfo(np.int64).max)
        np.minimum.at(self.first, self._component, np.concatenate(firsts))
        self.at_edge = np.zeros(count, bool)
        self.at_edge[self._component[outer[outer >= 0]]] = True

    def mapped(self, values: NDArray[Any], cache: BlockCache | None = None) -> Plane:
        """Plane with one of `values`, shape (components,), per component, and 0 outside the mask.

        With a cache, reading regions smaller than blocks does not label the blocks each time.
        """
        cache = cache or BlockCache(0)
        # The plane refers to these only, so that the components can be freed.
        blocks, offsets, of_piece = self._blocks, self._offsets, values[self._component]

        def of_block(i: int, j: int) -> NDArray[Any]:
            labels, count = blocks.label(i, j)
            table = np.zeros(count + 1, values.dtype)
            table[1:] = of_piece[offsets[i, j] : offsets[i, j] + count]
            return table[labels]

        return Plane(
            blocks.mask.shape,
            lambda rows, columns: assemble(
                rows,
                columns,
                blocks.size,
                lambda i, j: cache.get((i, j), lambda: of_block(i, j)),
                values.dtype,
            ),
        )

    def boxes(self) -> NDArray[np.int64]:
        """Bounding boxes of the components, shape (components, 4): top, left, bottom, right.

        The last two are exclusive. Reads the mask once.
        """
        boxes = np.empty((len(self.size), 4), np.int64)
        boxes[:, :2], boxes[:, 2:] = np.iinfo(np.int64).max, -1
        for (i, j), start in self._offsets.items():
            top, left = i * self._blocks.size[0], j * self._blocks.size[1]
            found = ndimage.find_objects(self._blocks.label(i, j)[0])
            for piece, (rows, columns) in enumerate(found, start):
                box = boxes[self._component[piece]]
                np.minimum(box[:2], (rows.start + top, columns.start + left), out=box[:2])
                np.maximum(box[2:], (rows.stop + top, columns.stop + left), out=box[2:])
        return boxes


def _touching(
    one: NDArray[np.int64], other: NDArray[np.int64], diagonal: bool
) -> NDArray[np.int64]:
    """Pairs of pieces that touch across a block boundary.

    Parameters
    ----------
    one, other : ndarray of int64, shape (n,)
        Piece numbers on either side, -1 for none.
    diagonal : bool
        Whether pixels touch diagonally too.

    Returns
    -------
    ndarray of int64, shape (pairs, 2)

    Examples
    --------
    >>> one, other = np.array([-1, 4, -1, -1]), np.array([7, -1, 7, 9])
    >>> _touching(one, other, diagonal=True).tolist()
    [[4, 7]]
    >>> _touching(one, other, diagonal=False).tolist()
    []
    """
    opposite = [(one, other), (one[1:], other[:-1]), (one[:-1], other[1:])]
    pairs = np.concatenate([np.stack(sides, axis=1) for sides in opposite[: 3 if diagonal else 1]])
    return np.unique(pairs[(pairs >= 0).all(axis=1)], axis=0)


def _first_pixels(labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Flat index of the first pixel, in raster order, of each of the labels 1...count."""
    flat = labels.ravel()
    inside = np.flatnonzero(flat)[::-1]
    first = np.empty(count + 1, np.int64)
    first[flat[inside]] = inside  # in reverse order, so that the first pixel is assigned last
    return first[1:]


def _joined(pairs: NDArray[np.int64], pieces: int) -> tuple[int, NDArray[np.int64]]:
    """Number of components, and the component of each piece, from the pairs that touch."""
    if not pieces:
        return 0, np.zeros(0, np.int64)
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), (pieces, pieces))
    return connected_components(graph, directed=False)
