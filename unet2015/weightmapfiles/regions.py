"""Weight maps of label images of any size, region by region."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..images import Image
from ..instances.pieces import Plane
from ..instances.stitching import number_cells
from ..labelfiles.labelimages import read_plane
from ..weightmap.classes import ClassCounts, ClassWeights, add_counts, count_classes
from ..weightmap.map import WeightMapConfig, border_weight_map, halo
from ..weightmap.ridge import grow, separate_touching

BAND = 512
"""Rows read at once: one row of tiles in most files."""

PlaneIndex = tuple[int, ...]
"""Index of a plane in a stack."""


@dataclass(frozen=True)
class LabelReading:
    """How to interpret the pixels of a label image."""

    ignore: int | None = None
    """The value of pixels to leave out."""
    connected_components: bool = False
    """Whether other values above 0 are foreground, whose 8-connected components are the cells."""
    ridge: int = 1
    """Width of the ridge to cut between touching cells, odd, or 0 to cut none."""


class CellRows:
    """The cells of a plane, with ridges cut, in memory that does not grow with its height.

    Parameters
    ----------
    image : Image
        An opened label image without channels.
    plane : tuple of int
        One of ``image.planes``.
    reading : LabelReading
        How to read it.
    """

    def __init__(self, image: Image, plane: PlaneIndex, reading: LabelReading) -> None:
        self.plane = plane
        self._image, self._reading = image, reading
        self._height, self._width = image.shape[-2:]
        self._first = 0
        self._rows: NDArray[Any] = np.empty((0, self._width), np.uint8)
        """Rows from `_first` on, with ridges of one pixel."""
        self._cut = np.empty((0, self._width), np.bool_)
        """The pixels of these ridges."""
        self._band = self._labels
        if reading.connected_components:
            mask = Plane((self._height, self._width), lambda rows, _: self._labels(rows) > 0)
            cells = number_cells(mask, (BAND, self._width)).labels
            self._band = lambda rows: cells.read(rows, slice(0, self._width))

    def read(self, rows: slice, columns: slice = slice(None)) -> NDArray[Any]:
        """Return a region; fast if it does not start above that of the previous call.

        Parameters
        ----------
        rows, columns : slice
            The region, without a step; by default all columns.

        Returns
        -------
        array of int, shape (rows, columns)
            0 is background, each other value a cell.

        Raises
        ------
        InputError
            If the image holds anything but non-negative whole numbers.
        """
        reach = self._reading.ridge // 2
        left, right, _ = columns.indices(self._width)
        first, outer = max(rows.start - reach, 0), max(left - reach, 0)
        self._load(first, min(rows.stop + reach, self._height))
        last = rows.stop + reach
        loaded = slice(first - self._first, last - self._first), slice(outer, right + reach)
        cells = self._rows[loaded]
        if reach:
            cells = np.where(grow(self._cut[loaded], reach), 0, cells).astype(cells.dtype)
        return cells[rows.start - first : rows.stop - first, left - outer : right - outer]

    def _load(self, start: int, stop: int) -> None:
        """Read on until rows `start` to `stop` are in memory, with ridges of one pixel."""
        if start < self._first:
            self._first, self._rows, self._cut = 0, self._rows[:0], self._cut[:0]
        while self._first + len(self._rows) < stop:
            top = self._first + len(self._rows)
            rows = self._band(slice(top, min(top + BAND, self._height)))
            separated = rows
            if self._reading.ridge:
                # Depends only on the row above, after its own cut.
                above = self._rows[-1:]
                separated = separate_touching(np.concatenate([above, rows]))[len(above) :]
            spent = max(min(start - self._first, len(self._rows) - 1), 0)
            self._rows = np.concatenate([self._rows[spent:], separated])
            self._cut = np.concatenate([self._cut[spent:], separated != rows])
            self._first += spent

    def ignored(self, rows: slice, columns: slice = slice(None)) -> NDArray[np.bool_] | None:
        """Return a mask of the pixels of a region to leave out, or None for none."""
        if self._reading.ignore is None:
            return None
        return self._image.read(self.plane, rows, columns)[0] == self._reading.ignore

    def _labels(self, rows: slice) -> NDArray[Any]:
        return read_plane(self._image, self.plane, rows, self._reading.ignore)


class LabelSummary(NamedTuple):
    """Summary of the pixels of a label image."""

    pixels: int
    """Number of pixels."""
    counts: ClassCounts
    """Pixels of cells and of background, after cutting ridges."""
    names: tuple[int, int] | None
    """The lowest and highest label of a cell; None if there is no cell."""

    def join(self, other: LabelSummary) -> LabelSummary:
        """Combine two summaries."""
        pixels = self.pixels + other.pixels
        counts = add_counts([self.counts, other.counts])
        names = [*(self.names or ()), *(other.names or ())]
        return LabelSummary(pixels, counts, (min(names), max(names)) if names else None)


def summarise(image: Image, reading: LabelReading) -> Iterator[LabelSummary]:
    """Summarise an image band by band.

    Parameters
    ----------
    image, reading
        As in `CellRows`.

    Yields
    ------
    LabelSummary
        One for each band of `BAND` rows.

    Raises
    ------
    InputError
        If the image holds anything but non-negative whole numbers.
    """
    height = image.shape[-2]
    for plane in image.planes:
        cells = CellRows(image, plane, reading)
        for top in range(0, height, BAND):
            rows = slice(top, min(top + BAND, height))
            band = cells.read(rows)
            counts = count_classes(band, cells.ignored(rows))
            inside = band[band != 0]
            names = (int(inside.min()), int(inside.max())) if inside.size else None
            yield LabelSummary(band.size, counts, names)


class Peak(NamedTuple):
    """The largest weight so far and where it is."""

    weight: float
    plane: PlaneIndex
    row: int
    column: int


class Regions(ABC):
    """A result computed only where it is read; fastest from top to bottom."""

    def __init__(self, image: Image, reading: LabelReading, dtype: DTypeLike = np.uint8) -> None:
        self.shape = image.result_shape
        self.dtype = np.dtype(dtype)
        self._image, self._reading = image, reading
        self._cells: CellRows | None = None

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        """Return a region; the index is a number for each plane axis and two slices."""
        *plane, rows, columns = index
        if self._cells is None or self._cells.plane != tuple(plane):
            self._cells = CellRows(self._image, tuple(plane), self._reading)
        return self._compute(self._cells, rows, columns).astype(self.dtype)

    @abstractmethod
    def _compute(self, cells: CellRows, rows: slice, columns: slice) -> NDArray[Any]:
        """Compute a region of the plane of these cells."""


class TargetRegions(Regions):
    """The target of the loss: 1 in cells, 0 in background and on ridges.

    Parameters
    ----------
    image, reading
        As in `CellRows`.
    """

    def _compute(self, cells: CellRows, rows: slice, columns: slice) -> NDArray[np.bool_]:
        return cells.read(rows, columns) != 0


class WeightRegions(Regions):
    """The weight map of an image.

    Parameters
    ----------
    image, reading
        As in `CellRows`.
    config : WeightMapConfig
        w0 and sigma.
    classes : ClassWeights
        w_c.
    spacing : (float, float), optional
        As in `border_weight_map`.
    dtype : dtype
        Type of the weights.

    Attributes
    ----------
    peak : Peak
        The largest weight read so far.
    """

    def __init__(
        self,
        image: Image,
        reading: LabelReading,
        config: WeightMapConfig,
        classes: ClassWeights,
        spacing: tuple[float, float] | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(image, reading, dtype)
        self._config, self._classes, self._spacing = config, classes, spacing
        self._halo = halo(config.sigma, spacing)
        self.peak = Peak(-1.0, (), 0, 0)

    def _compute(self, cells: CellRows, rows: slice, columns: slice) -> NDArray[np.float32]:
        top, left = max(rows.start - self._halo[0], 0), max(columns.start - self._halo[1], 0)
        bottom = min(rows.stop + self._halo[0], self.shape[-2])
        grown = cells.read(slice(top, bottom), slice(left, columns.stop + self._halo[1]))
        config = self._config
        weights = border_weight_map(
            grown,
            config.w0,
            config.sigma,
            class_weights=self._classes,
            ridge=0,
            spacing=self._spacing,
        )[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        ignored = cells.ignored(rows, columns)
        if ignored is not None:
            weights[ignored] = 0
        row, column = np.unravel_index(weights.argmax(), weights.shape)
        weight = float(weights[row, column])
        if weight > self.peak.weight:
            self.peak = Peak(
                weight, cells.plane, rows.start + int(row), columns.start + int(column)
            )
        return weights
