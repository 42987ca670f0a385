"""List and compute the tiles of an image file, with reading, network and writing overlapped."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, MutableMapping
from contextlib import closing
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import normalisation
from ..checkpoint import Model
from ..engines.device import Engine
from ..images import Image
from ..images.pyramid import Writable
from ..normalisation import Affine, Statistics
from ..prediction import class_probabilities, run_network
from ..prefetch import in_thread
from ..tiles import Tile, TileGrid, read_mirrored
from .results import Result


class Task(NamedTuple):
    """Everything that determines the pixels of a prediction."""

    image: Image
    channels: tuple[int, ...]
    model: Model
    engine: Engine
    grid: TileGrid
    result: Result


class Work(NamedTuple):
    """One tile of one plane."""

    plane: tuple[int, ...]
    tile: Tile

    @property
    def key(self) -> str:
        """Its key in the ledger."""
        return f"tile {' '.join(map(str, (*self.plane, self.tile.top, self.tile.left)))}"


class PlaneSource(NamedTuple):
    """Some channels of one plane of an image as a source of regions."""

    image: Image
    plane: tuple[int, ...]
    channels: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        height, width = self.image.shape[-2:]
        return len(self.channels), height, width

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Pixels of a region, shape (channels, rows, columns)."""
        return self.image.read(self.plane, rows, columns, self.channels)


def all_work(task: Task) -> Iterator[Work]:
    """All tiles of all planes, plane by plane."""
    return (Work(plane, tile) for plane in task.image.planes for tile in task.grid)


def compute(
    task: Task,
    items: Iterable[Work],
    pixels: Writable,
    ledger: MutableMapping[str, Any],
    progress: Callable[[int], object] = lambda _: None,
) -> None:
    """Predict tiles, skipping those in the ledger. Reading, network and writing overlap.

    Parameters
    ----------
    task : Task
        The prediction.
    items : iterable of Work
        The tiles.
    pixels : Writable
        Receives the result, shape (..., height, width).
    ledger : mutable mapping
        Receives the statistics that each plane is normalised by, when they are gathered, and the
        key of each tile, when its pixels are written.
    progress : callable
        Called with the number of pixels of each tile, skipped ones included.
    """

    @cache
    def normalise(plane: tuple[int, ...]) -> Affine:
        stats = plane_statistics(task, plane, ledger)
        scheme, image = task.model.normalisation, task.image
        return normalisation.fit(scheme, stats, image.dtype, image.plane_name(plane))

    def read(work: Work) -> NDArray[np.float32]:
        source = PlaneSource(task.image, work.plane, task.channels)
        return normalise(work.plane)(read_mirrored(source, *task.grid.read(work.tile)))

    def write(done: tuple[Work, NDArray[np.float32]]) -> None:
        (plane, tile), probabilities = done
        values = task.result.encode(probabilities[:, : tile.height, : tile.width])
        pixels[(*plane, *tile.write)] = values
        ledger[done[0].key] = None

    with (
        closing(in_thread(read, unfinished(items, ledger, progress))) as inputs,
        closing(
            run_network(inputs, task.model.network, task.engine, class_probabilities)
        ) as outputs,
        closing(in_thread(write, outputs)) as written,
    ):
        for (work, _), _ in written:
            progress(work.tile.height * work.tile.width)


def unfinished(
    items: Iterable[Work], ledger: Container[str], progress: Callable[[int], object]
) -> Iterator[Work]:
    """Tiles that are not in the ledger; those that are count as progress."""
    for work in items:
        if work.key in ledger:
            progress(work.tile.height * work.tile.width)
        else:
            yield work


def plane_statistics(
    task: Task, plane: tuple[int, ...], ledger: MutableMapping[str, Any]
) -> Statistics:
    """Statistics of a plane, from the ledger if they are there."""
    key = statistics_key(plane)
    if key not in ledger:
        source = PlaneSource(task.image, plane, task.channels)
        stats = normalisation.gather_statistics(source, name=task.image.plane_name(plane))
        # JSON preserves numbers to the last bit.
        ledger[key] = [stats.pixels, *(values.tolist() for values in stats[1:])]
    pixels, *values = ledger[key]
    return Statistics(pixels, *map(np.asarray, values))


def statistics_key(plane: tuple[int, ...]) -> str:
    """Key of a plane's statistics in the ledger."""
    return f"statistics {' '.join(map(str, plane))}"
