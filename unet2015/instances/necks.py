"""Separation of touching cells at their necks: not part of the paper, so only on request.

A network that is unsure of the narrow background between two cells leaves a bridge there, and the
two become one component. A component is cut where it narrows and then widens again.
"""

from __future__ import annotations

import logging
import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from ..blockcache import BlockCache
from ..errors import InputError
from ..progress import Progress
from ..weightmap import separate_touching
from .components import EIGHT_NEIGHBOURS, as_mask
from .pieces import Components, Plane

LARGEST = 2**24
"""Pixels of a component's bounding box above which it stays whole: cutting takes about 100 bytes of
memory per pixel."""

logger = logging.getLogger(__name__)


def part_at_necks(foreground: NDArray[np.bool_], depth: float) -> NDArray[np.bool_]:
    """Separate cells that a narrow neck joins into one 8-connected component.

    This is a watershed of the distance to the background; `label_cells` numbers the parts. A cell
    counts as narrow beside a hole, so even holes of one pixel may cut it: fill holes first
    (`scipy.ndimage.binary_fill_holes`), unless they are gaps between cells.

    Parameters
    ----------
    foreground : ndarray of bool
        Shape (height, width).
    depth : float
        A neck is cut if its half-width is more than this many pixels below that of each cell that
        it joins. 5 to 10 suit cells about 60 to 100 pixels wide, like those of the paper.

    Returns
    -------
    ndarray of bool
        `foreground` without lines through the necks, one pixel wide.

    Raises
    ------
    InputError
        If `depth` is negative or not finite, or the mask is invalid, see `label_cells`.

    Examples
    --------
    >>> from unet2015 import label_cells
    >>> disc = np.hypot(*np.ogrid[-10:11, -10:11]) <= 10
    >>> pair = np.pad(np.hstack([disc[:, :-2], disc[:, 2:]]), 1)
    >>> int(label_cells(pair).max()), int(label_cells(part_at_necks(pair, 3)).max())
    (1, 2)
    """
    check_depth(depth)
    parted, too_large = as_mask(foreground).copy(), 0
    components, count = ndimage.label(parted, EIGHT_NEIGHBOURS)
    found = ndimage.find_objects(components) if count else []
    for number, (rows, columns) in enumerate(found, 1):
        around = _with_margin((rows.start, columns.start, rows.stop, columns.stop), parted.shape)
        if around is None:
            too_large += 1
        else:
            parted[around][_necks(components[around] == number, depth)] = False
    _warn_of(too_large)
    return parted


def part_plane(foreground: Plane, depth: float, min_size: int, block: tuple[int, int]) -> Plane:
    """Do the same as `part_at_necks` for a plane that does not fit in memory.

    Parameters
    ----------
    foreground : Plane
        Bool. It is read three times, and again whenever the result is read.
    depth : float
        As for `part_at_necks`.
    min_size : int
        Components of fewer pixels are left as they are.
    block : (int, int)
        Rows and columns that are labelled at once.

    Returns
    -------
    Plane
        Bool.
    """
    found = Components(foreground, 8, block)
    boxes = found.boxes()
    numbers = found.mapped(np.arange(1, len(boxes) + 1), BlockCache())
    large = np.flatnonzero(found.size >= min_size)
    by_block = np.lexsort((boxes[large, 1] // block[1], boxes[large, 0] // block[0]))
    cuts, too_large = [np.empty(0, np.int64)], 0
    for component in Progress(large[by_block], "separating", unit="cell", delay=1, leave=False):
        around = _with_margin(boxes[component], foreground.shape)
        if around is None:
            too_large += 1
            continue
        row, column = np.nonzero(_necks(numbers.read(*around) == component + 1, depth))
        if row.size:
            row, column = row + around[0].start, column + around[1].start
            cuts.append(row * foreground.shape[1] + column)
    _warn_of(too_large)
    return _without(foreground, np.sort(np.concatenate(cuts)))


def check_depth(depth: float) -> None:
    """Refuse a depth that is negative or not finite."""
    if not 0 <= depth < math.inf:
        raise InputError(
            f"the depth of a neck is {depth}: it must be finite, and at least 0 pixels."
        )


def _necks(cell: NDArray[np.bool_], depth: float) -> NDArray[np.bool_]:
    """Find the lines that cut a component, which reaches an edge only where the image ends."""
    distance = ndimage.distance_transform_edt(cell)
    if distance.max() <= depth:
        return np.zeros(cell.shape, bool)
    # Keeps plateaus whole; `h_maxima` would make each of their highest pixels a separate top.
    lowered = reconstruction(np.maximum(distance - depth, 0), distance)
    tops, count = ndimage.label(local_maxima(lowered) & cell, EIGHT_NEIGHBOURS)
    if count < 2:
        return np.zeros(cell.shape, bool)
    parts = watershed(-distance, tops, mask=cell, connectivity=2)
    pieces, count = ndimage.label(separate_touching(parts), EIGHT_NEIGHBOURS)
    # A cut may split a few pixels off a part: they are removed, and the widest piece stays.
    part = ndimage.maximum(parts, pieces, range(1, count + 1))
    width = ndimage.maximum(distance, pieces, range(1, count + 1))
    by_width = np.lexsort((np.bincount(pieces.ravel())[1:], width, part))
    widest = by_width[np.append(np.diff(part[by_width]) > 0, True)] + 1
    return cell & ~np.isin(pieces, widest)


def _with_margin(
    box: NDArray[np.int64] | tuple[int, ...], shape: tuple[int, ...]
) -> tuple[slice, slice] | None:
    """Slices of a box (top, left, bottom, right) and one pixel around it, None if too large."""
    top, left, bottom, right = (int(side) for side in box)
    if (bottom - top) * (right - left) > LARGEST:
        return None
    return (
        slice(max(top - 1, 0), min(bottom + 1, shape[0])),
        slice(max(left - 1, 0), min(right + 1, shape[1])),
    )


def _warn_of(too_large: int) -> None:
    if too_large:
        logger.warning("cells in boxes of more than %d pixels stay whole: %d.", LARGEST, too_large)


def _without(mask: Plane, cuts: NDArray[np.int64]) -> Plane:
    """Plane with some pixels set to False, given by their flat indices, ascending."""
    width = mask.shape[1]

    def read(rows: slice, columns: slice) -> NDArray[np.bool_]:
        region = np.array(mask.read(rows, columns))
        first, last = np.searchsorted(cuts, (rows.start * width, rows.stop * width))
        row, column = np.divmod(cuts[first:last], width)
        inside = (columns.start <= column) & (column < columns.stop)
        region[row[inside] - rows.start, column[inside] - columns.start] = False
        return region

    return Plane(mask.shape, read)
