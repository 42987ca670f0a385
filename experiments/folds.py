"""The folds of the reproduction: their training frames, and how the held-out part is scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from protocol import CELLS, EM, MARGIN, NECK_DEPTH, data_home
from results_table import BLOCKS, SEQUENCES, THIRDS
from tqdm import tqdm

from unet2015.checkpoint import Model
from unet2015.datasets.ctc import load_sequence
from unet2015.datasets.em import load_slices
from unet2015.datasets.frames import AnnotatedFrame
from unet2015.engines.device import Engine
from unet2015.evaluation import score_annotated, score_sequence, tables
from unet2015.images import read_image, write_image
from unet2015.instances import foreground, label_cells
from unet2015.instances.necks import part_at_necks
from unet2015.labelfiles.ctcnames import frame_digits, sequence_frames
from unet2015.labelfiles.trackfile import write_tracks
from unet2015.metrics import THRESHOLDS, best_over_thresholds, em_score
from unet2015.prediction import predict
from unet2015.tracking import Tracker

GAP = 10
"""Frames left out of training before and after a held-out third."""
SLICES = 6
"""Slices per held-out block."""


class Fold(NamedTuple):
    """Training frames, and how the rest is scored."""

    name: str
    frames: list[AnnotatedFrame]
    score: Callable[[Model, Engine, Path], dict[str, Any]]


def known_folds(name: str) -> tuple[str, ...]:
    """Names of all folds of a data set."""
    return BLOCKS if name == "em" else SEQUENCES + THIRDS


def folds(name: str, wanted: Sequence[str], silver: bool) -> list[Fold]:
    """Return the wanted folds of a data set, by default all but the thirds."""
    numbers = wanted or (*BLOCKS, *SEQUENCES)
    if name == "em":
        return [fold for fold in _em_folds() if fold.name.removeprefix("em-") in numbers]
    return [
        *(sequence_fold(name, scored, silver) for scored in SEQUENCES if scored in numbers),
        *(_third_fold(name, third, silver) for third in THIRDS if third in numbers),
    ]


def sequence_fold(name: str, scored: str, silver: bool) -> Fold:
    """Train on one sequence of cells; track and score the other, all frames of it."""
    data = data_home() / CELLS[name]
    frames = load_sequence(data, {"01": "02", "02": "01"}[scored], silver)

    def score(model: Model, engine: Engine, folder: Path) -> dict[str, Any]:
        kinds = ("RES", "PARTED", "MIRRORED")
        lines = [TrackedCells(folder / f"{scored}_{kind}") for kind in kinds]
        for path in tqdm(sequence_frames(data / scored).values(), "predicting", unit="frame"):
            for line, cells in zip(lines, _cells(read_image(path), model, engine), strict=True):
                line.add(frame_digits(path), cells)
        return _three_lines(model, *(line.score(data / f"{scored}_GT") for line in lines))

    return Fold(_fold_name(name, scored, silver), frames, score)


def _third_fold(name: str, third: str, silver: bool) -> Fold:
    """Train on two thirds (in time) of both sequences of cells; score the other third, untracked.

    Frames next to the scored ones look nearly the same, so they are left out of training.
    """
    data = data_home() / CELLS[name]
    trained: list[AnnotatedFrame] = []
    scored: list[AnnotatedFrame] = []
    for sequence in sorted(SEQUENCES):
        frames = len(sequence_frames(data / sequence))
        number = THIRDS[::-1].index(third)
        begin, end = (frames * n // len(THIRDS) for n in (number, number + 1))
        gold = load_sequence(data, sequence)
        annotated = load_sequence(data, sequence, silver) if silver else gold
        trained += [f for f in annotated if not begin - GAP <= _time(f) < end + GAP]
        scored += [f for f in gold if begin <= _time(f) < end]

    def score(model: Model, engine: Engine, _folder: Path) -> dict[str, Any]:
        images = tqdm([frame.image[0] for frame in scored], "predicting", unit="frame")
        found = zip(*(_cells(image, model, engine) for image in images), strict=True)
        lines = (tables.summary(score_annotated(scored, cells, MARGIN), MARGIN) for cells in found)
        return _three_lines(model, *lines)

    return Fold(_fold_name(name, third, silver), trained, score)


def _time(frame: AnnotatedFrame) -> int:
    """Number of a frame in its sequence."""
    return int(frame.name.rpartition("/t")[2])


def _three_lines(
    model: Model, plain: dict[str, Any], parted: dict[str, Any], mirrored: dict[str, Any]
) -> dict[str, Any]:
    """Combine the scores of the protocol's three lines into one result."""
    return {
        "smallest_component": model.min_size,
        **plain,
        "parted_at_necks": {"depth": NECK_DEPTH, **parted},
        "mirrored": mirrored,
    }


def _fold_name(name: str, held_out: str, silver: bool) -> str:
    return f"{name}-{held_out}{'-silver' if silver else ''}"


def _cells(image: NDArray[Any], model: Model, engine: Engine) -> list[NDArray[np.uint32]]:
    """Number the cells of an image in the three ways of the protocol."""
    plain, mirrored = (
        foreground(predict(image, model, engine=engine._replace(average=average)))
        for average in ("none", "mirrored")
    )
    masks = plain, part_at_necks(plain, NECK_DEPTH), mirrored
    return [label_cells(mask, model.min_size) for mask in masks]


class TrackedCells:
    """The tracked cells of a sequence, written to a folder in the challenge's format."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tracker = folder, Tracker()

    def add(self, number: str, cells: NDArray[np.uint32]) -> None:
        """Link the cells of the next frame and write them."""
        write_image(self.folder / f"mask{number}.tif", self.tracker.link(cells))

    def score(self, truth: Path) -> dict[str, Any]:
        """Write the tracks and score all frames."""
        if len(self.tracker.tracks):
            write_tracks(self.folder / "res_track.txt", self.tracker.tracks)
        return tables.summary(score_sequence(truth, self.folder, MARGIN), MARGIN)


def _em_folds() -> list[Fold]:
    frames = load_slices(data_home() / EM)
    blocks = [range(first, first + SLICES) for first in range(0, len(frames), SLICES)]
    return [_em_fold(frames, block, number) for number, block in enumerate(reversed(blocks), 1)]


def _em_fold(frames: list[AnnotatedFrame], held_out: range, number: int) -> Fold:
    def score(model: Model, engine: Engine, folder: Path) -> dict[str, Any]:
        rotated = engine._replace(average="rotated")
        slices = tqdm([frames[n].image for n in held_out], "predicting", unit="slice")
        cell = np.stack([predict(image, model, engine=rotated)[1] for image in slices])
        write_image(folder / "probability.tif", cell, "ZYX")
        truth = np.stack([frames[n].labels > 0 for n in held_out])
        scores = {t: em_score(truth, cell > t) for t in tqdm(THRESHOLDS, "scoring")}
        best = best_over_thresholds(list(scores.values()), list(scores))
        return {
            "held_out": list(held_out),
            "argmax": scores[0.5]._asdict(),
            "best": {name: at._asdict() for name, at in best.items()},
        }

    return Fold(f"em-{number}", [f for n, f in enumerate(frames) if n not in held_out], score)
