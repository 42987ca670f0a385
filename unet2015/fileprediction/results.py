"""Turn probabilities into a probability image, a class map or numbered cells."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..atomic import sync
from ..images import Image, write_regions
from ..images.pyramid import Sliceable
from ..images.streaming import PIECE
from ..instances import foreground
from ..instances.pieces import Plane
from ..instances.stitching import number_cells

logger = logging.getLogger(__name__)

ProbabilityType = Literal["float32", "float16", "uint8"]


@dataclass(frozen=True)
class Result:
    """The result to make from the probabilities.

    Attributes
    ----------
    kind : {"probability", "classes", "labels"}
        Probability of foreground, number of the most probable class, or numbered cells.
    dtype : {"float32", "float16", "uint8"}
        Of the probability; uint8 means 0...255 for 0...1.
    min_size : int
        Cells with fewer pixels are dropped.
    fill_holes : bool
        Whether holes in cells are filled.
    neck_depth : float, optional
        Depth in pixels from which cells are parted at necks; by default they are not.
    """

    kind: Literal["probability", "classes", "labels"] = "probability"
    dtype: ProbabilityType = "float32"
    min_size: int = 0
    fill_holes: bool = False
    neck_depth: float | None = None

    @property
    def stored(self) -> np.dtype[Any]:
        """Type of the pixels kept until the result is written."""
        return np.dtype(self.dtype if self.kind == "probability" else np.uint8)

    def encode(self, probabilities: NDArray[np.float32]) -> NDArray[Any]:
        """Reduce probabilities, shape (classes, height, width), to the pixels to keep."""
        if self.kind == "labels":
            return foreground(probabilities).astype(self.stored)
        if self.kind == "classes":
            return probabilities.argmax(axis=0).astype(self.stored)
        values = 1 - probabilities[0]
        return (np.rint(values * 255) if self.dtype == "uint8" else values).astype(self.stored)


@dataclass(frozen=True)
class Stack:
    """Planes computed on access, as one array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    planes: Mapping[tuple[int, ...], Plane]

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        *plane, rows, columns = index
        return self.planes[tuple(plane)].read(rows, columns).astype(self.dtype, copy=False)


def number_stack(pixels: Sliceable, image: Image, result: Result) -> Stack:
    """Number the cells of each plane from 1, as uint16, which every program reads, if they fit.

    Parameters
    ----------
    pixels : Sliceable
        Positive in the foreground, shape (..., height, width).
    image : Image
        Determines the planes.
    result : Result
        Determines minimum size, hole filling and parting at necks.
    """

    def foreground_of(plane: tuple[int, ...]) -> Plane:
        height, width = pixels.shape[-2:]
        return Plane((height, width), lambda *region: np.asarray(pixels[(*plane, *region)]) > 0)

    cells = {
        plane: number_cells(
            foreground_of(plane), PIECE, result.min_size, result.fill_holes, result.neck_depth
        )
        for plane in image.planes
    }
    most = max(found.total for found in cells.values())
    if most == 0:
        least = f" of at least {result.min_size} pixels" if result.min_size > 1 else ""
        logger.warning("%s: no cell%s was found.", image.path, least)
    dtype = np.dtype(np.uint16 if most <= np.iinfo(np.uint16).max else np.uint32)
    return Stack(pixels.shape, dtype, {plane: found.labels for plane, found in cells.items()})


def write_result(target: Path, pixels: Sliceable, image: Image, result: Result) -> None:
    """Write a result file with the axes and pixel size of its image, and sync it to disk.

    Parameters
    ----------
    target : Path
        The file; a large one, or a Zarr, is streamed and gets pyramid levels.
    pixels : Sliceable
        From `Result.encode`, shape (..., height, width).
    image : Image
        Determines axes and pixel size.
    result : Result
        What to write.
    """
    final = number_stack(pixels, image, result) if result.kind == "labels" else pixels
    write_regions(target, final, image, result.kind != "probability")
    sync(target.parent)
