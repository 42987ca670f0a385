"""Check all images and results before anything is computed, and choose what runs each image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from ..atomic import remove_leftovers
from ..builtin import BuiltIn
from ..checkpoint import Model
from ..engines.backends import Backend
from ..engines.device import BackendName, Engine, choose_backend
from ..errors import InputError
from ..images import STREAMED_FROM, check_output, open_image, select_channels
from ..images.units import warn_of_other_scale
from ..images.writing import check_own, check_planes
from ..tilesize import tile_grid
from .imagefile import scratch_folder
from .jobs import Job
from .scratch import unfinished_purpose


class Checked(NamedTuple):
    """An image that can be predicted."""

    job: Job
    pixels: int
    """Number of pixels of all its planes."""
    size: tuple[int, ...]
    """What determines the shape of its tiles: their size if given, else height and width."""


def check_image(
    job: Job,
    model: Model,
    channels: tuple[str, ...],
    tile: int | None,
    built_in: BuiltIn | None,
) -> Checked:
    """Refuse an image that cannot be predicted, or whose result its file cannot hold.

    Parameters
    ----------
    job : Job
        The image and its result.
    model, channels, tile
        As for `predict_file`.
    built_in : BuiltIn or None
        The model, if it comes with the package, to warn of images of another pixel size.

    Raises
    ------
    InputError
        If the image cannot be read or has other channels than the model takes (`ImageError`), the
        tile is not a valid size, or a PNG cannot hold the result.
    """
    with open_image(job.source) as image:
        check_planes(image)
        if built_in is not None:
            warn_of_other_scale(image.pixel_size, built_in.pixel_size, built_in.name)
        select_channels(image, channels, model.network.config.in_channels)
        tile_grid(image.shape[-2:], model.network, tile)
        pixels = prod(image.result_shape)
        small = not image.plane_axes and pixels < STREAMED_FROM
        if job.target.suffix.lower() == ".png" and not (small and job.result.stored == np.uint8):
            raise InputError(
                f"{job.target}: a PNG holds one small plane of integers, not {image.describe()} of "
                f"{job.result.stored}: write a .tif{', or choose --dtype uint8' * small}."
            )
        return Checked(job, pixels, (tile,) if tile else image.shape[-2:])


def choose_engines(
    images: Sequence[Checked], engine: Engine, backend: BackendName, model: Model, resume: bool
) -> list[Engine]:
    """Choose the backend of each image; it is prepared once for each size.

    Parameters
    ----------
    images : sequence of Checked
        All images.
    engine : Engine
        Device, precision and averaging.
    backend : str
        As for `choose_backend`.
    model : Model
        The model.
    resume : bool
        Whether an unfinished image keeps the backend, unless one is requested, that it was begun
        with, perhaps chosen for more images.
    """
    total: Counter[tuple[int, ...]] = Counter()
    for image in images:
        total[image.size] += image.pixels
    channels = model.network.config.base_channels
    chosen = {size: choose_backend(engine, backend, total[size], channels) for size in total}
    if backend == "auto" and resume:
        return [_resumed_engine(chosen[image.size], image.job) for image in images]
    return [chosen[image.size] for image in images]


def _resumed_engine(engine: Engine, job: Job) -> Engine:
    """The engine with the backend of the run to resume, if there is one."""
    backend: Any = unfinished_purpose(scratch_folder(job.target)).get("backend")
    return engine._replace(backend=backend) if backend in get_args(Backend) else engine


def prepare_outputs(jobs: Sequence[Job], out: Path | None) -> None:
    """Check that the results can be written, and make their folder; the user named `out`."""
    for job in jobs:
        check_output(job.target, [job.source])
        if job.target != out:
            check_own(job.target)
    jobs[0].target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(jobs[0].target.parent)
