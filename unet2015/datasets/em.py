"""The electron micrographs of the ISBI 2012 challenge: stacks of membranes and cells."""

from __future__ import annotations

from pathlib import Path

from scipy import ndimage

from ..errors import InputError
from ..images import read_image
from .frames import AnnotatedFrame, annotated_frame

IMAGES = "train-volume.tif"
LABELS = "train-labels.tif"


def is_challenge(data: Path) -> bool:
    """Whether a folder holds the training stack of the challenge."""
    return (data / IMAGES).is_file()


def load_slices(data: Path | str) -> list[AnnotatedFrame]:
    """Read the 30 annotated slices of the challenge.

    Parameters
    ----------
    data : Path or str
        Folder with ``train-volume.tif`` and ``train-labels.tif``; in the latter 0 is membrane.

    Returns
    -------
    list of AnnotatedFrame
        Each 4-connected component between membranes is a cell.

    Raises
    ------
    InputError
        If a file is missing or unreadable, or their shapes differ.
    """
    data = Path(data)
    images, masks = (read_image(data / name) for name in (IMAGES, LABELS))
    if images.shape != masks.shape or images.ndim != 3:
        raise InputError(
            f"{data / IMAGES} has the shape {images.shape} and {data / LABELS} {masks.shape}: "
            "give two stacks (slices, height, width) of the same size."
        )
    return [
        annotated_frame(image, ndimage.label(mask > 0)[0], f"{data.name}/{number:02}")
        for number, (image, mask) in enumerate(zip(images, masks, strict=True))
    ]
