"""How grey values become the network's input. The scheme is part of a model."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

Scheme = Literal["standard", "minmax", "range"]
"""``standard``: mean 0 and standard deviation 1 for each image and channel (our default: phase
contrast images use a few of the 256 grey levels, and with them scaled as in 2015 the network hardly
starts to learn). ``minmax``: darkest 0, brightest 1, for each image and channel, as in the authors'
later plugin. ``range``: integer type to [0, 1], floats as they are, as in the code released in
2015."""


class Statistics(NamedTuple):
    """What the schemes need to know of an image, for each channel."""

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
        offset = self.offset[:, None, None].astype(np.float32)
        factor = self.factor[:, None, None].astype(np.float32)
        return (image.astype(np.float32) - offset) * factor


def statistics(image: NDArray[Any]) -> Statistics:
    """Mean, standard deviation, least and greatest value of each channel.

    Parameters
    ----------
    image : ndarray
        Shape (channels, height, width), any real dtype.

    Raises
    ------
    InputError
        If a pixel is NaN or infinite.
    """
    flat = image.reshape(len(image), -1)
    with np.errstate(invalid="ignore"):  # infinities are answered below
        deviation = flat.std(axis=1, dtype=np.float64)
    found = Statistics(
        mean=flat.mean(axis=1, dtype=np.float64),
        deviation=deviation,
        least=flat.min(axis=1).astype(np.float64),
        greatest=flat.max(axis=1).astype(np.float64),
    )
    if not np.isfinite(found.mean).all():
        raise InputError(
            "the image has pixels that are NaN or infinite: replace them by numbers first."
        )
    return found


def fit(scheme: Scheme, found: Statistics, dtype: np.dtype[Any]) -> Affine:
    """Find the transformation that a scheme prescribes for an image.

    Parameters
    ----------
    scheme : {"standard", "minmax", "range"}
        See `Scheme`.
    found : Statistics
        Of the image, of all of it: tiles of one image must not differ.
    dtype : numpy.dtype
        Of the image as stored.
    """
    if scheme == "standard":
        return Affine(found.mean, _inverse(found.deviation))
    if scheme == "minmax":
        return Affine(found.least, _inverse(found.greatest - found.least))
    if scheme == "range":
        greatest = float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0
        return Affine(np.zeros_like(found.mean), np.full_like(found.mean, 1 / greatest))
    raise InputError(f"no normalisation {scheme!r}: choose one of {', '.join(get_args(Scheme))}.")


def normalise(image: NDArray[Any], scheme: Scheme) -> NDArray[np.float32]:
    """Normalise a whole image of shape (channels, height, width)."""
    return fit(scheme, statistics(image), image.dtype)(image)


def _inverse(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / spread, and 1 for a channel that is constant."""
    return 1 / np.where(spread > 0, spread, 1.0)
