"""Resumable prediction of an image file of any size.

The network's output goes tile by tile into an array, from which the result file is made at the end.
For a small image the array is in memory. For others it is a Zarr in a hidden folder beside the
result, ``.NAME.unet2015``, with a ledger of finished tiles, from which a killed run is resumed.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..checkpoint import Model, digest
from ..engines.device import Engine
from ..errors import ImageError, InputError, UnreachableError
from ..images import open_image, select_channels
from ..images.fingerprint import check_unchanged, image_state
from ..tilesize import tile_grid
from .results import Result, write_result
from .scratch import Scratch, differences, unfinished_purpose
from .tasks import Task, all_work, compute

if TYPE_CHECKING:
    from .cluster import Cluster

logger = logging.getLogger(__name__)

RESUMABLE_FROM = 2**22
"""Pixels of a result from which the work is kept on disk; smaller ones take seconds."""


def predict_file(
    source: Path,
    target: Path,
    model: Model,
    engine: Engine,
    result: Result,
    channels: tuple[str, ...] = (),
    tile: int | None = None,
    overwrite: bool = False,
    keep_scratch: bool = False,
    progress: Callable[[int], object] = lambda _: None,
    cluster: Cluster | None = None,
) -> str:
    """Predict an image file; see the module's docstring for how.

    Parameters
    ----------
    source, target : Path
        The image and the result, which appears once it is complete.
    model : Model
        The network.
    engine : Engine
        Where and in which precision to compute.
    result : Result
        What to write.
    channels : tuple of str
        Channels of the image by number or name; empty for all.
    tile : int, optional
        Height and width of the network's input in pixels; by default as large as is worthwhile and
        fits into memory.
    overwrite : bool
        Whether to discard the leftovers of an interrupted run.
    keep_scratch : bool
        Whether to keep the scratch folder with its Zarr.
    progress : callable
        Called with the number of pixels of each finished tile, including those of an earlier run.
    cluster : Cluster, optional
        Computes the tiles instead of this process, unless the image is small (`is_resumable`).

    Returns
    -------
    str
        The fingerprint of the image.

    Raises
    ------
    InputError
        If the image cannot be used, disappears or changes while it is read, or has changed since
        the run being resumed (`ImageError`); if model or settings have, or the disk is full.
    """
    state = image_state(source)
    with open_image(source) as image:
        chosen = select_channels(image, channels, model.network.config.in_channels)
        processes = 1 if cluster is None else cluster.processes
        grid = tile_grid(image.shape[-2:], model.network, tile, engine.device, processes)
        task = Task(image, chosen, model, engine, grid, result)
        begun = scratch_folder(target).is_dir()
        if is_resumable(prod(image.result_shape)) or keep_scratch or begun:
            _predict_on_disk(task, state, target, tile, overwrite, keep_scratch, progress, cluster)
        else:
            pixels = np.empty(image.result_shape, result.stored)
            compute(task, all_work(task), pixels, {}, progress)
            check_unchanged(source, state)
            write_result(target, pixels, image, result)
    return state


def _predict_on_disk(
    task: Task,
    state: str,
    target: Path,
    tile: int | None,
    overwrite: bool,
    keep_scratch: bool,
    progress: Callable[[int], object],
    cluster: Cluster | None,
) -> None:
    """Predict an image by way of a scratch folder; `state` is the image's fingerprint."""
    source, folder, needed = task.image.path, scratch_folder(target), purpose(task, state, tile)
    unfinished = {} if overwrite else unfinished_purpose(folder)
    if unfinished:
        _check_resumable(source, folder, differences(unfinished, needed))
    with explain_full_disk(target), Scratch(folder, needed, overwrite) as scratch:
        if unfinished:
            logger.info("resuming %s.", target)
        # Keep the tile size of the run being resumed: the memory available may differ now.
        height, width = scratch.ledger.setdefault("output", task.grid.output)
        task = task._replace(grid=replace(task.grid, output=(height, width)))
        pixels = scratch.pixels(task.image.result_shape, task.result.stored, task.grid.stride)
        try:
            if cluster is None:
                compute(task, all_work(task), pixels, scratch.ledger, progress)
            else:
                cluster.compute(task, state, all_work(task), pixels, scratch.ledger, progress)
            check_unchanged(source, state)
        except UnreachableError:  # it may come back unchanged
            raise
        except ImageError:  # no part of a damaged image can be trusted
            scratch.remove()
            raise
        write_result(target, pixels, task.image, task.result)
        if keep_scratch:
            scratch.keep()
        else:
            scratch.remove()


def is_resumable(pixels: int) -> bool:
    """Whether tiles are kept on disk while an image of that many pixels is computed."""
    return pixels >= RESUMABLE_FROM


def scratch_folder(target: Path) -> Path:
    """Folder that holds the work for a result until it is written."""
    return target.with_name(f".{target.name}.unet2015")


def _check_resumable(source: Path, folder: Path, changed: list[str]) -> None:
    """Raise `ImageError`, which does not stop other images, if only the image has changed.

    Channels requested by name may then have other numbers.
    """
    if "input" in changed and {"input", "channels"}.issuperset(changed):
        raise ImageError(
            f"{source} is not the image whose unfinished prediction is in {folder}, or has another "
            "date: put that image back as it was, or delete the folder."
        )


def purpose(task: Task, state: str, tile: int | None) -> dict[str, Any]:
    """Everything that the stored pixels depend on; cells are made from them later.

    Parameters
    ----------
    task : Task
        The prediction.
    state : str
        The image's fingerprint.
    tile : int, optional
        The tile size that the user asked for.
    """
    dtype = task.result.dtype if task.result.kind == "probability" else ""
    return {
        "input": state,
        "model": digest(task.model),
        "channels": task.channels,
        "tile": tile or "automatic",
        **task.engine.options,
        "output": f"{task.result.kind} {dtype}".strip(),
        "version": __version__,
    }


@contextmanager
def explain_full_disk(target: Path) -> Iterator[None]:
    """Turn a full disk, or one for small files only, into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise InputError(
                f"{target}: its drive does not allow files of this size: choose another drive, or "
                "a .zarr folder, which holds many small files."
            ) from error
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"the disk of {target} is full: free some space and repeat the command, which resumes "
            "where it stopped."
        ) from error
