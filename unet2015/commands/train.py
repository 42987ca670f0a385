"""Train the U-Net of 2015.

DATA is a data set of the Cell Tracking Challenge (with --sequences), the data set of the ISBI 2012
EM challenge, or a folder with images/ and labels/ that hold files of the same names (TIFF or PNG;
the planes of a stack count as frames). The run is written to --out: model.safetensors for
`unet2015 predict`, checkpoint.safetensors for --resume, log.csv and loss.png.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, Suppress, arg

from ..augment import AugmentationConfig
from ..checkpoint import Model
from ..datasets.any import load_frames
from ..datasets.checks import warn_of_doubts
from ..datasets.frames import AnnotatedFrame
from ..engines.allocation import keep_memory
from ..engines.device import DeviceName, Engine, Precision, choose_engine
from ..errors import InputError, counted, some
from ..images.opening import image_files
from ..instances import foreground, label_cells
from ..metrics import seg_score, sequence_seg
from ..pictures import draw_loss
from ..prediction import predict
from ..progress import duration
from ..report import Report, check_page, write_page
from ..report.gathering import read_run, score_predictions, weigh
from ..runs import CHECKPOINT_FILE, CURVE_FILE, check_folder, read_log
from ..schedule import TrainingConfig
from ..settings import Settings, check, check_frames
from ..sizes import border, output_size, valid_input_size
from ..training import train
from ..unet import UNetConfig
from ..weightmap import WeightMapConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Network(UNetConfig):
    """Options of the network. The defaults are the paper's (Sec. 2, Fig. 1)."""

    # Determined by the data.
    in_channels: Suppress[int] = UNetConfig.in_channels
    num_classes: Suppress[int] = UNetConfig.num_classes


@dataclass(frozen=True)
class Options:
    """Options of ``unet2015 train``."""

    data: Annotated[Positional[Path], arg(metavar="DATA")]
    """Folder of the data set."""
    out: Annotated[Path, arg(aliases=["-o"])]
    """Folder for the run."""
    sequences: tuple[str, ...] = ()
    """CTC sequences to train on, such as 01."""
    silver: FlagCreatePairsOff[bool] = False
    """Also train on the frames of these sequences that have only silver truth (01_ST)."""
    validation_sequences: tuple[str, ...] = ()
    """CTC sequences to score at every --interval, such as 02; they are not trained on."""
    validation_data: Path | None = None
    """Folder of another data set, such as one of images/ and labels/, to score at every --interval;
    --validation-sequences are then of this one."""
    resume: FlagCreatePairsOff[bool] = False
    """Resume the run in --out from its last checkpoint."""
    device: DeviceName = "auto"
    """Device to compute on; auto uses an NVIDIA GPU if there is one."""
    precision: Precision = "auto"
    """Precision of the convolutions; auto uses bfloat16 where the hardware supports it."""
    report: Path | None = None
    """HTML page to write at the end; it includes the validation sequences, if any."""
    network: OmitArgPrefixes[Network] = field(default_factory=Network)
    training: OmitArgPrefixes[TrainingConfig] = field(default_factory=TrainingConfig)
    augmentation: OmitArgPrefixes[AugmentationConfig] = field(default_factory=AugmentationConfig)
    weight_map: OmitArgPrefixes[WeightMapConfig] = field(default_factory=WeightMapConfig)


def run(options: Options) -> None:
    """Train the network."""
    if options.report is not None:
        check_page(options.report)
    _check_validation(options)
    keep_memory()
    network = UNetConfig(**asdict(options.network))
    settings = Settings(network, options.training, options.augmentation, options.weight_map)
    check(settings)  # as all that does not need the data, before they are read
    _warn_of_small_output(settings)
    engine = choose_engine(options.device, options.precision)
    _check_out(options)
    frames = load_frames(options.data, options.sequences, options.silver)
    if options.sequences and not options.training.margin:
        logger.warning(
            "--margin is 0: most data sets of the challenge do not annotate cells entirely within "
            "the outer 50 pixels; without --margin 50 these are learned as background."
        )
    held_out = _read_held_out(options, frames)
    channels = len(frames[0].image)
    of = f" of {channels} channels" * (channels > 1)
    logger.info("%s%s; computing on %s.", counted(len(frames), "annotated frame"), of, engine)
    settings = replace(settings, network=replace(network, in_channels=channels))
    check_frames(settings, held_out)
    validate = _validation(held_out, engine, options.training.margin) if held_out else None
    with _explain_interruption(options):
        model = train(
            frames, options.out, settings, engine, resume=options.resume, validate=validate
        )
    draw_and_log(options.out)
    if options.report is not None:
        _write_page(options.report, options.out, frames, held_out, model, engine)


def _check_out(options: Options) -> None:
    """Refuse a folder that the run must not be written to."""
    if options.resume and not options.out.is_dir():
        raise InputError(
            f"{options.out} holds no run to resume: correct the folder, or omit --resume."
        )
    data = [data for data in (options.data, options.validation_data) if data is not None]
    if any(_is_part(options.out.resolve(), each.resolve()) for each in data):
        raise InputError(f"{options.out} is where the data are: give another folder with --out.")
    check_folder(options.out, options.resume)
    if options.out.is_dir() and not options.resume and (images := image_files(options.out)):
        raise InputError(
            f"{options.out} holds images, such as {images[0].name}: give the run a folder of its "
            "own with --out."
        )


def _warn_of_small_output(settings: Settings) -> None:
    """Warn if the network judges so little of a tile that most of the work is on its border."""
    depth = settings.network.depth
    judged = output_size(settings.training.tile, depth)
    enough = math.ceil(2 / 3 * border(depth))  # a quarter of the side of such a tile
    if judged < enough:
        logger.warning(
            "each step learns from %d x %d pixels only: a larger --tile, from %d on, learns more.",
            judged,
            judged,
            valid_input_size(enough, depth),
        )


def _read_held_out(options: Options, frames: Sequence[AnnotatedFrame]) -> list[AnnotatedFrame]:
    """Read the frames for validation, if any; warn of those that are trained on."""
    if not (options.validation_sequences or options.validation_data):
        return []
    held_out = load_frames(options.validation_data or options.data, options.validation_sequences)
    warn_of_doubts(held_out)
    trained = {frame.image.tobytes() for frame in frames}
    if shared := [frame.name for frame in held_out if frame.image.tobytes() in trained]:
        logger.warning("%s: both trained on and used for validation.", some(shared))
    return held_out


@contextmanager
def _explain_interruption(options: Options) -> Iterator[None]:
    """Say at Ctrl-C how to resume, or that there is nothing to resume yet."""
    try:
        yield
    except KeyboardInterrupt:
        if (options.out / CHECKPOINT_FILE).exists():
            raise KeyboardInterrupt("--resume resumes from the last checkpoint") from None
        first = min(options.training.interval, options.training.iterations)
        raise KeyboardInterrupt(f"before the first checkpoint, at iteration {first}") from None


def _is_part(out: Path, data: Path) -> bool:
    """Whether `out` is the folder of the data, or is or lies in one of images or labels in it."""
    if data not in out.parents:
        return out == data
    part = out.relative_to(data).parts[0]
    is_of_challenge = re.fullmatch(r"\d\d(_GT|_ST)?", part) and (data / f"{part[:2]}_GT").is_dir()
    return part in ("images", "labels") or bool(is_of_challenge)


def _check_validation(options: Options) -> None:
    """Refuse to score what is trained on."""
    other = options.validation_data
    if other is not None and other.resolve() != options.data.resolve():
        return
    if both := set(options.sequences) & set(options.validation_sequences):
        raise InputError(
            f"sequence {min(both)} is given for training and for validation: choose one of the two."
        )
    if other is not None and not options.validation_sequences:
        raise InputError(f"{other} is the data to train on: give other data for validation.")


def draw_and_log(folder: Path) -> None:
    """Draw the loss curve of a run and log a summary."""
    lines = read_log(folder)
    draw_loss(folder / CURVE_FILE, lines)
    seconds = sum(line.seconds for line in lines) or 0.01  # rounded, so all may be 0
    waited = sum(line.seconds * line.waiting_share for line in lines)
    logger.info(
        "%d iterations in %s, %.1f %% of the time waiting for data. Model, log and loss curve are "
        "in %s.",
        lines[-1].iteration,
        duration(seconds),
        100 * waited / seconds,
        folder,
    )


def _validation(
    frames: Sequence[AnnotatedFrame], engine: Engine, margin: int
) -> Callable[[Model], float]:
    if not any(seg_score(f.labels, f.labels, margin=margin).values.size for f in frames):
        raise InputError(
            f"all cells of the validation data lie within the margin of {margin} pixels: lower "
            "--margin, or choose other data."
        )

    def seg(model: Model) -> float:
        return sequence_seg(
            seg_score(frame.labels, _find_cells(frame, model, engine), margin=margin)
            for frame in frames
        )

    return seg


def _find_cells(frame: AnnotatedFrame, model: Model, engine: Engine) -> NDArray[np.uint32]:
    return label_cells(foreground(predict(frame.image, model, engine=engine)), model.min_size)


def _write_page(
    page: Path,
    folder: Path,
    frames: Sequence[AnnotatedFrame],
    validation: Sequence[AnnotatedFrame],
    model: Model,
    engine: Engine,
) -> None:
    scored = None
    if validation:
        cells = [_find_cells(frame, model, engine) for frame in validation]
        margin = model.settings["training"]["margin"]
        scored = score_predictions(validation, cells, f"of {folder}", margin)
    title = f"unet2015: training run {folder.resolve().name}"
    write_page(page, Report(title, read_run(folder), weigh(frames, model.settings), scored))
