"""Reproduce the paper's ISBI results (Tables 1 and 2).

    python experiments/reproduce.py u373|hela|em|all [--base-channels 64] [--dropout 0.5]
        [--tile 572] [--ridge 3] [--w0 10] [--rotation 180] [--iterations 6000]
        [--learning-rate L] [--minutes M] [--precision auto] [--folds ...] [--silver] [--runs runs]
        [--results DIR]

Trains a network for each fold, predicts what was held out, tracks and scores it, and writes
``experiments/results/reproduction/FOLD-CHANNELS-....json`` and, from all such files,
``experiments/results.md``. The protocol is in ``experiments/README.md``. After Ctrl-C or when
--minutes are over, rerun the same command to resume; finished folds are not repeated. The data are
read from the folder named by the environment variable UNET2015_DATA, by default ``data/``.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import torch
from folds import Fold, folds, known_folds
from protocol import (
    CELLS,
    add_settings,
    as_json,
    chosen_settings,
    run_name,
)
from results_table import RESULTS, write_table

from unet2015 import __version__
from unet2015.atomic import atomic_path
from unet2015.engines.allocation import keep_memory
from unet2015.engines.device import DeviceName, Engine, choose_engine
from unet2015.errors import InputError
from unet2015.runs import read_log
from unet2015.settings import Settings
from unet2015.training import train
from unet2015.unet import UNet

logger = logging.getLogger("reproduce")


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
        for fold in folds(name, arguments.folds, arguments.silver):
            if not finish(fold, settings, engine, arguments.runs, deadline, arguments.results):
                logger.info("The time is over: rerun the same command to resume.")
                return
            write_table(arguments.results)


def finish(
    fold: Fold,
    settings: Settings,
    engine: Engine,
    runs: Path,
    deadline: float,
    results: Path,
    build: Callable[..., UNet] = UNet,
) -> bool:
    """Train and score a fold as far as time allows; return whether it is finished."""
    name = run_name(fold.name, settings, engine)
    target = results / f"{name}.json"
    if target.exists():
        if json.loads(target.read_text())["settings"] != as_json(settings):
            raise SystemExit(f"{target} is of other settings: move it away to make it anew.")
        logger.info("%s is finished: %s", name, target)
        return True
    folder = runs / name
    logger.info("%s: %d frames to train on, %s", name, len(fold.frames), engine)
    model = train(
        fold.frames, folder, settings, engine, resume=True, deadline=deadline, build=build
    )
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
        "settings": as_json(settings),
        "trained_on": [frame.name for frame in fold.frames],
    }
    with atomic_path(target) as draft:
        draft.write_text(json.dumps(found, indent=1) + "\n")
    return True


def _check_folds(names: Sequence[str], wanted: Sequence[str]) -> None:
    known = dict.fromkeys(fold for name in names for fold in known_folds(name))
    for fold in wanted:
        if fold not in known:
            raise InputError(
                f"there is no fold {fold} of {', '.join(names)}: --folds takes {', '.join(known)}."
            )


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
        "--folds",
        nargs="+",
        default=[],
        help="scored sequences (01 02, by default), held-out thirds of both (early middle late), "
        "or EM folds (1 to 5)",
    )
    parser.add_argument("--silver", action="store_true", help="cells: train on silver truth too")
    parser.add_argument("--device", choices=get_args(DeviceName), default="auto")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for the runs")
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        help="folder for JSON and results.md; by default those of this repository are added to",
    )
    return parser


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(str(error)) from error
