"""The pixel weights w(x) of Eq. 2 and Fig. 3: class balance plus a border term between cells.

For an image that does not fit in memory, cut the ridges with `separate_touching` in bands of rows,
then compute the weights region by region, each region with a margin of `halo`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from .ridge import cut_ridge
from .twonearest import distance_sums, margin

logger = logging.getLogger(__name__)

TOLERANCE = 0.995e-5
"""Border terms below this fraction of w0 may be left out; with rounding, that is within 1e-5."""


@dataclass(frozen=True)
class WeightMapConfig:
    """The numbers of the weight map, Sec. 3, Eq. 2."""

    w0: float = 10.0
    """Height of the border term (Sec. 3: "we set w0 = 10")."""

    sigma: float = 5.0
    """Its width in pixels (Sec. 3: "and sigma about 5 pixels")."""


class ClassWeights(NamedTuple):
    """The two values of w_c."""

    foreground: float
    background: float


class ClassCounts(NamedTuple):
    """How many pixels of a data set are foreground and background; ignored ones are neither."""

    foreground: int
    background: int


FREIBURG = ClassWeights(foreground=1.0, background=0.1)
"""The class weights of the authors' later U-Net plugin (Falk et al., Nature Methods 2019)."""


def count_classes(target: ArrayLike, ignore: NDArray[np.bool_] | int | None = None) -> ClassCounts:
    """Count the foreground (non-zero) and background (zero) pixels of a target.

    Parameters
    ----------
    target : array of int or bool, any shape
        The target of the loss, so with the ridge of `separate_touching` already background.
    ignore : array of bool of the same shape, or int, optional
        The pixels, or the value of the pixels, to leave out.

    Returns
    -------
    ClassCounts
    """
    target = np.asarray(target)
    if ignore is None:
        inside = int(np.count_nonzero(target))
        return ClassCounts(inside, target.size - inside)
    valid = ~_ignored(target, ignore)
    inside = int(np.count_nonzero((target != 0) & valid))
    return ClassCounts(inside, int(np.count_nonzero(valid)) - inside)


def balanced_class_weights(
    targets: ClassCounts | Iterable[ArrayLike], ignore: int | None = None
) -> ClassWeights:
    """Weigh each class by its inverse frequency, with mean weight 1 over the data set.

    Parameters
    ----------
    targets : ClassCounts, or iterable of arrays of int or bool
        The pixels of each class in the whole data set, or its targets (non-zero is foreground).
    ignore : int, optional
        The value of pixels to leave out. For a mask, give `count_classes` the mask and add up.

    Returns
    -------
    ClassWeights
        ``pixels / (2 * pixels of the class)``. A class that does not occur gets weight 1, and so
        does the other one then.

    Notes
    -----
    The paper says that w_c balances the class frequencies (Sec. 3) and gives no formula.
    """
    if isinstance(targets, ClassCounts):
        foreground, background = targets
    else:
        foreground = background = 0
        for target in targets:
            counts = count_classes(target, ignore)
            foreground += counts.foreground
            background += counts.background
    if foreground == 0 or background == 0:
        return ClassWeights(1.0, 1.0)
    half = (foreground + background) / 2
    return ClassWeights(half / foreground, half / background)


def separate_touching(labels: ArrayLike) -> NDArray[Any]:
    """Cut a one-pixel ridge of background between touching cells.

    In raster order, a pixel becomes background if one of its four 8-neighbours that were visited
    before it (W, NW, N, NE) belongs to another cell, as that neighbour stands after its own visit.
    So the cut is one pixel wide, and no two cells are 8-connected afterwards.

    Parameters
    ----------
    labels : array of int, shape (..., H, W)
        0 is background, each other value a cell. Leading axes are handled plane by plane.

    Returns
    -------
    array of the same shape and dtype
        Float labels come back as int64.

    Raises
    ------
    InputError
        If `labels` is no label image.

    Notes
    -----
    A second cut changes nothing, and a row depends on nothing above the row before it. So an image
    can be cut in bands of full rows, each with the last row of the band before, after its cut, on
    top: the result is the same as in one piece.
    """
    separated = as_labels(labels).copy()
    for index in np.ndindex(separated.shape[:-2]):
        cut_ridge(separated[index])
    return separated


def halo(
    sigma: float = WeightMapConfig.sigma, spacing: tuple[float, float] | None = None
) -> tuple[int, int]:
    """Return how far, in rows and columns, a cell can change the weights around it.

    The weights of a region of an image are exact if they are computed on the region grown by this
    much on each side, after `separate_touching` was done on the whole.

    Parameters
    ----------
    sigma, spacing
        As in `border_weight_map`.

    Returns
    -------
    (rows, columns) : tuple of int
        In pixels.
    """
    return margin(_reach(_check_sigma(sigma)), _check_spacing(spacing))


def border_weight_map(
    labels: ArrayLike,
    w0: float = WeightMapConfig.w0,
    sigma: float = WeightMapConfig.sigma,
    class_weights: Literal["balanced", "freiburg"] | tuple[float, float] | None = "balanced",
    ignore: NDArray[np.bool_] | int | None = None,
    separate: bool = True,
    spacing: tuple[float, float] | None = None,
) -> NDArray[np.float32]:
    r"""Compute the weight of each pixel in the loss, Eq. 2 of the paper.

    Parameters
    ----------
    labels : array of int, shape (..., H, W)
        0 is background, each other value a cell, in one piece or several. Bool is one cell; floats
        must hold whole numbers. Leading axes are handled plane by plane.
    w0 : float
        Height of the border term, at least 0.
    sigma : float
        Width of the border term in pixels, or in the unit of `spacing`.
    class_weights : "balanced", "freiburg", (foreground, background) or None
        w_c: `balanced_class_weights` of `labels` as a whole; 1 and 0.1; your own pair, which is
        what several images of one data set should share; or the border term alone.
    ignore : array of bool, shape of `labels`, or int, optional
        Pixels that get weight 0 and count for no class. A mask leaves the cells under it in place;
        an int is a value in `labels` that is no cell.
    separate : bool
        Cut touching cells with `separate_touching` first. The loss must then have the target
        ``separate_touching(labels) > 0``.
    spacing : (float, float), optional
        Height and width of a pixel, in the unit of `sigma`; by default both 1.

    Returns
    -------
    array of float32, shape of `labels`

    Raises
    ------
    InputError
        If `labels` is no label image or a number is out of its range.

    Notes
    -----
    .. math:: w(x) = w_c(x) + w_0 \exp\left(-\frac{(d_1(x) + d_2(x))^2}{2\sigma^2}\right)

    with d1 and d2 the Euclidean distances from x to the nearest pixel of the nearest and of the
    second nearest cell, between pixel centres: a ridge pixel between two cells has d1 = d2 = 1.
    The border term is there on background only, the ridge included, and 0 in a plane with fewer
    than two cells. Far from the second cell, where it is below ``1e-5 * w0``, it is set to 0: so
    cost grows with the number of pixels and with sigma, not with the number of cells.

    References
    ----------
    Ronneberger, Fischer, Brox: U-Net (2015), Sec. 3, Eq. 2.

    Examples
    --------
    >>> border_weight_map([[1, 0, 2]], class_weights=None).round(3)
    array([[0.   , 9.231, 0.   ]], dtype=float32)
    """
    labels = np.asarray(labels)
    ignored = None if ignore is None else _ignored(labels, ignore)
    cells = as_labels(labels, ignore if isinstance(ignore, (int, np.integer)) else None)
    if not (math.isfinite(w0) and w0 >= 0):
        raise InputError(
            f"w0 is {w0}: it must be a finite number of at least 0, as the paper's 10."
        )
    _check_sigma(sigma)
    pixel = _check_spacing(spacing)
    if separate:
        cells = separate_touching(cells)
    foreground, background = _resolve(class_weights, cells, ignored)
    weights = np.where(cells != 0, np.float32(foreground), np.float32(background))
    for index in np.ndindex(cells.shape[:-2]):
        for tile, distance in distance_sums(cells[index], _reach(sigma), pixel):
            term = np.float32(w0) * np.exp((distance / np.float32(sigma)) ** 2 / np.float32(-2))
            term[cells[index][tile] != 0] = 0
            weights[index][tile] += term
    if ignored is not None:
        weights[ignored] = 0
    return weights


def as_labels(labels: ArrayLike, ignore: int | None = None) -> NDArray[Any]:
    """Check that an array is a label image and return it as integers.

    Parameters
    ----------
    labels : array, shape (..., H, W)
    ignore : int, optional
        A value that is no cell; it is replaced by 0.

    Returns
    -------
    array of int, the same shape
        `labels` itself if nothing had to be converted.

    Raises
    ------
    InputError
        For anything but whole, non-negative numbers in planes.
    """
    array = np.asarray(labels)
    rule = "labels must be whole numbers, 0 for background and one number for each cell"
    if array.ndim < 2:
        raise InputError(f"labels of shape {array.shape} are no image: give height and width.")
    if array.ndim > 2 and array.shape[-1] in (3, 4):
        raise InputError(
            f"labels of shape {array.shape} look like a colour picture: give one number for each "
            "pixel, in a 2-D label image or a stack (..., H, W) of them."
        )
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    elif array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise InputError(f"labels hold NaN or infinity: {rule}.")
        if (array != np.rint(array)).any() or float(np.abs(array).max(initial=0)) >= 2**63:
            raise InputError(f"labels hold fractions, or numbers above 2**63: {rule}.")
        array = array.astype(np.int64)
    elif array.dtype.kind not in "iu":
        raise InputError(f"labels are of type {array.dtype}: {rule}.")
    if ignore is not None and (array == ignore).any():
        array = np.where(array == ignore, array.dtype.type(0), array)
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        raise InputError(
            f"labels hold the negative value {array.min()}: {rule}; "
            "if it marks pixels to leave out, name it as the value to ignore."
        )
    return array


def _ignored(labels: NDArray[Any], ignore: NDArray[np.bool_] | int) -> NDArray[np.bool_]:
    if isinstance(ignore, (int, np.integer)):
        return np.asarray(labels == ignore)
    mask = np.asarray(ignore)
    if mask.shape != labels.shape or mask.dtype != np.bool_:
        raise InputError(
            f"ignore is an array of {mask.dtype} of shape {mask.shape}: give a number, or a mask "
            f"of bool of the labels' shape {labels.shape}."
        )
    return mask


def _check_sigma(sigma: float) -> float:
    if not (math.isfinite(sigma) and sigma > 0):
        raise InputError(f"sigma is {sigma}: it must be a finite number above 0, as the paper's 5.")
    return sigma


def _check_spacing(spacing: tuple[float, float] | None) -> tuple[float, float]:
    if spacing is None:
        return 1.0, 1.0
    if len(spacing) != 2 or not all(math.isfinite(size) and size > 0 for size in spacing):
        raise InputError(f"spacing is {spacing}: it must be two numbers above 0, rows and columns.")
    return spacing


def _resolve(
    class_weights: str | tuple[float, float] | None,
    cells: NDArray[Any],
    ignored: NDArray[np.bool_] | None,
) -> ClassWeights:
    if class_weights is None:
        return ClassWeights(0.0, 0.0)
    if isinstance(class_weights, str):
        if class_weights == "balanced":
            pair = balanced_class_weights(count_classes(cells, ignored))
        elif class_weights == "freiburg":
            pair = FREIBURG
        else:
            raise InputError(
                f"class weights {class_weights!r} are unknown: use 'balanced', 'freiburg', "
                "a pair (foreground, background) or None."
            )
        logger.info("class weights (%s): foreground %.4g, background %.4g", class_weights, *pair)
        return pair
    if len(class_weights) != 2 or not all(math.isfinite(w) and w >= 0 for w in class_weights):
        raise InputError(
            f"class weights are {class_weights}: give two finite numbers of at least 0, for "
            "foreground and background."
        )
    return ClassWeights(*class_weights)


def _reach(sigma: float) -> float:
    """Return the d1 + d2 beyond which the border term is below TOLERANCE * w0."""
    return sigma * math.sqrt(-2 * math.log(TOLERANCE))
