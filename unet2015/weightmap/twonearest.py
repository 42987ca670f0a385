"""Exact distances to the nearest and second nearest cell, at a cost per pixel, not per cell."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_TILE = 256
"""Rows and columns processed at once: few enough for the processor's cache."""


def margin(limit: float, pixel: tuple[float, float]) -> tuple[int, int]:
    """Return how far, in rows and columns, a cell can affect `distance_sums`.

    Parameters
    ----------
    limit, pixel
        As in `distance_sums`.
    """
    farthest = _farthest(limit, pixel)
    return int(farthest / pixel[0]), int(farthest / pixel[1])


def distance_sums(
    cells: NDArray[Any], limit: float, pixel: tuple[float, float]
) -> Iterator[tuple[tuple[slice, slice], NDArray[np.float32]]]:
    """Compute d1 + d2, the sum of the distances to the nearest and second nearest cell.

    Parameters
    ----------
    cells : array of unsigned or non-negative int, shape (H, W)
        0 is background, each other value a cell.
    limit : float
        Larger sums may be left out, in the unit of `pixel`.
    pixel : (float, float)
        Height and width of a pixel.

    Yields
    ------
    tile : (slice, slice)
        Rows and columns of a part of the plane. Parts with fewer than two cells nearby are omitted.
    sums : array of float32, shape of the tile
        d1 + d2 in background, infinite where d2 is so large that the sum is above the limit;
        meaningless inside cells.
    """
    rows, columns = (
        min(most, size) for most, size in zip(margin(limit, pixel), cells.shape, strict=True)
    )
    # A wide margin needs a large tile, or most of the work is on the margin.
    height, width = max(_TILE, 2 * rows), max(_TILE, 2 * columns)
    for top in range(0, cells.shape[0], height):
        for left in range(0, cells.shape[1], width):
            tile = np.s_[top : top + height, left : left + width]
            sums = _tile_sums(_cut_out(cells, tile, (rows, columns)), (rows, columns), limit, pixel)
            if sums is not None:
                yield tile, sums


def _farthest(limit: float, pixel: tuple[float, float]) -> float:
    """Return the largest d2 that matters: d1 of a background pixel is at least one pixel."""
    return max(limit - min(pixel), 0.0)


def _cut_out(
    plane: NDArray[Any], tile: tuple[slice, slice], margin: tuple[int, int]
) -> NDArray[Any]:
    """Cut out a tile with a margin around it, 0 where that is outside the plane."""
    inside, outside = [], []
    for size, part, extra in zip(plane.shape, tile, margin, strict=True):
        first, last = part.start - extra, min(part.stop, size) + extra
        inside.append(slice(max(first, 0), min(last, size)))
        outside.append((max(-first, 0), max(last - size, 0)))
    return np.pad(plane[tuple(inside)], outside)


def _tile_sums(
    grown: NDArray[Any], extra: tuple[int, int], limit: float, pixel: tuple[float, float]
) -> NDArray[np.float32] | None:
    """Do `distance_sums` for a tile with a margin `extra`; None if it has fewer than two cells.

    A Euclidean distance transform is a minimum along columns of a minimum along rows. It yields
    the two nearest cells at once if the first step gives, for each pixel, its nearest cell, the
    squared distance to it, and the squared distance to the nearest other cell. All three are small
    integers: a tile has few cells, and only short distances matter.
    """
    runs = _runs(grown)
    count = int(runs.cells.max(initial=0))
    if count < 2:
        return None
    diagonal = math.hypot(*(n * size for n, size in zip(grown.shape, pixel, strict=True)))
    farthest = min(_farthest(limit, pixel), diagonal)
    # Squared distances are counted in squared pixels, or for non-square pixels in steps so small
    # that rounding does not matter.
    unit = pixel[0] ** 2 if pixel[0] == pixel[1] else min(limit, diagonal) ** 2 / 2**34
    none = int(farthest**2 / unit) + 1
    dtype = np.min_scalar_type((2 * none + 1) * (count + 1))
    down, across = (
        np.rint((np.arange(steps + 1) * size) ** 2 / unit).astype(dtype)
        for steps, size in zip(extra, pixel, strict=True)
    )
    near, second = _along_columns(*_along_rows(runs, grown.shape, across, none), down, none)
    sums = np.sqrt(near, dtype=np.float32) + np.sqrt(second, dtype=np.float32)
    sums *= np.float32(math.sqrt(unit))
    sums[second >= none] = np.inf
    return sums


class _Runs(NamedTuple):
    """Runs of pixels that belong to one cell, in raster order."""

    starts: NDArray[np.intp]
    """Their first pixels in the flat image; a run may continue in the next row."""
    stops: NDArray[np.intp]
    """Their last pixels."""
    cells: NDArray[np.intp]
    """Their cells, numbered 1, 2, ..."""


def _runs(labels: NDArray[Any]) -> _Runs:
    flat = labels.reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    starts, stops = np.append(0, changes + 1), np.append(changes, flat.size - 1)
    values = flat[starts]
    inside = values != 0
    cells = np.unique(values[inside], return_inverse=True)[1] + 1
    return _Runs(starts[inside], stops[inside], cells)


def _along_rows(
    runs: _Runs, shape: tuple[int, ...], cost: NDArray[Any], none: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Find the two nearest cells in each row.

    Parameters
    ----------
    runs, shape
        The image, with at least two cells.
    cost : array of int, shape (margin + 1,)
        The squared distances of 0, 1, ... margin pixels.
    none : int
        The squared distance that stands for anything farther.

    Returns
    -------
    cell, near, second : arrays, shape (rows, columns - 2 * margin), dtype of `cost`
        The nearest cell, and the squared distances to it and to the nearest other cell.
    """
    size = math.prod(shape)
    margin = len(cost) - 1
    inner = np.s_[:, margin : shape[1] - margin]
    # In the flat image, a run in another row is farther from any inner pixel than the margin.
    # Each run is the nearest within an interval around it that reaches half-way to the next.
    lengths = np.diff((runs.stops[:-1] + runs.starts[1:]) // 2, prepend=-1, append=size - 1)
    order = np.arange(runs.cells.size)
    changes = np.flatnonzero(np.diff(runs.cells))
    before = np.append(-1, changes)[np.searchsorted(changes, order)]
    after = np.append(changes + 1, -1)[np.searchsorted(changes, order)]
    others_stop = np.append(runs.stops, -size)[before]
    others_start = np.append(runs.starts, 2 * size)[after]
    pixels = np.arange(size, dtype=np.int32)
    squared = np.append(cost, cost.dtype.type(none))

    def spread(values: NDArray[np.intp], dtype: Any = np.int32) -> NDArray[Any]:
        return np.repeat(values.astype(dtype), lengths)

    def look_up(distance: NDArray[np.int32]) -> NDArray[Any]:
        inside = distance.reshape(shape)[inner]
        return squared[np.clip(inside, 0, margin + 1)]

    near = look_up(np.maximum(spread(runs.starts) - pixels, pixels - spread(runs.stops)))
    second = look_up(np.minimum(pixels - spread(others_stop), spread(others_start) - pixels))
    return spread(runs.cells, cost.dtype).reshape(shape)[inner], near, second


def _along_columns(
    cell: NDArray[Any], near: NDArray[Any], second: NDArray[Any], cost: NDArray[Any], none: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Take the minimum over the rows within reach of each row.

    Parameters
    ----------
    cell, near, second : arrays of one unsigned dtype, shape (rows + 2 * margin, columns)
        Results of `_along_rows`. The dtype holds ``(2 * none + 1) * (cells + 1)``.
    cost, none
        As in `_along_rows`.

    Returns
    -------
    near, second : arrays, shape (rows, columns)
        The squared distances to the nearest cell and to the nearest other one.
    """
    number = cell.dtype.type
    margin = len(cost) - 1
    rows = cell.shape[0] - 2 * margin
    middle = slice(margin, margin + rows)
    # Distance and cell in one number: the smallest belongs to the nearest cell.
    base = cell.max() + number(1)
    key = near * base + cell
    best = key[middle].copy()
    candidate = np.empty_like(best)
    for step in range(1, margin + 1):
        up, down = (
            slice(margin - step, rows + margin - step),
            slice(margin + step, rows + margin + step),
        )
        np.minimum(key[up], key[down], out=candidate)
        candidate += cost[step] * base
        np.minimum(best, candidate, out=best)
    nearest = best // base
    # Another row offers its nearest cell unless that is the nearest one here, too; then its second
    # nearest. To choose in one step, let the numbers wrap around: `ours` minus `own` is
    # ``top + second`` for the same cell, and less than top for any other.
    span = number(2 * none + 1)
    top = np.iinfo(number).max - span + number(1)
    own = (best % base) * span
    theirs = near + top
    ours = second + top + cell * span
    other = np.full_like(best, np.iinfo(best.dtype).max)
    for step in range(-margin, margin + 1):
        window = slice(margin + step, margin + step + rows)
        np.subtract(ours[window], own, out=candidate)
        np.maximum(candidate, theirs[window], out=candidate)
        candidate += cost[abs(step)]
        np.minimum(other, candidate, out=other)
    return nearest, other - top
