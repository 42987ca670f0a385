"""Compute border weight maps w(x) (Eq. 2, Fig. 3) from label images of any size.

LABELS is a label image (TIFF, PNG or Zarr; a plane or a stack), a folder of label images, or a
folder of the Cell Tracking Challenge with a SEG folder in it. Pixels are 0 in the background and
have one number per cell. OUT is a .tif or .zarr for one image, or a folder that gets a .tif of the
same name per image. Classes are balanced over all images.
With --ridge 3 --class-balance 0.1 the weights are those of `unet2015 train`, except that cells
missing from a mask of the challenge count as background here, also in the balance of the classes,
and have weight 0 there.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg

from ..atomic import name_on_disk, remove_leftovers
from ..errors import InputError, counted, some
from ..images import Image, check_output, open_image, write_regions
from ..images.fingerprint import check_unchanged, image_state
from ..images.writing import check_own, check_planes
from ..labelfiles.doubt import (
    IN_PIECES,
    NUMBERS_IGNORED,
    doubt,
    has_several_numbers,
    numbers_in_pieces,
)
from ..labelfiles.labelimages import open_labels, read_plane
from ..progress import Progress
from ..weightmap import (
    FREIBURG,
    ClassCounts,
    ClassWeights,
    WeightMapConfig,
    balanced_class_weights,
    border_weight_map,
    check_balance,
)
from ..weightmapfiles.jobs import SUFFIXES, Job, plan
from ..weightmapfiles.preview import draw_peak, frame_of_mask
from ..weightmapfiles.regions import (
    LabelReading,
    LabelSummary,
    Peak,
    TargetRegions,
    WeightRegions,
    summarise,
)

logger = logging.getLogger(__name__)

CHECKED_ROWS = 512
"""Rows of an image that are read to judge whether it is a label image."""


@dataclass(frozen=True)
class Options:
    """Options of ``unet2015 weightmap``."""

    labels: Annotated[Positional[Path], arg(metavar="LABELS")]
    """Label image, stack, Zarr, folder of label images, or CTC folder such as 01_GT."""
    out: Annotated[Path, arg(aliases=["-o"])]
    """Weight map (.tif or .zarr), or folder for weight maps. A file named here is overwritten."""
    target: Path | None = None
    """File or folder, like OUT, for the target: 1 in cells, 0 in background and on ridges."""
    preview: Path | None = None
    """PNG to write, in the style of the paper's Fig. 3, around the largest weight."""
    image: Path | None = None
    """With --preview: the microscope image of a single label image."""
    weight_map: OmitArgPrefixes[WeightMapConfig] = field(default_factory=WeightMapConfig)
    class_weights: Literal["balanced", "freiburg", "none"] | tuple[float, float] = "balanced"
    """Class weights w_c: balanced (by --class-balance, mean 1 over all pixels), freiburg (1, 0.1),
    none (0), or two numbers, foreground first."""
    class_balance: float = 1.0
    """Balanced class weights are class frequencies to the power of minus this, from 0 for equal
    weights to 1 for full balance."""
    ignore: int | None = None
    """Value of pixels that are neither cell nor background: they get weight 0."""
    connected_components: FlagCreatePairsOff[bool] = False
    """Treat the labels as a binary mask, in which each 8-connected component is a cell."""
    ridge: int = 1
    """Width in pixels, odd, of the ridge of background cut between touching cells; 0 cuts none."""
    spacing: tuple[float, float] | None = None
    """Height and width of a pixel, in the unit of --sigma; 1 and 1 by default."""
    dtype: Literal["float32", "float16"] = "float32"
    """Data type of the weights."""


def run(options: Options) -> None:
    """Compute the weight maps."""
    if options.image is not None and options.preview is None:
        raise InputError("--image is for the picture that --preview writes: give both or neither.")
    jobs = plan(options.labels, options.out, options.target)
    if options.image is not None and len(jobs) > 1:
        raise InputError(f"--image is for one label image, not for {options.labels}: leave it out.")
    reading = LabelReading(options.ignore, options.connected_components, options.ridge)
    _check_numbers(options)
    pixels = _check_inputs(jobs, options)
    _check_outputs(jobs, options)
    states = [image_state(job.labels) for job in jobs]
    classes = _class_weights(options, _check_labels(jobs, reading, pixels))
    best: tuple[Job, Peak] | None = None
    bar = Progress(jobs, desc="weight maps", unit="image", delay=1, disable=len(jobs) == 1)
    for job, state in zip(bar, states, strict=True):
        check_unchanged(job.labels, state)  # the classes were balanced for this state
        with open_labels(job.labels) as image:
            if job.target is not None:
                write_regions(job.target, TargetRegions(image, reading), image, labels=True)
            weights = _weights(image, reading, classes, options)
            write_regions(job.out, weights, image, labels=False)
            if best is None or weights.peak.weight > best[1].weight:
                best = job, weights.peak
    if options.preview is not None and best is not None:
        job, peak = best
        draw_peak(
            options.preview,
            job.labels,
            _microscope(job.labels, options),
            peak,
            reading,
            lambda image: _weights(image, reading, classes, options),
        )
    logger.info("%s in %s.", counted(len(jobs), "weight map"), options.out)


def _check_numbers(options: Options) -> None:
    """Refuse numbers out of range before any file is touched, most by the rules for arrays."""
    check_balance(options.class_balance)
    if options.ignore == 0:
        raise InputError("--ignore is 0, the background: give the value of pixels to leave out.")
    if options.class_balance != 1 and options.class_weights != "balanced":
        raise InputError(
            "--class-balance applies to --class-weights balanced only: leave one of the two out."
        )
    pair = options.class_weights if isinstance(options.class_weights, tuple) else None
    nothing = np.zeros((1, 1), np.uint8)
    config = options.weight_map
    border_weight_map(
        nothing,
        config.w0,
        config.sigma,
        class_weights=pair,
        ridge=options.ridge,
        spacing=options.spacing,
    )


def _check_inputs(jobs: Sequence[Job], options: Options) -> int:
    """Refuse unusable images before pixels are read; return the number of pixels."""
    pixels = 0
    for job in jobs:
        with open_labels(job.labels) as image:
            check_planes(image)
            microscope = _microscope(job.labels, options)
            if options.preview is not None and microscope is not None:
                with open_image(microscope) as other:
                    _check_same(image, other)
            pixels += math.prod(image.shape)
    return pixels


def _microscope(labels: Path, options: Options) -> Path | None:
    """The microscope image of a label image, None if unknown."""
    return options.image or frame_of_mask(labels)


def _check_outputs(jobs: Sequence[Job], options: Options) -> None:
    """Refuse results that cannot be written or would overwrite their inputs."""
    outputs = [(path, job.labels) for job in jobs for path in job[1:] if path is not None]
    for folder in {path.parent for path, _ in outputs if path not in (options.out, options.target)}:
        if folder.exists() and folder.samefile(jobs[0].labels.parent):
            raise InputError(f"{folder} is where the labels are: give another folder for results.")
    for path, _ in outputs:
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(
                f"{path} cannot hold a weight map or target: end it in {', '.join(SUFFIXES)}, or "
                "leave the suffix out if it is meant to be a folder."
            )
    if options.preview is not None:
        if options.preview.suffix.lower() != ".png":
            raise InputError(f"{options.preview} must end in .png: the preview is a PNG.")
        outputs.append((options.preview, jobs[0].labels))
    for path, labels in outputs:
        microscope = _microscope(labels, options)
        check_output(path, [labels] if microscope is None else [labels, microscope])
        if path not in (options.out, options.target, options.preview):
            check_own(path)
    if len({name_on_disk(path.resolve()) for path, _ in outputs}) < len(outputs):
        raise InputError("two results would go to the same file: give them different names.")
    for folder in {path.parent for path, _ in outputs}:
        remove_leftovers(folder)


def _check_same(labels: Image, image: Image) -> None:
    if labels.result_shape != image.result_shape:
        raise InputError(
            f"{image.path} ({image.describe()}) does not belong to {labels.path} "
            f"({labels.describe()}): give an image of the same size."
        )


def _check_labels(jobs: Sequence[Job], reading: LabelReading, pixels: int) -> LabelSummary:
    """Check and count all pixels."""
    summary = LabelSummary(0, ClassCounts(0, 0), None)
    doubts: dict[str, list[str]] = {}
    with Progress(
        total=pixels, desc="checking labels", unit="px", unit_scale=True, delay=1, leave=False
    ) as bar:
        for job in jobs:
            with open_labels(job.labels) as image:
                if why := _doubt(image, reading):
                    doubts.setdefault(why, []).append(str(job.labels))
                for part in summarise(image, reading):
                    summary = summary.join(part)
                    bar.update(part.pixels)
    for why, names in doubts.items():
        logger.warning("%s: %s", some(names), why)
    if reading.ignore is not None and sum(summary.counts) == summary.pixels:
        logger.warning("no pixel has the value %d, which --ignore names.", reading.ignore)
    if summary.names is None:
        everywhere = jobs[0].labels if len(jobs) == 1 else jobs[0].labels.parent
        logger.warning("there is no cell in %s.", everywhere)
    elif summary.names[0] == summary.names[1] and not (reading.connected_components or doubts):
        logger.warning(
            "all cells have the number %d, so they are one cell and the border term is 0: "
            "for a binary mask, add --connected-components.",
            summary.names[0],
        )
    return summary


def _doubt(image: Image, reading: LabelReading) -> str | None:
    """What is doubtful about the first plane with cells; raises if it does not look like labels."""
    for plane in image.planes:
        top = read_plane(image, plane, slice(0, CHECKED_ROWS), reading.ignore)
        if top.any():
            break
    if reading.connected_components:
        return NUMBERS_IGNORED if has_several_numbers(top) else None
    if why := doubt(top):
        raise InputError(f"{image.path}: {why}")
    return f"{IN_PIECES} --connected-components." if numbers_in_pieces(top) else None


def _class_weights(options: Options, summary: LabelSummary) -> ClassWeights:
    if isinstance(options.class_weights, tuple):
        classes = ClassWeights(*options.class_weights)
    else:
        classes = {
            "balanced": balanced_class_weights(summary.counts, options.class_balance),
            "freiburg": FREIBURG,
            "none": ClassWeights(0.0, 0.0),
        }[options.class_weights]
    largest = max(classes) + options.weight_map.w0
    if largest > float(np.finfo(options.dtype).max):
        raise InputError(
            f"{options.dtype} does not hold weights up to {largest:g}: use float32 "
            "or smaller weights."
        )
    logger.info("class weights: foreground %.4g, background %.4g.", *classes)
    _warn_of_few_cells(options, classes, summary)
    return classes


def _warn_of_few_cells(options: Options, classes: ClassWeights, summary: LabelSummary) -> None:
    """Warn if balanced classes weigh a ridge less than the cells beside it."""
    config = options.weight_map
    several = summary.names is not None and summary.names[0] < summary.names[1]
    if options.class_weights != "balanced" or not (several and config.w0):
        return
    across = (options.ridge + 1) * min(options.spacing or (1.0, 1.0))  # d1 + d2 on a ridge
    on_ridge = classes.background + config.w0 * math.exp(-((across / config.sigma) ** 2) / 2)
    if classes.foreground > on_ridge:
        logger.warning(
            "cells are so rare that they weigh more than the border between two of them, so a "
            "network will merge rather than separate them: lower --class-balance, for example to "
            "0.1."
        )


def _weights(
    image: Image, reading: LabelReading, classes: ClassWeights, options: Options
) -> WeightRegions:
    return WeightRegions(
        image, reading, options.weight_map, classes, options.spacing, options.dtype
    )
