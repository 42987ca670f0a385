"""From foreground to numbered cells, as plainly as the authors did it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ..arrays import as_array
from ..errors import InputError

SMALLEST = 0.25
"""Components smaller than this share of the smallest training cell are dropped. The authors
dropped small objects too; the share is ours."""
EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


def foreground(probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels whose most probable class is not the background.

    Parameters
    ----------
    probabilities : ndarray
        Shape (classes, height, width); class 0 is the background.

    Returns
    -------
    ndarray of bool
        Shape (height, width).
    """
    return probabilities[1:].max(axis=0) > probabilities[0]  # faster than argmax


def label_cells(
    foreground: NDArray[np.bool_], min_size: int = 0, fill_holes: bool = False
) -> NDArray[np.uint32]:
    """Number the 8-connected components, leaving out small ones.

    `stitching.number_cells` does the same for images that do not fit in memory.

    Parameters
    ----------
    foreground : ndarray of bool
        Shape (height, width); or integers, 0 and one other number, such as 255.
    min_size : int
        Components of fewer pixels become background.
    fill_holes : bool
        Whether enclosed background, not 4-connected to the image's edge, becomes foreground first.

    Returns
    -------
    ndarray of uint32
        0 for the background, 1..N for the cells in raster order of their first pixels.

    Raises
    ------
    InputError
        If the mask does not have two axes, or holds fractions, as probabilities do, or several
        numbers, as label images do.

    Examples
    --------
    >>> label_cells(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]], bool))
    array([[1, 0, 0],
           [0, 1, 0],
           [0, 0, 0],
           [0, 0, 2]], dtype=uint32)
    """
    foreground = as_mask(foreground)
    if fill_holes:
        foreground = ndimage.binary_fill_holes(foreground)
    components, _ = ndimage.label(foreground, structure=EIGHT_NEIGHBOURS)
    sizes = np.bincount(components.ravel(), minlength=1)
    kept = sizes >= min_size
    kept[0] = False
    numbers = np.where(kept, np.cumsum(kept), 0).astype(np.uint32)
    return numbers[components]


def as_mask(foreground: ArrayLike) -> NDArray[np.bool_]:
    """Check that an array is a plane, and return it as bool.

    Raises
    ------
    InputError
        If it does not have two axes, or holds fractions, NaN, or several numbers besides 0.
    """
    mask = as_array(foreground)
    if mask.ndim != 2:
        raise InputError(f"the mask has the shape {mask.shape}: give (height, width).")
    if mask.dtype.kind in "fc" and not (mask == np.rint(mask)).all():
        raise InputError(
            f"the mask holds {mask.dtype} values that are not integers: give a bool mask, such as "
            "probability > 0.5."
        )
    inside = mask[mask != 0] if mask.dtype != bool else mask[:0]
    if (inside != inside[:1]).any():
        raise InputError(
            f"the mask holds several numbers, such as {inside.min()} and {inside.max()}: if these "
            "number cells, they are labelled already, otherwise give mask > 0."
        )
    return mask.astype(bool, copy=False)
