"""Cells that touch, parted at their necks: more than the authors did, so a line of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

DEPTH = 7
"""A neck is narrower by more than these pixels, to either side, than the cells it joins. Chosen on
inner splits (README.md)."""


def part_at_necks(cells: NDArray[np.uint32], min_size: int) -> NDArray[np.uint32]:
    """Part cells by a watershed of the distance to what is not cell.

    Parameters
    ----------
    cells : ndarray of uint32
        Numbered cells, 0 for the background, shape (height, width).
    min_size : int
        Parts of fewer pixels become background.

    Returns
    -------
    ndarray of uint32
        Numbered anew.
    """
    distance = ndimage.distance_transform_edt(cells)
    # Whole plateaus, where `h_maxima` gives each highest pixel of one as a top of its own.
    lowered = reconstruction(np.maximum(distance - DEPTH, 0), distance)
    tops = local_maxima(lowered) & (cells > 0)
    without = ~np.isin(cells, cells[tops]) & (cells > 0)  # cells too slim to have a top stay whole
    parts = watershed(-distance, label(tops | without), mask=cells > 0, connectivity=2)
    kept = np.bincount(parts.ravel()) >= min_size
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0).astype(np.uint32)[parts]
