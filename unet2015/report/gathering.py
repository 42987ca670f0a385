"""Gather the contents of a report from folders on disk or from memory."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..builtin import MODEL_FILE
from ..datasets.frames import AnnotatedFrame, digest, in_field
from ..errors import InputError
from ..evaluation import FrameScore, SequenceScore, score_annotated, score_sequence
from ..evaluation.worst import microscope_image, read_frames, worst_cells, worst_first
from ..labelfiles.labelfolder import Components, folder_of_images
from ..weightmap import border_weight_map, separate_touching
from .content import WORST_CELLS, Report, RunRecord, ScoredFrame, ScoredResult, WeighedFrame

logger = logging.getLogger(__name__)

WORST_FRAMES = 6
"""Frames on a page, besides those of the worst cells: few, so that it can be sent by mail."""


def is_run(folder: Path) -> bool:
    """Whether a folder holds a training run."""
    return (folder / MODEL_FILE).is_file()


def read_run(folder: Path) -> RunRecord:
    """Read model and log of a training run.

    Raises
    ------
    InputError
        If the folder holds no run, or its files are damaged.
    """
    from ..checkpoint import load_model
    from ..runs import read_log
    from ..settings import Settings

    model = load_model(folder)
    return RunRecord(
        name=str(folder),
        version=model.version,
        parameters=sum(parameter.numel() for parameter in model.network.parameters()),
        settings=model.settings,
        defaults=dataclasses.asdict(Settings()),
        log=read_log(folder),
    )


def weigh(frames: Sequence[AnnotatedFrame], settings: dict[str, Any]) -> WeighedFrame:
    """Compute the weight map of the training frame with the most cells, as the training did.

    Parameters
    ----------
    frames : sequence of AnnotatedFrame
        The training set, or part of it.
    settings : dict
        Settings of the run.
    """
    frame = max(frames, key=lambda frame: np.unique(frame.labels).size)
    frame = in_field(frame, settings["training"]["margin"])
    labels = separate_touching(frame.labels, settings["training"]["ridge"])
    weights = border_weight_map(
        labels,
        settings["weight_map"]["w0"],
        settings["weight_map"]["sigma"],
        class_weights=tuple(settings["class_weights"]),
        ignore=frame.ignore,
        ridge=0,
    )
    return WeighedFrame(frame.name, frame.image.mean(axis=0), labels, weights)


def read_demo(folder: Path) -> Report:
    """Gather everything that ``unet2015 demo`` wrote to a folder."""
    run = read_run(folder / "run")
    frames = training_frames(folder / "data", run.settings)
    scored = score_result(folder / "data" / "02_GT", folder / "02_RES")
    return Report("unet2015 demo: synthetic cells", run, weigh(frames, run.settings), scored)


def training_frames(data: Path, settings: dict[str, Any]) -> list[AnnotatedFrame]:
    """Read the training frames of a run from the folder of its data set.

    Raises
    ------
    InputError
        If the folder does not hold them.
    """
    from ..datasets import em
    from ..datasets.any import load_frames

    # "data set/sequence/frame" in a data set of cell tracking, "data set/frame" in others.
    wanted = [tuple(name.split("/")[1:]) for name in settings.get("frames", [])]
    if not wanted:
        raise InputError("the run does not record its training frames: leave --data out.")
    sequences = sorted({parts[0] for parts in wanted if len(parts) == 2})
    if not (sequences or (data / "images").is_dir() or em.is_challenge(data)):
        raise InputError(
            f"{data} holds no images/, as the training set of this run did: give that, or leave "
            "--data out."
        )
    trained = _select(load_frames(data, sequences), wanted)
    silver = all((data / f"{sequence}_ST" / "SEG").is_dir() for sequence in sequences)
    if sequences and silver and len(trained) < len(wanted):
        trained = _select(load_frames(data, sequences, silver=True), wanted)
    if not trained:
        raise InputError(
            f"{data} holds none of the frames that the run was trained on: give its training data "
            "set, or leave --data out."
        )
    if len(trained) < len(wanted) or digest(trained) != settings.get("data"):
        logger.warning("%s holds other pixels or labels than the run was trained on.", data)
    return trained


def _select(
    frames: Sequence[AnnotatedFrame], wanted: Sequence[tuple[str, ...]]
) -> list[AnnotatedFrame]:
    by_name = {tuple(frame.name.split("/")[1:]): frame for frame in frames}
    return [by_name[parts] for parts in wanted if parts in by_name]


def frames_to_show(frames: Sequence[FrameScore]) -> list[FrameScore]:
    """Choose the frames with the most mistakes and those of the worst cells, worst first."""
    order = worst_first(frames)
    names = {frame.name for frame in order[:WORST_FRAMES]}
    names |= {cell.frame.name for cell in worst_cells(frames, WORST_CELLS)}
    return [frame for frame in order if frame.name in names]


def worst_frames(
    score: SequenceScore, reference: Path, result: Path, margin: int, images: Path | None
) -> ScoredResult:
    """Read the pixels of the worst frames of a scored result.

    Parameters
    ----------
    score : SequenceScore
        From `evaluation.score_sequence` with the same `reference`, `result` and `margin`.
    reference, result : Path
        The scored files.
    margin : int
        Width in pixels of the border outside the field of interest.
    images : Path, optional
        Folder of the microscope images; by default that of `folder_of_images`.
    """
    home = folder_of_images(reference, images)
    worst = frames_to_show(score.frames)
    names = {frame.name for frame in worst}
    pixels = read_frames(reference, result, names, score.components)
    frames = [
        ScoredFrame(
            frame,
            microscope_image(home, frame.name, pixels[frame.name][0].shape),
            *pixels[frame.name],
        )
        for frame in worst
    ]
    return ScoredResult(str(reference), str(result), margin, score, frames)


def score_result(
    reference: Path,
    result: Path,
    margin: int = 0,
    images: Path | None = None,
    components: Components = "none",
) -> ScoredResult:
    """Score a result and read the pixels of its worst frames.

    Parameters are those of `worst_frames` and `evaluation.score_sequence`.

    Raises
    ------
    InputError
        As `evaluation.score_sequence` and `labelfolder.folder_of_images`.
    """
    folder_of_images(reference, images)  # to fail before the scoring
    score = score_sequence(reference, result, margin, components)
    return worst_frames(score, reference, result, margin, images)


def score_predictions(
    frames: Sequence[AnnotatedFrame],
    predicted: Sequence[NDArray[Any]],
    made_by: str,
    margin: int = 0,
) -> ScoredResult:
    """Score the objects predicted in annotated frames.

    Parameters
    ----------
    frames : sequence of AnnotatedFrame
        With distinct names.
    predicted : sequence of array of int, shape (height, width)
        The objects of each frame.
    made_by : str
        Name of the result.
    margin : int
        Width in pixels of the border outside the field of interest.
    """
    score = score_annotated(frames, predicted, margin)
    found = {frame.name: (frame, cells) for frame, cells in zip(frames, predicted, strict=True)}
    shown = []
    for worst in frames_to_show(score.frames):
        frame, cells = found[worst.name]
        shown.append(ScoredFrame(worst, frame.image.mean(axis=0), frame.labels, cells))
    sources = ", ".join(sorted({frame.name.rpartition("/")[0] for frame in frames}))
    return ScoredResult(sources, made_by, margin, score, shown)
