"""Reproduce the paper's ISBI results (Tables 1 and 2).

    python experiments/reproduce.py u373|hela|em|all [--base-channels 64] [--dropout 0.5]
        [--tile 572] [--ridge 3] [--w0 10] [--rotation R] [--iterations 6000] [--minutes M]
        [--precision auto] [--folds ...] [--silver] [--runs runs]

Trains a network for each fold, predicts what was held out, tracks and scores it, and writes
``experiments/results/reproduction/FOLD-CHANNELS-....json`` and, from all such files,
``experiments/results.md``. The protocol is in ``experiments/README.md``. The same command goes on
where it stopped, after Ctrl-C or when --minutes are over; a fold that is finished is not repeated.
The data are looked for in the folder that the environment variable UNET2015_DATA names, then in
``data/``.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import logging
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from protocol import (
    CELLS,
    EM,
    MARGIN,
    NECK_DEPTH,
    add_settings,
    as_json,
    chosen_settings,
    data_home,
    run_name,
)
from results_table import RESULTS, write_table
from scipy.special import logit
from tqdm import tqdm

from unet2015 import __version__
from unet2015.allocation import keep_memory
from unet2015.atomic import atomic_path
from unet2015.checkpoint import Model
from unet2015.datasets.ctc import frame_number, load_sequence, sequence_frames
from unet2015.datasets.em import load_slices
from unet2015.datasets.frames import AnnotatedFrame
from unet2015.device import DeviceName, Engine, choose_engine
from unet2015.errors import InputError
from unet2015.evaluation import score_sequence, tables
from unet2015.images import read_image, write_image
from unet2015.instances import label_cells
from unet2015.metrics import THRESHOLDS, best_over_thresholds, em_score
from unet2015.necks import part_at_necks
from unet2015.prediction import predict
from unet2015.runs import read_log
from unet2015.settings import Settings
from unet2015.trackfile import write_tracks
from unet2015.tracking import Tracker
from unet2015.training import train
from unet2015.unet import UNet

CELL_FOLDS, EM_FOLDS = ("02", "01"), ("1", "2", "3", "4", "5")
"""Scored sequences, and held-out blocks of slices."""
SLICES = 6
"""Held-out slices of an EM fold; the first fold holds out the last ones."""
MIRRORINGS = (0, 2)
"""Quarter turns that give, with and without a flip, an image, its two mirrorings and both."""
CERTAIN = 1e-6
"""Probabilities nearer to 1 have no finite score in float32, so scores end at 14, and at -14."""

logger = logging.getLogger("reproduce")


class Fold(NamedTuple):
    """What is trained on, and how the rest is scored."""

    name: str
    frames: list[AnnotatedFrame]
    score: Callable[[Model, Engine, Path], dict[str, Any]]


def main() -> None:
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keep_memory()
    deadline = time.monotonic() + 60 * arguments.minutes
    engine = choose_engine(arguments.device, arguments.precision)
    names = [*CELLS, "em"] if arguments.set == "all" else [arguments.set]
    _check_folds(names, arguments.folds)
    for name in names:
        settings = chosen_settings(name, arguments)
        for fold in _folds(name, arguments.folds, arguments.silver):
            if not finish(fold, settings, engine, arguments.runs, deadline, RESULTS):
                logger.info("The time is over: the same command goes on from here.")
                return
            write_table()


def finish(
    fold: Fold,
    settings: Settings,
    engine: Engine,
    runs: Path,
    deadline: float,
    results: Path,
    build: Callable[..., UNet] = UNet,
) -> bool:
    """Train and score a fold, as far as time allows; say whether it is finished."""
    name = run_name(fold.name, settings, engine)
    target = results / f"{name}.json"
    if target.exists():
        _require_same(json.loads(target.read_text())["settings"], settings, target)
        logger.info("%s is finished: %s", name, target)
        return True
    folder = runs / name
    logger.info("%s: %d frames to train on, %s", name, len(fold.frames), engine)
    model = train(fold.frames, folder, settings, engine, True, deadline=deadline, build=build)
    log = read_log(folder)
    if log[-1].iteration < settings.training.iterations:
        return False
    found = {
        "fold": fold.name,
        "base_channels": settings.network.base_channels,
        "iterations": settings.training.iterations,
        "minutes": round(sum(line.seconds for line in log) / 60, 1),
        "device": _device(engine),
        "precision": engine.precision,
        "versions": {"unet2015": __version__, "torch": torch.__version__},
        **fold.score(model, engine, folder),
        "settings": dataclasses.asdict(settings),
        "trained_on": [frame.name for frame in fold.frames],
    }
    with atomic_path(target) as draft:
        draft.write_text(json.dumps(found, indent=1) + "\n")
    return True


def _require_same(known: dict[str, Any], settings: Settings, target: Path) -> None:
    if known != as_json(settings):
        raise SystemExit(f"{target} is of other settings: move it away to make it anew.")


def _check_folds(names: Sequence[str], wanted: Sequence[str]) -> None:
    known = dict.fromkeys(n for name in names for n in (EM_FOLDS if name == "em" else CELL_FOLDS))
    for number in wanted:
        if number not in known:
            raise InputError(
                f"there is no fold {number} of {', '.join(names)}: --folds takes "
                f"{', '.join(known)}."
            )


def _folds(name: str, wanted: Sequence[str], silver: bool) -> list[Fold]:
    numbers = wanted or (*EM_FOLDS, *CELL_FOLDS)
    if name == "em":
        return [fold for fold in _em_folds() if fold.name.removeprefix("em-") in numbers]
    return [cell_fold(name, number, silver) for number in CELL_FOLDS if number in numbers]


def cell_fold(name: str, scored: str, silver: bool) -> Fold:
    data = data_home() / CELLS[name]
    frames = load_sequence(data, {"01": "02", "02": "01"}[scored], silver)

    def score(model: Model, engine: Engine, folder: Path) -> dict[str, Any]:
        plain, parted, mirrored = (
            TrackedCells(folder / f"{scored}_{kind}") for kind in ("RES", "PARTED", "MIRRORED")
        )
        least = model.min_size
        for path in tqdm(sequence_frames(data / scored), "predicting", unit="frame"):
            number = frame_number(path)
            probabilities = _over_symmetries(read_image(path), model, engine, MIRRORINGS)
            foreground = probabilities[0] > 0.5
            plain.add(number, label_cells(foreground, least))
            parted.add(number, label_cells(part_at_necks(foreground, NECK_DEPTH), least))
            scores = logit(probabilities.clip(CERTAIN, 1 - CERTAIN))
            mirrored.add(number, label_cells(scores.mean(axis=0) > 0, least))
        truth = data / f"{scored}_GT"
        return {
            "smallest_component": least,
            **plain.score(truth),
            "parted_at_necks": {"depth": NECK_DEPTH, **parted.score(truth)},
            "mirrored": mirrored.score(truth),
        }

    return Fold(f"{name}-{scored}{'-silver' if silver else ''}", frames, score)


class TrackedCells:
    """The tracked cells of a sequence, as the challenge wants them in a folder."""

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
        slices = tqdm(held_out, "predicting", unit="slice")
        images = (frames[n].image[0] for n in slices)
        cell = np.stack([_over_symmetries(i, model, engine, range(4)).mean(0) for i in images])
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


def _over_symmetries(
    image: NDArray[Any], model: Model, engine: Engine, turns: Sequence[int]
) -> NDArray[np.float32]:
    """Probability of cell from an image (H, W) turned by quarters and flipped, turned back.

    The first of them is from the image as it is.
    """
    found = []
    for turn, flip in itertools.product(turns, (False, True)):
        turned = np.rot90(image[:, ::-1] if flip else image, turn)
        back = np.rot90(predict(turned.copy(), model, engine=engine)[1], -turn)
        found.append(back[:, ::-1] if flip else back)
    return np.stack(found)


def _device(engine: Engine) -> str:
    if engine.device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", choices=[*CELLS, "em", "all"])
    add_settings(parser)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="for this call")
    parser.add_argument(
        "--folds", nargs="+", default=[], help="scored sequences (01 02) or EM folds (1 to 5)"
    )
    parser.add_argument("--silver", action="store_true", help="cells: train on silver truth too")
    parser.add_argument("--device", choices=get_args(DeviceName), default="auto")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for the runs")
    return parser


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(str(error)) from error
