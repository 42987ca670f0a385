"""Segment images, stacks and whole sequences tile by tile.

For a single image, OUT is the result file if it ends in .tif, .png or .zarr (OME-Zarr). Otherwise
OUT is a folder that gets one result of the same name per image. A Cell Tracking Challenge sequence
(a folder with t000.tif, t001.tif, ...) gives numbered cells in mask000.tif, mask001.tif, ...,
unless --classes or a --dtype is given.

Images may be larger than memory. To resume an interrupted run, repeat the same command: it resumes
within an image of 4 megapixels or more, otherwise at the first unfinished image. Its state is kept
in hidden folders next to the results, .*unet2015.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import numpy as np
from tyro.conf import FlagCreatePairsOff, Positional, arg

from .. import __version__
from ..atomic import remove_leftovers
from ..builtin import find_built_in
from ..checkpoint import Model, digest, load_model
from ..engines.allocation import keep_memory
from ..engines.backends import Backend
from ..engines.device import (
    BackendName,
    DeviceName,
    Engine,
    Precision,
    choose_backend,
    choose_engine,
)
from ..errors import InputError, counted
from ..fileprediction.imagefile import is_resumable, predict_file, scratch_folder
from ..fileprediction.inputs import plan_results
from ..fileprediction.jobs import (
    Failures,
    Finished,
    Job,
    explain_resumption,
    finished_jobs,
    is_done,
    set_done,
    warn_of_other_masks,
)
from ..fileprediction.results import ProbabilityType, Result
from ..fileprediction.scratch import unfinished_purpose
from ..images import STREAMED_FROM, check_output, open_image, select_channels
from ..images.units import warn_of_other_scale
from ..images.writing import check_own, check_planes
from ..labelfiles.trackfile import forget_tracks
from ..progress import Progress
from ..symmetries import Average
from ..tilesize import tile_grid

if TYPE_CHECKING:
    from ..fileprediction.cluster import Cluster

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Options of ``unet2015 predict``."""

    images: Annotated[
        Positional[tuple[Path, ...]],
        arg(metavar="IMAGE [IMAGE ...]", help_behavior_hint="(required)"),
    ]
    """TIFF or PNG files, Zarr folders, folders of images (NAME-predicted.tif is skipped if NAME.tif
    is there), or CTC sequence folders."""
    model: Annotated[Path, arg(aliases=["-m"])]
    """Model file, folder of a training run, or a name listed by `unet2015 models`."""
    out: Annotated[Path | None, arg(aliases=["-o"])] = None
    """Result file, or folder for the results; by default, for one image, NAME-predicted.tif next to
    it. A file named here is overwritten; other files only if unet2015 wrote them."""
    labels: FlagCreatePairsOff[bool] = False
    """Write numbered cells instead of the foreground probability."""
    classes: FlagCreatePairsOff[bool] = False
    """Write the number of the most probable class instead of the foreground probability."""
    dtype: ProbabilityType | None = None
    """Data type of the probability, by default float32; uint8 maps 0...1 to 0...255. Given for a
    CTC sequence, probabilities are written instead of cells."""
    min_size: int | None = None
    """With --labels: drop cells with fewer pixels, counted after holes are filled; by default a
    quarter of the smallest training cell."""
    fill_holes: FlagCreatePairsOff[bool] = False
    """With --labels: fill holes in cells."""
    neck_depth: float | None = None
    """With --labels: separate cells joined by a neck whose half-width is more than this many pixels
    below that of each cell; 7 suits cells about 60 to 100 pixels wide. Cells are also cut at holes:
    add --fill-holes, unless the holes are gaps between cells. Not in the paper."""
    channels: tuple[str, ...] = ()
    """Image channels to use, by name or by number from 0; by default all."""
    tile: int | None = None
    """Height and width of the input tiles in pixels, a valid size such as 572; by default as large
    as is worthwhile and fits in memory."""
    device: DeviceName = "auto"
    """Device to compute on; auto uses an NVIDIA GPU if there is one."""
    precision: Precision = "auto"
    """Precision of the convolutions; auto uses bfloat16 where the hardware supports it."""
    backend: BackendName = "auto"
    """What runs the network; auto uses NNPACK for networks of 64 base channels on a CPU with AVX2
    alone, and for large jobs OpenVINO on a CPU if it is installed, else torch.compile on a GPU or,
    in bfloat16, on a CPU with AMX."""
    average: Average = "none"
    """Average the network's output, before the softmax, over mirror images of each tile (four times
    the work; the authors' released code) or over all flips and quarter turns (eight times; the
    paper takes seven for membranes)."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Start over instead of resuming an interrupted run."""
    scheduler: str | None = None
    """Compute images of 4 megapixels or more on the Dask cluster at this address, which must see
    the same files under the same paths (needs the extra [dask])."""
    workers: int | None = None
    """Compute images of 4 megapixels or more in this many processes on this machine (needs the
    extra [dask])."""
    keep_scratch: FlagCreatePairsOff[bool] = False
    """Keep the scratch folder .NAME.unet2015 next to the result, with a Zarr of all tiles, until
    NAME is predicted again."""


def run(options: Options) -> None:
    """Predict all images."""
    _check_options(options)
    keep_memory()
    model = load_model(options.model)
    engine = choose_engine(options.device, options.precision, options.average)
    masks = options.labels or not (options.classes or options.dtype)
    jobs = [
        Job(source, target, is_frame, _result(options, model, is_frame))
        for source, target, is_frame in plan_results(options.images, options.out, masks)
    ]
    _check_kinds(options, jobs)
    failures = Failures(len(jobs))
    checked = []
    for job in jobs:
        with failures.catch(job):
            checked.append((job, *_check(job, model, options)))
    if not checked:
        failures.raise_if_any()
    usable, pixels, sizes = zip(*checked, strict=True)
    engines = _engines(engine, options.backend, pixels, sizes, model)
    if options.backend == "auto" and not options.overwrite:
        engines = [_resumed_engine(*each) for each in zip(engines, usable, strict=True)]
    _prepare_outputs(usable, options.out)
    _announce(usable, engines)
    warn_of_other_masks(jobs)
    purpose = _purpose(model, engine, options, any(job.is_frame for job in jobs))
    on_disk = is_resumable(max(pixels)) or options.keep_scratch
    with (
        explain_resumption(on_disk or len(jobs) > 1, options.overwrite),
        _cluster(options, on_disk) as cluster,
        finished_jobs(jobs, purpose, options.overwrite, failures) as finished,
        Progress(total=sum(pixels), desc="predicting", unit="px", unit_scale=True) as bar,
    ):
        if done := sum(job.target.name in finished for job in usable):
            logger.info("resuming: %d of %d results are recorded as complete.", done, len(jobs))
        for job, count, chosen in zip(usable, pixels, engines, strict=True):
            bar.set_postfix_str(job.source.name, refresh=False)
            with failures.catch(job):
                if is_done(job, finished):
                    bar.update(count)
                else:
                    _predict(job, model, chosen, options, finished, bar.update, cluster)
    failures.raise_if_any()
    out = jobs[0].target if len(jobs) == 1 else jobs[0].target.parent
    logger.info("%s in %s.", counted(len(jobs), "result"), out)


def _predict(
    job: Job,
    model: Model,
    engine: Engine,
    options: Options,
    finished: Finished,
    progress: Callable[[int], object],
    cluster: Cluster | None,
) -> None:
    """Predict one image and record that it is done."""
    is_replaced = job.target.exists()
    state = predict_file(
        job.source,
        job.target,
        model,
        engine,
        job.result,
        channels=options.channels,
        tile=options.tile,
        overwrite=options.overwrite,
        keep_scratch=options.keep_scratch,
        progress=progress,
        cluster=cluster,
    )
    if is_replaced:
        forget_tracks(job.target)
    set_done(job, state, finished)


def _check_options(options: Options) -> None:
    """Refuse options that cannot work with any image or model."""
    if options.min_size is not None and options.min_size < 0:
        raise InputError(f"--min-size is {options.min_size}: it must be at least 0 pixels.")
    if options.labels and options.classes:
        raise InputError("--labels and --classes exclude each other: choose one.")
    if options.neck_depth is not None:
        # This imports scikit-image, which takes half a second.
        from ..instances.necks import check_depth

        check_depth(options.neck_depth)
    if options.workers is not None and (options.workers < 1 or options.scheduler):
        raise InputError("--workers must be at least 1 and cannot be combined with --scheduler.")


def _check_kinds(options: Options, jobs: Sequence[Job]) -> None:
    """Refuse options for kinds of result that are not written."""
    kinds = {job.result.kind for job in jobs}
    sized, parted = options.min_size is not None, options.neck_depth is not None
    about_cells = sized or parted or options.fill_holes
    if about_cells and "labels" not in kinds:
        raise InputError(
            "--min-size, --fill-holes and --neck-depth apply to numbered cells: give --labels too."
        )
    if options.dtype is not None and "probability" not in kinds:
        raise InputError("--dtype applies to probabilities, not to cells or classes: leave it out.")


def _prepare_outputs(jobs: Sequence[Job], out: Path | None) -> None:
    """Check that the results can be written, and make their folder."""
    for job in jobs:
        check_output(job.target, [job.source])
        if job.target != out:
            check_own(job.target)
    jobs[0].target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(jobs[0].target.parent)


def _announce(jobs: Sequence[Job], engines: Sequence[Engine]) -> None:
    """Log what is about to be done."""
    least = jobs[0].result.min_size
    if any(job.result.kind == "labels" for job in jobs) and least > 1:
        logger.info("cells of fewer than %d pixels are dropped (--min-size).", least)
    logger.info("computing on %s.", "; ".join(sorted({str(chosen) for chosen in engines})))


def _engines(
    engine: Engine,
    backend: BackendName,
    pixels: Sequence[int],
    sizes: Sequence[tuple[int, ...]],
    model: Model,
) -> list[Engine]:
    """Choose the backend for each image; it is prepared once per image size."""
    total: Counter[tuple[int, ...]] = Counter()
    for count, size in zip(pixels, sizes, strict=True):
        total[size] += count
    channels = model.network.config.base_channels
    chosen = {size: choose_backend(engine, backend, total[size], channels) for size in total}
    return [chosen[size] for size in sizes]


def _resumed_engine(engine: Engine, job: Job) -> Engine:
    """The engine with the backend of the run to resume, perhaps chosen for more images."""
    device = unfinished_purpose(scratch_folder(job.target)).get("device")
    for backend in get_args(Backend):
        if str(engine._replace(backend=backend)) == device:
            return engine._replace(backend=backend)
    return engine


def _cluster(options: Options, on_disk: bool) -> AbstractContextManager[Cluster | None]:
    if options.scheduler is None and options.workers is None:
        return nullcontext()
    if not on_disk:
        logger.warning(
            "images under 4 megapixels are predicted in this process: %s is not used.",
            "--workers" if options.workers else "--scheduler",
        )
        return nullcontext()
    from ..fileprediction.cluster import Cluster

    return Cluster(options.model, options.scheduler, options.workers)


def _purpose(model: Model, engine: Engine, options: Options, has_frames: bool) -> Mapping[str, Any]:
    """All that the results in a folder depend on, except their images."""
    return {
        "model": digest(model),
        "channels": options.channels,
        "tile": options.tile or "automatic",
        "device": f"{engine}, {options.backend}",
        **asdict(_result(options, model, has_frames)),
        "version": __version__,
    }


def _result(options: Options, model: Model, is_frame: bool) -> Result:
    """The requested result; masks of a challenge sequence are labels."""
    labels = options.labels or is_frame
    return Result(
        "labels" if labels else "classes" if options.classes else "probability",
        options.dtype or "float32",
        model.min_size if options.min_size is None else options.min_size,
        options.fill_holes,
        options.neck_depth,
    )


def _check(job: Job, model: Model, options: Options) -> tuple[int, tuple[int, ...]]:
    """Check that an image can be predicted, before anything is computed.

    Returns its number of pixels, and the height and width that determine its tiles.
    """
    with open_image(job.source) as image:
        check_planes(image)
        if known := find_built_in(options.model):
            warn_of_other_scale(image.pixel_size, known.pixel_size, known.name)
        select_channels(image, options.channels, model.network.config.in_channels)
        tile_grid(image.shape[-2:], model.network, options.tile)
        axes = image.plane_axes + "YX"
        shape = (*image.plane_shape, *image.shape[-2:])
        small = axes == "YX" and prod(shape) < STREAMED_FROM
        if job.target.suffix.lower() == ".png" and not (small and job.result.stored == np.uint8):
            smaller = small and job.result.kind == "probability"
            raise InputError(
                f"{job.target}: a PNG holds one small plane of integers, not {image.describe()} of "
                f"{job.result.stored}: write a .tif{', or choose --dtype uint8' * smaller}."
            )
        return prod(shape), (options.tile,) if options.tile else image.shape[-2:]
