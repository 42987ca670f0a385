"""Arrays and label images from callers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError


def as_array(values: ArrayLike) -> NDArray[Any]:
    """Convert to an array as ``np.asarray`` does, but refuse to lose a mask.

    Raises
    ------
    InputError
        If pixels of a ``np.ma.MaskedArray``, or of one in a list, are masked.
    """
    parts = values if isinstance(values, list | tuple) else [values]
    if any(map(np.ma.is_masked, parts)):
        raise InputError(
            "the array is masked, which is not supported: replace the masked pixels with "
            "array.filled(value); border_weight_map and annotated_frame take the mask as ignore."
        )
    return np.asarray(values)


def as_labels(labels: ArrayLike, ignore: int | None = None) -> NDArray[Any]:
    """Check that an array is a label image and return it as integers.

    Parameters
    ----------
    labels : array, shape (..., H, W)
    ignore : int, optional
        A value that is not a cell; it is replaced by 0.

    Returns
    -------
    array of int, the same shape
        `labels` itself if nothing had to be converted.

    Raises
    ------
    InputError
        If `labels` holds anything but non-negative whole numbers, has fewer than two axes, or looks
        like a colour image.
    """
    array = as_array(labels)
    rule = "labels must be whole numbers, 0 for background and one number for each cell"
    if array.ndim < 2:
        raise InputError(f"labels of shape {array.shape} are not an image: give height and width.")
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
        if (array != np.rint(array)).any():
            raise InputError(
                f"labels hold fractions: {rule}; if these are probabilities, number the cells "
                "first, as `unet2015 predict --labels` does."
            )
        if float(np.abs(array).max(initial=0)) >= 2**63:
            raise InputError(f"labels hold numbers above 2**63: {rule}.")
        array = array.astype(np.int64)
    elif array.dtype.kind not in "iu":
        raise InputError(f"labels are of type {array.dtype}: {rule}.")
    if ignore is not None and (array == ignore).any():
        array = np.where(array == ignore, array.dtype.type(0), array)
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        raise InputError(
            f"labels hold the negative value {array.min()}: {rule}; to leave such pixels out of a "
            "weight map, pass the value as `ignore` (--ignore), elsewhere set them to 0."
        )
    return array
