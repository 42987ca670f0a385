"""Data augmentation (Sec. 3.1): elastic deformation, rotation, shift, grey values.

"We generate smooth deformations using random displacement vectors on a coarse 3 by 3 grid. The
displacements are sampled from a Gaussian distribution with 10 pixels standard deviation. Per-pixel
displacements are then computed using bicubic interpolation."
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from .arrays import as_array
from .errors import InputError, check_choice

logger = logging.getLogger(__name__)

Interpolation = Literal["nearest", "linear"]
"""How grey values between the pixels of a frame are computed for training tiles."""

LARGEST = 2**53
"""Up to here float64, in which images are deformed, holds all integers."""


@dataclass(frozen=True)
class AugmentationConfig:
    """How training tiles are varied. The grid and its displacements are the paper's (Sec. 3.1).

    The paper mentions rotation and grey values without amounts; those are ours.
    """

    deformation_grid: int = 3
    """Nodes of the displacement grid along each axis."""
    deformation_sigma: float = 10.0
    """Standard deviation of the displacements in pixels; 0 switches the deformation off."""
    rotation: float = 180.0
    """Largest rotation in degrees, either way."""
    gain: float = 0.2
    """Largest relative change of contrast about the image's mean, from 0 to below 1."""
    offset: float = 0.2
    """Largest change of brightness, in standard deviations of the image."""
    interpolation: Interpolation = "nearest"
    """How images are interpolated: linear, as in the authors' later code, reduces the noise of
    training tiles (to 44 % of its variance), which images to predict still have in full."""


def check(config: AugmentationConfig) -> None:
    """Refuse invalid amounts."""
    if config.deformation_grid < 2:
        raise InputError(
            f"deformation_grid is {config.deformation_grid}: a grid has at least 2 nodes."
        )
    for name in ("deformation_sigma", "rotation", "gain", "offset"):
        if not 0 <= getattr(config, name) < math.inf:
            raise InputError(
                f"{name} is {getattr(config, name)}: it must be at least 0 and finite."
            )
    if config.gain >= 1:
        raise InputError(f"gain is {config.gain}: it must be below 1, or light and dark swap.")
    check_choice("interpolation", config.interpolation, get_args(Interpolation))


class Variation(NamedTuple):
    """One random draw: what happens to one training tile."""

    displacement: NDArray[np.float64]
    """Displacement vectors (row, column) in pixels at the nodes, shape (2, nodes, nodes)."""
    rotation: float
    """Degrees."""
    gain: float
    """Factor of the grey values about their mean."""
    offset: float
    """Added to the grey values, in units of their standard deviation."""


def draw(config: AugmentationConfig, generator: np.random.Generator) -> Variation:
    """Draw one random variation.

    Parameters
    ----------
    config : AugmentationConfig
        The amounts.
    generator : numpy.random.Generator
        The only source of randomness.
    """
    nodes = (2, config.deformation_grid, config.deformation_grid)
    return Variation(
        displacement=generator.normal(scale=config.deformation_sigma, size=nodes),
        rotation=generator.uniform(-config.rotation, config.rotation),
        gain=1 + generator.uniform(-config.gain, config.gain),
        offset=generator.uniform(-config.offset, config.offset),
    )


def deform(
    arrays: Sequence[NDArray[Any]], displacement: ArrayLike, orders: Sequence[int]
) -> list[NDArray[Any]]:
    """Deform images, labels and weight maps with the same smooth field.

    Parameters
    ----------
    arrays : sequence of ndarray
        Arrays of the same shape (height, width).
    displacement : array_like
        Displacement vectors in pixels, (row, column) first, at the nodes of a coarse grid that
        spans the arrays from the first to the last pixel, shape (2, nodes, nodes). The paper draws
        them from a Gaussian with a standard deviation of 10 pixels on 3 x 3 nodes.
    orders : sequence of int
        Spline order for each array, 0 to 5: 0 (nearest) for labels, and in training by default for
        images and weights, too; 1 (linear) and 3 (cubic) smooth them.

    Returns
    -------
    list of ndarray
        Shapes and dtypes as in `arrays`; integers are rounded and must be within 2**53. Pixel x
        of the result is the input at x + displacement; beyond the edges the input is mirrored.

    Raises
    ------
    InputError
        If the arrays are not 2-D of one shape, integers are beyond 2**53, or `displacement` or
        `orders` is invalid.

    Notes
    -----
    The cubic spline passes through the nodes, so the displacements there keep their standard
    deviation; between 3 x 3 nodes it falls to 0.6 of it. Computed by elasticdeform or, where that
    cannot be imported, by an equivalent built on SciPy.
    """
    arrays = [as_array(array) for array in arrays]
    nodes = np.asarray(displacement, dtype=np.float64)
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise InputError(f"deform takes 2-D arrays of one shape, not {sorted(shapes)}.")
    if nodes.ndim != 3 or nodes.shape[0] != 2 or min(nodes.shape[1:]) < 2:
        raise InputError(
            f"displacement has the shape {nodes.shape}: give (2, nodes, nodes), at least 2 nodes."
        )
    if not np.isfinite(nodes).all():
        raise InputError("displacement holds NaN or infinity: give finite numbers.")
    if len(orders) != len(arrays) or not set(orders) <= set(range(6)):
        raise InputError(
            f"the orders are {list(orders)} for {len(arrays)} arrays: give one for each, 0 to 5."
        )
    integers = [array for array in arrays if array.dtype.kind in "iu"]
    if any(array.min(initial=0) < -LARGEST or array.max(initial=0) > LARGEST for array in integers):
        raise InputError("deform takes integers up to 2**53: renumber larger labels first.")
    # elasticdeform fills arrays one pixel high or wide with zeros.
    deformer = _deformer() if min(arrays[0].shape) > 1 else deform_with_scipy
    floats = [_as_float(array) for array in arrays]
    deformed = deformer(floats, nodes, list(orders))
    return [_as_type(new, array.dtype) for new, array in zip(deformed, arrays, strict=True)]


def _as_float(array: NDArray[Any]) -> NDArray[Any]:
    """Convert to float: both libraries store spline coefficients in the array's dtype."""
    return array.astype(np.float32 if array.dtype.itemsize < 4 else np.float64)


def _as_type(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind in "iu":  # a cubic spline may overshoot the range of the type
        array = np.rint(array).clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
    return array > 0.5 if dtype.kind == "b" else array.astype(dtype)


Deformer = Callable[[list[NDArray[Any]], NDArray[np.float64], list[int]], list[NDArray[Any]]]


@functools.cache
def _deformer() -> Deformer:
    try:
        import elasticdeform
    except ImportError as error:
        logger.warning("elasticdeform cannot be imported (%s): deforming with SciPy.", error)
        return deform_with_scipy
    return functools.partial(elasticdeform.deform_grid, mode="mirror")


def deform_with_scipy(
    arrays: list[NDArray[Any]], displacement: NDArray[np.float64], orders: list[int]
) -> list[NDArray[Any]]:
    """Do the same as elasticdeform, with SciPy alone."""
    shape = arrays[0].shape
    coordinates = np.indices(shape, dtype=np.float64) + displacement_field(displacement, shape)
    return [
        ndimage.map_coordinates(array, coordinates, order=order, mode="mirror")
        for array, order in zip(arrays, orders, strict=True)
    ]


def displacement_field(
    displacement: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Displacement of every pixel, interpolated bicubically from the nodes.

    Parameters
    ----------
    displacement : ndarray
        Vectors at the nodes, shape (2, nodes, nodes).
    shape : (int, int)
        Height and width that the grid of nodes spans.

    Returns
    -------
    ndarray
        Shape (2, height, width), in pixels.

    Notes
    -----
    Cubic splines are separable and linear in the values at the nodes, so the field is a product of
    two small matrices and the nodes. The large product avoids BLAS, whose threads would keep
    spinning afterwards on the cores that train the network.
    """
    down = _spline_basis(displacement.shape[1], shape[0])
    across = np.ascontiguousarray(_spline_basis(displacement.shape[2], shape[1]).T)
    return np.einsum("cyn,nx->cyx", down @ displacement, across)


@functools.lru_cache(maxsize=16)
def _spline_basis(nodes: int, size: int) -> NDArray[np.float64]:
    """Weight of equidistant nodes in the pixels between them, shape (size, nodes)."""
    positions = np.linspace(0, nodes - 1, size)
    return np.stack(
        [
            ndimage.map_coordinates(one, [positions], order=3, mode="mirror")
            for one in np.eye(nodes)
        ],
        axis=1,
    )


def tile_coordinates(
    variation: Variation, centre: tuple[float, float], size: int
) -> NDArray[np.float64]:
    """Compute where in the image the pixels of a varied square tile lie.

    Parameters
    ----------
    variation : Variation
        The rotation, and the displacements at nodes that span the tile.
    centre : (float, float)
        Row and column of the tile's centre in the image.
    size : int
        Height and width of the tile in pixels.

    Returns
    -------
    ndarray
        Rows and columns of the image, shape (2, size, size).
    """
    field = displacement_field(variation.displacement, (size, size))
    offsets = np.arange(size) - (size - 1) / 2
    angle = math.radians(variation.rotation)
    cosine, sine = math.cos(angle), math.sin(angle)
    down, across = offsets[:, None], offsets[None, :]
    field[0] += cosine * down - sine * across + centre[0]
    field[1] += sine * down + cosine * across + centre[1]
    return field
