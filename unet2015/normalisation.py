"""Normalisation of the network's input. The scheme is part of a model."""

from __future__ import annotations

from functools import reduce
from itertools import product
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from .errors import ImageError, check_choice
from .tiles import Source

Scheme = Literal["standard", "minmax", "range"]
"""``standard``: mean 0 and standard deviation 1 for each image and channel (our default: phase
contrast images use few of the 256 grey levels, others the lowest of 65,536). ``minmax``: darkest 0,
brightest 1, for each image and channel, as in the authors' later plugin. ``range``: the
largest value of the integer type to 1, as in the code released in 2015; floats must be in [0, 1]
already."""


REGION = (1024, 4096)
"""Rows and columns in memory at once while the statistics of a file are gathered."""

SLACK = 0.001
"""How far floats may lie outside [0, 1], from rounding and interpolation."""


class Statistics(NamedTuple):
    """Number of pixels of an image, and statistics of its channels, shape (channels,) each."""

    pixels: int
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    least: NDArray[np.float64]
    greatest: NDArray[np.float64]


class Affine(NamedTuple):
    """``(image - offset) * factor``, shape (channels,) each."""

    offset: NDArray[np.float64]
    factor: NDArray[np.float64]

    def __call__(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise an image of shape (channels, height, width)."""
        # Round types more precise than float32 only after subtracting the offset.
        exact = np.result_type(image.dtype, np.float32)
        offset, factor = self.offset[:, None, None], self.factor[:, None, None]
        rounded = offset.astype(exact)
        pixels = image.astype(exact)
        pixels -= rounded
        pixels -= (offset - rounded).astype(exact)  # float32 lacks digits for a large offset
        pixels *= factor.astype(exact)
        return pixels.astype(np.float32, copy=False)


def statistics(image: NDArray[Any], name: str = "the image") -> Statistics:
    """Compute mean, standard deviation, least and greatest value of each channel.

    Parameters
    ----------
    image : ndarray
        Shape (channels, height, width), any real dtype.
    name : str
        For messages.

    Raises
    ------
    ImageError
        If a pixel is NaN or infinite.
    """
    flat = image.reshape(len(image), -1)
    with np.errstate(invalid="ignore", over="ignore"):  # infinities are reported below, or by `fit`
        mean = flat.mean(axis=1, dtype=np.float64)
        deviation = flat.std(axis=1, dtype=np.float64)
    stats = Statistics(
        pixels=flat.shape[1],
        mean=mean,
        deviation=deviation,
        least=flat.min(axis=1).astype(np.float64),
        greatest=flat.max(axis=1).astype(np.float64),
    )
    if not np.isfinite(mean).all():
        raise ImageError(
            f"{name} has pixels that are NaN or infinite: replace them with numbers first."
        )
    return stats


def gather_statistics(
    source: Source, region: tuple[int, int] = REGION, name: str = "the image"
) -> Statistics:
    """Statistics of an image of any size, read region by region, always in the same order.

    Parameters
    ----------
    source : Source
        The image.
    region : (int, int)
        Rows and columns to read at once.
    name : str
        For messages.

    Raises
    ------
    ImageError
        If a pixel is NaN or infinite.
    """
    _, height, width = source.shape
    rows = [slice(top, min(top + region[0], height)) for top in range(0, height, region[0])]
    columns = [slice(left, min(left + region[1], width)) for left in range(0, width, region[1])]
    return reduce(merge, (statistics(source.read(*at), name) for at in product(rows, columns)))


def merge(one: Statistics, other: Statistics) -> Statistics:
    """Combine the statistics of two sets of pixels.

    Notes
    -----
    Chan, Golub, LeVeque: "Algorithms for Computing the Sample Variance", 1983, Eq. 2.1. Unlike the
    difference of sums of squares, this loses no precision where the mean is large.
    """
    count = one.pixels + other.pixels
    share = other.pixels / count
    apart = other.mean - one.mean
    variance = (
        (1 - share) * one.deviation**2 + share * other.deviation**2 + share * (1 - share) * apart**2
    )
    return Statistics(
        pixels=count,
        mean=one.mean + share * apart,
        deviation=np.sqrt(variance),
        least=np.minimum(one.least, other.least),
        greatest=np.maximum(one.greatest, other.greatest),
    )


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # `_fits` finds what this makes
def fit(scheme: Scheme, stats: Statistics, dtype: np.dtype[Any], name: str = "the image") -> Affine:
    """Find the transformation that a scheme prescribes for an image.

    Parameters
    ----------
    scheme : {"standard", "minmax", "range"}
        See `Scheme`.
    stats : Statistics
        Of the whole image, so that all its tiles are normalised alike.
    dtype : numpy.dtype
        Of the image as stored.
    name : str
        For messages.

    Raises
    ------
    InputError
        If the scheme is unknown, float32 cannot hold the normalised values, or ``range`` gets
        floats outside [0, 1].
    """
    check(scheme)
    if scheme == "standard":
        affine = Affine(stats.mean, _inverse(stats.deviation, stats))
    elif scheme == "minmax":
        affine = Affine(stats.least, _inverse(stats.greatest - stats.least, stats))
    else:
        _check_range(stats, dtype, name)
        greatest = float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0
        affine = Affine(np.zeros_like(stats.mean), np.full_like(stats.mean, 1 / greatest))
    if not _fits(affine, stats, dtype):
        raise ImageError(
            f"{name} has grey values from {stats.least.min():g} to {stats.greatest.max():g}, too "
            "large or too close together to be normalised: scale them first."
        )
    return affine


def check(scheme: Scheme) -> None:
    """Refuse an unknown scheme."""
    check_choice("normalisation", scheme, get_args(Scheme))


def normalise(image: NDArray[Any], scheme: Scheme, name: str = "the image") -> NDArray[np.float32]:
    """Normalise a whole image of shape (channels, height, width); `name` is for messages."""
    return fit(scheme, statistics(image, name), image.dtype, name)(image)


def _check_range(stats: Statistics, dtype: np.dtype[Any], name: str) -> None:
    """Refuse floats outside [0, 1]."""
    least, greatest = stats.least.min(), stats.greatest.max()
    if np.issubdtype(dtype, np.floating) and not -SLACK <= least <= greatest <= 1 + SLACK:
        raise ImageError(
            f"{name} holds {dtype} values from {least:g} to {greatest:g}: the normalisation "
            "'range' takes floats from 0 to 1, so scale them, or choose another."
        )


def _fits(affine: Affine, stats: Statistics, dtype: np.dtype[Any]) -> bool:
    """Whether float32 can hold the normalised darkest and brightest pixels."""
    ends = np.stack([stats.least, stats.greatest], axis=1)[:, None].astype(dtype)
    return bool(np.isfinite(affine(ends)).all() and affine.factor.all())


def _inverse(spread: NDArray[np.float64], stats: Statistics) -> NDArray[np.float64]:
    """1 / spread, or 1 for constant channels, whose computed deviation need not be exactly 0.

    It is infinite where squares underflow, which `fit` refuses.
    """
    return 1 / np.where(stats.greatest > stats.least, spread, 1.0)
