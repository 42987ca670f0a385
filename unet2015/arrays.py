"""Arrays from callers."""

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
