"""The warping error: what no deformation of the reference's borders can explain."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ..errors import InputError

FOUR = ndimage.generate_binary_structure(2, 1)
EIGHT = ndimage.generate_binary_structure(2, 2)

# The neighbours of a pixel in the order of the bits of its code: a ring, starting at the upper
# left; the odd positions of the ring share an edge with the pixel.
RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


class WarpingError(NamedTuple):
    """The warping error of one image; each number is a share of its pixels.

    Attributes
    ----------
    error : float
        Pixels that still differ after warping: the definition of Jain et al.
    split, merged : float
        Those of them where the result splits a cell, or merges two cells.
    """

    error: float
    split: float
    merged: float

    @property
    def splits_and_mergers(self) -> float:
        """The leaderboard's warping error, which counts no holes and no lone objects.

        Mind that a result of membrane alone splits and merges nothing and has none.
        """
        return self.split + self.merged


def warping_error(reference: ArrayLike, segmented: ArrayLike) -> WarpingError:
    """Compare two images of cells and membranes up to where exactly their borders run.

    Parameters
    ----------
    reference, segmented : bool array (H, W)
        True inside cells, False on membranes.

    Returns
    -------
    WarpingError

    Notes
    -----
    The reference is warped towards the result as far as its topology allows (`warp`); the error is
    the share of pixels that still differ [1]_. The ISBI challenge of 2012 counted only those of
    them that split or merge cells ("minimum splits and mergers warping error"): a remaining cell
    pixel splits if turning it into membrane alone cuts its cell in two, a remaining membrane pixel
    merges if turning it into cell alone joins two cells. A broken membrane so costs the length of
    its gap, a false membrane across a cell its thickness. A displaced border costs nothing as long
    as it overlaps or touches where it should be, since only differing pixels are turned: a border
    one pixel wide may be displaced by one pixel, not by two.

    References
    ----------
    .. [1] Jain et al., "Boundary learning by optimization with topological constraints",
       CVPR 2010.

    Examples
    --------
    >>> reference = np.ones((3, 5), bool)
    >>> reference[:, 2] = False  # a membrane between two cells
    >>> shifted = np.roll(reference, 1, axis=1)
    >>> warping_error(reference, shifted).error
    0.0
    >>> broken = reference.copy()
    >>> broken[1, 2] = True
    >>> warping_error(reference, broken).merged * broken.size
    1.0
    """
    target = as_mask(segmented)
    warped = warp(reference, segmented)
    cut, joined = (np.argwhere(warped & ~target), np.argwhere(~warped & target))
    return WarpingError(
        (len(cut) + len(joined)) / target.size,
        float(_splitting(warped, cut).sum()) / target.size,
        float(_merging(warped, joined).sum()) / target.size,
    )


def warp(reference: ArrayLike, segmented: ArrayLike) -> NDArray[np.bool_]:
    """Turn simple points of the reference towards the result until no more can be turned.

    Parameters
    ----------
    reference, segmented : bool array (H, W)
        True inside cells, False on membranes.

    Returns
    -------
    bool array (H, W)
        As the reference in topology, as close to the result as turning one pixel at a time gets.

    Notes
    -----
    Cells are 4-connected, membranes 8-connected, and the image is surrounded by membrane, as in the
    challenge. Which of several end states is reached depends on the order in which points are
    turned. First membrane grows where it is missing, then it shrinks where it should not be, each
    until nothing moves. Of the orders that we tried, this leaves the least error where borders are
    displaced by several pixels; for blurred truth and blurred images they agree within 2 %, and so
    does the challenge's on predicted stacks, while single slices differ by up to 10 %.
    """
    start, target = as_mask(reference), as_mask(segmented)
    if start.shape != target.shape or start.ndim != 2:
        raise InputError(
            f"the reference has shape {start.shape} and the result {target.shape}: "
            "give two images (height, width) of the same size."
        )
    padded = np.pad(start, 1)
    state, goal = padded.ravel(), np.pad(target, 1).ravel()
    turned = True
    while turned:
        grew = _turn(state, np.flatnonzero(state & ~goal), padded.shape[1])
        shrank = _turn(state, np.flatnonzero(~state & goal), padded.shape[1])
        turned = grew or shrank
    return state.reshape(padded.shape)[1:-1, 1:-1]


def _turn(state: NDArray[np.bool_], points: NDArray[np.intp], width: int) -> bool:
    """Turn simple points among those given, in place, until none is left; tell if any was.

    In each round the four sets of every second pixel in every second row take turns. The pixels of
    one set do not touch, so turning them at once is turning them one by one.
    """
    offsets = [row * width + column for row, column in RING]
    before = points.size
    moved = True
    while moved:
        moved = False
        subset = 2 * (points // width % 2) + points % width % 2
        stay = np.ones(points.size, bool)
        for turn in range(4):
            chosen = np.flatnonzero(subset == turn)
            code = np.zeros(chosen.size, np.uint8)
            for bit, offset in enumerate(offsets):
                code |= state[points[chosen] + offset].astype(np.uint8) << np.uint8(bit)
            simple = chosen[simple_codes()[code]]
            state[points[simple]] ^= True
            stay[simple] = False
            moved = moved or simple.size > 0
        points = points[stay]
    return points.size < before


@cache
def simple_codes() -> NDArray[np.bool_]:
    """Tell for each of the 256 neighbourhoods whether its centre is a simple point.

    Returns
    -------
    bool array (256,)
        Indexed by the sum of ``2 ** k`` over the positions k of `RING` that are cell.

    Notes
    -----
    A point is simple if turning it changes neither the number of cells nor of membranes around it:
    among its 8 neighbours, exactly one 4-connected part of the cells shares an edge with it, and
    there is exactly one 8-connected part of membrane [1]_. It does not matter which of the two the
    point itself is.

    References
    ----------
    .. [1] Bertrand and Malandain, "A new characterization of three-dimensional simple points",
       Pattern Recognition Letters 15, 1994.
    """
    simple = np.zeros(256, bool)
    for code in range(256):
        cells, membrane = _neighbourhood(code)
        parts, _ = ndimage.label(cells, FOUR)
        touching = {int(parts[1 + row, 1 + column]) for row, column in RING[1::2]} - {0}
        simple[code] = len(touching) == 1 and ndimage.label(membrane, EIGHT)[1] == 1
    return simple


def _merging(warped: NDArray[np.bool_], points: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Tell which membrane pixels, rows of (row, column), share edges with at least two cells."""
    cells, _ = ndimage.label(np.pad(warped, 1), FOUR)
    return _distinct(_around(cells, points)[:, 1::2]) > 1


def _splitting(warped: NDArray[np.bool_], points: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Tell which cell pixels, rows of (row, column), hold their cell together.

    Where two parts of the membrane around a pixel belong to one and the same membrane, the pixel
    would close a ring of it, and cut off what is inside the ring. Two parts of different membranes
    it would only join.
    """
    membranes, _ = ndimage.label(np.pad(~warped, 1, constant_values=True), EIGHT)
    around = _around(membranes, points)
    code = (around == 0) @ (1 << np.arange(8))
    torn: NDArray[np.bool_] = _membrane_parts()[code] > _distinct(around)
    return torn


@cache
def _membrane_parts() -> NDArray[np.int64]:
    """Count the 8-connected parts of membrane in each of the 256 neighbourhoods."""
    return np.array([ndimage.label(_neighbourhood(code)[1], EIGHT)[1] for code in range(256)])


def _neighbourhood(code: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Draw the neighbours that are cell and those that are membrane, (3, 3) each."""
    cells, membrane = np.zeros((2, 3, 3), bool)
    for bit, (row, column) in enumerate(RING):
        (cells if code >> bit & 1 else membrane)[1 + row, 1 + column] = True
    return cells, membrane


def _around(padded: NDArray[np.int32], points: NDArray[np.intp]) -> NDArray[np.int32]:
    """Look up the labels around points of an image with one pixel of padding, (N, 8)."""
    ring = np.array(RING) + 1
    around: NDArray[np.int32] = padded[points[:, :1] + ring[:, 0], points[:, 1:] + ring[:, 1]]
    return around


def _distinct(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Count the different labels in each row, without 0."""
    ordered = np.sort(labels, axis=1)
    distinct: NDArray[np.int64] = np.count_nonzero(np.diff(ordered, axis=1, prepend=0), axis=1)
    return distinct


def as_mask(image: ArrayLike) -> NDArray[np.bool_]:
    """Refuse images that are not bool: whether 255 is cell or membrane is not for us to guess."""
    mask = np.asarray(image)
    if mask.dtype != bool:
        raise InputError(
            f"the image holds {mask.dtype} values: give True inside cells and False on membranes."
        )
    return mask
