"""The pixel weights w(x) of Eq. 2 and Fig. 3: class balance plus a border term between cells.

For an image larger than memory, cut ridges of one pixel with `separate_touching` in bands, then
compute the weights region by region, each with a margin of `halo`.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import as_array, as_labels
from ..errors import InputError
from .classes import ignored_pixels, resolve_class_weights
from .ridge import separate_touching
from .twonearest import distance_sums, margin

logger = logging.getLogger(__name__)

TOLERANCE = 0.995e-5
"""Border terms below this fraction of w0 may be left out; with rounding, that is within 1e-5."""


@dataclass(frozen=True)
class WeightMapConfig:
    """Parameters of the weight map (Sec. 3, Eq. 2)."""

    w0: float = 10.0
    """Height of the border term, at least 0 (Sec. 3: "we set w0 = 10")."""

    sigma: float = 5.0
    """Width of the border term in pixels, above 0 (Sec. 3: "and sigma about 5 pixels")."""


def border_weight_map(
    labels: ArrayLike,
    w0: float = WeightMapConfig.w0,
    sigma: float = WeightMapConfig.sigma,
    *,
    class_weights: Literal["balanced", "freiburg"] | tuple[float, float] | None = "balanced",
    ignore: NDArray[np.bool_] | int | None = None,
    ridge: int = 1,
    spacing: tuple[float, float] | None = None,
) -> NDArray[np.float32]:
    r"""Compute the weight of each pixel in the loss, Eq. 2 of the paper.

    Parameters
    ----------
    labels : array of int, shape (..., H, W)
        0 is background, each other value a cell, in one piece or several. Bool is one cell; floats
        must hold whole numbers. Leading axes are handled plane by plane; a last axis of 3 or 4, as
        in a colour image, is refused.
    w0 : float
        Height of the border term, at least 0.
    sigma : float
        Width of the border term in pixels, or in the unit of `spacing`.
    class_weights : "balanced", "freiburg", (foreground, background) or None
        w_c: `balanced_class_weights` of `labels` as a whole; 1 and 0.1; a pair, which images of one
        data set should share; or the border term alone.
    ignore : array of bool, shape of `labels`, or int, optional
        Pixels that get weight 0 and count for no class. A mask leaves the cells under it in place;
        an int is a value in `labels` that is not a cell.
    ridge : int
        Width of the ridges that `separate_touching` cuts between touching cells first, odd, or 0 to
        cut none. The loss must then use the target ``separate_touching(labels, ridge) > 0``.
    spacing : (float, float), optional
        Height and width of a pixel, in the unit of `sigma`; by default both 1.

    Returns
    -------
    array of float32, shape of `labels`

    Raises
    ------
    InputError
        If `labels` is not a label image or a parameter is out of range.

    Notes
    -----
    .. math:: w(x) = w_c(x) + w_0 \exp\left(-\frac{(d_1(x) + d_2(x))^2}{2\sigma^2}\right)

    with d1 and d2 the Euclidean distances from x to the nearest pixel of the nearest and of the
    second nearest cell, between pixel centres: a ridge pixel between two cells has d1 = d2 = 1. The
    border term applies to background only, ridges included, and is 0 in a plane with fewer than two
    cells. Far from the second cell, where it is below ``1e-5 * w0``, it is set to 0, so that cost
    grows with the number of pixels and with sigma, not with the number of cells.

    References
    ----------
    Ronneberger, Fischer, Brox: U-Net (2015), Sec. 3, Eq. 2.

    Examples
    --------
    >>> border_weight_map([[1, 0, 2]], class_weights=None).round(3)
    array([[0.   , 9.231, 0.   ]], dtype=float32)
    """
    labels = as_array(labels)
    if labels.dtype == bool:
        _warn_of_mask()
    ignored = None if ignore is None else ignored_pixels(labels, ignore)
    cells = as_labels(labels, ignore if isinstance(ignore, (int, np.integer)) else None)
    check_config(WeightMapConfig(w0, sigma))
    pixel = _check_spacing(spacing)
    if ridge != 0:  # saves a copy
        cells = separate_touching(cells, ridge)
    foreground, background = resolve_class_weights(class_weights, cells, ignored)
    weights = np.where(cells != 0, np.float32(foreground), np.float32(background))
    for index in np.ndindex(cells.shape[:-2]):
        for tile, distance in distance_sums(cells[index], _reach(sigma), pixel):
            term = np.float32(w0) * np.exp((distance / np.float32(sigma)) ** 2 / np.float32(-2))
            term[cells[index][tile] != 0] = 0
            weights[index][tile] += term
    if ignored is not None:
        weights[ignored] = 0
    return weights


def halo(
    sigma: float = WeightMapConfig.sigma, spacing: tuple[float, float] | None = None
) -> tuple[int, int]:
    """Return how far, in rows and columns, a cell can change the weights around it.

    The weights of a region of an image are exact if computed on the region grown by this much on
    each side, after applying `separate_touching` to the whole image.

    Parameters
    ----------
    sigma, spacing
        As in `border_weight_map`.

    Returns
    -------
    (rows, columns) : tuple of int
        In pixels.
    """
    check_config(WeightMapConfig(sigma=sigma))
    return margin(_reach(sigma), _check_spacing(spacing))


@cache
def _warn_of_mask() -> None:
    """Warn only once, not for each image of a data set."""
    logger.warning(
        "a boolean mask counts as one cell, so there is no border term: label its cells first, "
        "for example with `label_cells`."
    )


def check_config(config: WeightMapConfig) -> None:
    """Refuse invalid parameters of a weight map."""
    if not 0 <= config.w0 <= float(np.finfo(np.float32).max):
        raise InputError(
            f"w0 is {config.w0}: it must be at least 0 and fit into float32, such as the paper's "
            "10."
        )
    if not 0 < config.sigma < math.inf:
        raise InputError(
            f"sigma is {config.sigma}: it must be finite and above 0, such as the paper's 5."
        )


def _check_spacing(spacing: tuple[float, float] | None) -> tuple[float, float]:
    if spacing is None:
        return 1.0, 1.0
    sizes = np.asarray(spacing)
    if sizes.shape != (2,) or not (np.isfinite(sizes) & (sizes > 0)).all():
        raise InputError(f"spacing is {spacing}: it must be two numbers above 0, rows and columns.")
    return float(sizes[0]), float(sizes[1])


def _reach(sigma: float) -> float:
    """Return the d1 + d2 beyond which the border term is below TOLERANCE * w0."""
    return sigma * math.sqrt(-2 * math.log(TOLERANCE))
