"""Sequences of the Cell Tracking Challenge (CTC), http://celltrackingchallenge.net.

A data set folder holds, for sequence 01: the images ``01/tNNN.tif``; the gold truth
``01_GT/SEG/man_segNNN.tif``, cell masks of *some* cells in *some* frames; and the tracking markers
``01_GT/TRA/man_trackNNN.tif``, a small disc in *every* cell of every frame. The silver truth
``01_ST/SEG`` has computer-generated masks of every frame, which differ between releases.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import InputError, by
from ..labelfiles.ctcnames import numbered_images, sequence_frames
from ..labelfiles.labelimages import read_labels
from .checks import require_cells
from .frames import AnnotatedFrame, annotated_frame, cell_sizes, read_frame

REACH_OF_MISSING_CELL = 2.0
"""An unannotated cell is assumed to lie within this many typical radii of its marker."""


def load_sequence(data: Path | str, sequence: str, silver: bool = False) -> list[AnnotatedFrame]:
    """Read the frames of a sequence that have gold truth or, if requested, silver truth.

    Parameters
    ----------
    data : Path or str
        The folder of the data set, such as ``data/PhC-C2DH-U373``.
    sequence : str
        ``01`` or ``02``.
    silver : bool
        Whether frames without gold truth are read with their silver truth.

    Returns
    -------
    list of AnnotatedFrame
        Gold masks may be incomplete. A cell that has only a tracking marker must not be learned as
        background, so the surroundings of its marker are in `ignore`.

    Raises
    ------
    InputError
        If a folder or file is missing or unreadable, shapes differ, or no cell is annotated.
    """
    data = Path(data)
    truth = data / f"{sequence}_GT"
    mask_folders = [truth / "SEG", *([data / f"{sequence}_ST" / "SEG"] if silver else [])]
    for folder in (data, data / sequence, *mask_folders):
        if not folder.is_dir():
            raise InputError(
                f"{folder} does not exist: a CTC data set has folders such as 01 and 01_GT/SEG, "
                "and 01_ST/SEG for silver truth."
            )
    found: dict[int, Path] = {}
    for folder in reversed(mask_folders):  # gold masks replace silver ones
        found |= numbered_images(folder)
    if not found:
        raise InputError(f"{truth / 'SEG'} holds no man_segNNN.tif: add masks to learn from.")
    images = sequence_frames(data / sequence)
    markers = numbered_images(truth / "TRA") if (truth / "TRA").is_dir() else {}
    masks = {number: read_labels(found[number]) for number in sorted(found)}
    reach = REACH_OF_MISSING_CELL * _typical_radius(masks.values())
    frames = []
    for number, labels in masks.items():
        if number not in images:
            raise InputError(
                f"{data / sequence} holds no image t{number:03d}.tif for {found[number]}: add it, "
                "or remove the mask."
            )
        ignore = None
        if number in markers:
            tracked = read_labels(markers[number])
            if tracked.shape != labels.shape:
                raise InputError(
                    f"{markers[number]} is {by(tracked.shape)} and {found[number]} "
                    f"{by(labels.shape)} pixels: markers and masks must have the same size."
                )
            ignore = unannotated(labels, tracked, reach)
        name = f"{data.name}/{sequence}/{images[number].stem}"
        frames.append(annotated_frame(read_frame(images[number]), labels, name, ignore))
    require_cells(frames, truth / "SEG")
    return frames


def unannotated(labels: NDArray[Any], markers: NDArray[Any], reach: float) -> NDArray[np.bool_]:
    """Find the surroundings of cells that have a marker but no mask.

    Parameters
    ----------
    labels : ndarray
        Gold masks, shape (height, width).
    markers : ndarray
        Tracking markers of the same shape. Their numbers need not match those of the masks.
    reach : float
        How far such a cell may extend from its marker, in pixels.

    Returns
    -------
    ndarray of bool
        Background pixels within `reach` of a marker that masks cover by less than half.
    """
    names, which = np.unique(markers, return_inverse=True)
    size = np.bincount(which.ravel())
    covered = np.bincount(which.reshape(labels.shape)[labels > 0], minlength=len(size))
    missing = (2 * covered < size) & (names != 0)
    if not missing.any():
        return np.zeros(labels.shape, dtype=bool)
    far = ndimage.distance_transform_edt(~missing[which].reshape(labels.shape))
    return (far <= reach) & (labels == 0)


def _typical_radius(label_images: Iterable[NDArray[Any]]) -> float:
    """Radius in pixels of a disc with the median area of the cells, 0 if there are none."""
    areas = np.concatenate([cell_sizes(labels)[1] for labels in label_images])
    return float(np.sqrt(np.median(areas) / np.pi)) if len(areas) else 0.0
