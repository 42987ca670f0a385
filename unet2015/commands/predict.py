"""Segment images, stacks and whole sequences tile by tile.

OUT is the result itself when there is one image and OUT ends in .tif, otherwise a folder, which
gets one result of the same name for each image. A Cell Tracking Challenge sequence (a folder with
t000.tif, t001.tif, ...) gives numbered cells in mask000.tif, mask001.tif, ...
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm
from tyro.conf import FlagCreatePairsOff, Positional, arg

from ..checkpoint import Model, load_model
from ..datasets.ctc import frame_number, is_sequence, sequence_frames
from ..device import DeviceName, Engine, Precision, choose_engine
from ..errors import InputError
from ..images import IMAGE_SUFFIXES, Image, check_output, open_image, select_channels, write_image
from ..instances import foreground, label_cells
from ..prediction import predict, tile_grid

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Options of ``unet2015 predict``."""

    images: Positional[tuple[Path, ...]]
    """TIFF or PNG files, Zarr folders, folders of images, or CTC sequence folders."""
    model: Annotated[Path, arg(aliases=["-m"])]
    """Model file, or the folder of a training run."""
    out: Annotated[Path, arg(aliases=["-o"])]
    """The result, or a folder for the results."""
    labels: FlagCreatePairsOff[bool] = False
    """Write numbered cells instead of the foreground probability."""
    min_size: int = 0
    """Drop cells of fewer pixels."""
    channels: tuple[str, ...] = ()
    """Channels of the image to use, by number counted from 0 or by name."""
    tile: int | None = None
    """Height and width of the tiles in pixels; by default as large as image and memory allow."""
    device: DeviceName = "auto"
    """Where to compute."""
    precision: Precision = "auto"
    """Precision of the convolutions; auto takes bfloat16 where the hardware has it."""


class Job(NamedTuple):
    """One image and its result."""

    source: Path
    target: Path
    as_labels: bool


def run(options: Options) -> None:
    """Predict as `options` say."""
    if options.min_size < 0:
        raise InputError(f"--min-size is {options.min_size}: it must be at least 0 pixels.")
    model = load_model(options.model)
    engine = choose_engine(options.device, options.precision)
    jobs = plan(options.images, options.out, options.labels)
    tiles = sum(_tiles(job, model, options) for job in jobs)
    if jobs[0].target != options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    for job in jobs:
        check_output(job.target, [job.source])
    logger.info("computing on %s.", engine)
    with tqdm(total=tiles, desc="predicting", unit="tile") as bar:
        for job in jobs:
            bar.set_postfix_str(job.source.name)
            _predict(job, model, engine, options, bar)
    logger.info("%d result%s in %s.", len(jobs), "s" * (len(jobs) > 1), options.out)


def plan(images: Sequence[Path], out: Path, labels: bool) -> list[Job]:
    """Decide which file becomes which result.

    Raises
    ------
    InputError
        If there is no image or two images would give one result.
    """
    found = [pair for path in images for pair in _expand(path)]
    if not found:
        raise InputError("no image given: name at least one file or folder.")
    if out.suffix.lower() in IMAGE_SUFFIXES and not out.is_dir():
        if len(found) > 1:
            raise InputError(f"{len(found)} images cannot become one file, {out}: give a folder.")
        source, _, is_frame = found[0]
        return [Job(source, out, labels or is_frame)]
    jobs = [Job(source, out / name, labels or is_frame) for source, name, is_frame in found]
    taken: dict[Path, Path] = {}
    for job in jobs:
        if job.target in taken:
            raise InputError(
                f"{taken[job.target]} and {job.source} would both become {job.target}: "
                "predict them into different folders."
            )
        taken[job.target] = job.source
    return jobs


def _expand(path: Path) -> Iterator[tuple[Path, str, bool]]:
    """Images under a path, the name of each one's result, and whether it is a sequence's frame."""
    if is_sequence(path):
        for frame in sequence_frames(path):
            yield frame, f"mask{frame_number(frame)}.tif", True
    elif path.is_dir() and path.suffix != ".zarr":
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise InputError(f"{path} holds no images ({', '.join(IMAGE_SUFFIXES)}).")
        for file in files:
            yield file, _result_name(file), False
    else:
        yield path, _result_name(path), False


def _result_name(path: Path) -> str:
    return path.name if path.suffix.lower().startswith(".tif") else f"{path.stem}.tif"


def _tiles(job: Job, model: Model, options: Options) -> int:
    """Check that an image can be predicted and count its tiles."""
    with open_image(job.source) as image:
        _channels(image, model, options)
        return len(image.planes) * len(tile_grid(image.shape[-2:], model.network, options.tile))


def _channels(image: Image, model: Model, options: Options) -> tuple[int, ...]:
    return select_channels(image, options.channels or None, model.network.config.in_channels)


def _predict(job: Job, model: Model, engine: Engine, options: Options, bar: tqdm[object]) -> None:
    with open_image(job.source) as image:
        channels = _channels(image, model, options)
        planes = []
        for plane in image.planes:
            pixels = image.read(plane, channels=channels)
            probabilities = predict(pixels, model, options.tile, engine, bar.update)
            if job.as_labels:
                planes.append(label_cells(foreground(probabilities), options.min_size))
            else:
                planes.append(1 - probabilities[0])
        axes = image.plane_axes + "YX"
        result = np.stack(planes).reshape(*image.plane_shape, *image.shape[-2:])
        write_image(job.target, _compact(result), axes, image.pixel_size)


def _compact(result: NDArray[np.float32] | NDArray[np.uint32]) -> NDArray[np.generic]:
    """Numbered cells in 16 bits where they fit, as every program reads them."""
    if result.dtype == np.uint32 and result.max() <= np.iinfo(np.uint16).max:
        return result.astype(np.uint16)
    return result
