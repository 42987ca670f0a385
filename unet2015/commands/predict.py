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
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import FlagCreatePairsOff, Positional, arg

from .. import __version__
from ..builtin import find_built_in
from ..checkpoint import Model, digest, load_model
from ..engines.allocation import keep_memory
from ..engines.device import BackendName, DeviceName, Engine, Precision, choose_engine
from ..errors import InputError, counted
from ..fileprediction.imagefile import is_resumable, predict_file
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
from ..fileprediction.preparation import check_image, choose_engines, prepare_outputs
from ..fileprediction.results import ProbabilityType, Result
from ..labelfiles.trackfile import forget_tracks
from ..progress import Progress
from ..symmetries import Average

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
    failures, built_in = Failures(len(jobs)), find_built_in(options.model)
    images = []
    for job in jobs:
        with failures.catch(job):
            images.append(check_image(job, model, options.channels, options.tile, built_in))
    if not images:
        failures.raise_if_any()
    engines = choose_engines(images, engine, options.backend, model, resume=not options.overwrite)
    usable = [image.job for image in images]
    prepare_outputs(usable, options.out)
    _announce(usable, engines)
    warn_of_other_masks(jobs)
    purpose = _purpose(model, engine, options, any(job.is_frame for job in jobs))
    pixels = [image.pixels for image in images]
    on_disk = is_resumable(max(pixels)) or options.keep_scratch
    with (
        explain_resumption(on_disk or len(jobs) > 1, options.overwrite),
        _cluster(options, on_disk) as cluster,
        finished_jobs(jobs, purpose, options.overwrite, failures) as finished,
        Progress(total=sum(pixels), desc="predicting", unit="px", unit_scale=True) as bar,
    ):
        if done := sum(job.target.name in finished for job in usable):
            logger.info("resuming: %d of %d results are recorded as complete.", done, len(jobs))
        for (job, count, _), chosen in zip(images, engines, strict=True):
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


def _announce(jobs: Sequence[Job], engines: Sequence[Engine]) -> None:
    """Log what is about to be done."""
    least = jobs[0].result.min_size
    if any(job.result.kind == "labels" for job in jobs) and least > 1:
        logger.info("cells of fewer than %d pixels are dropped (--min-size).", least)
    logger.info("computing on %s.", "; ".join(sorted({str(chosen) for chosen in engines})))


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
        **engine.options,
        "backend": options.backend,
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
