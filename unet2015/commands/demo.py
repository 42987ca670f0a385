"""Run the whole workflow on synthetic cells: simulate, weigh, train, predict, label and score.

Writes to --out: the simulated data set, the weight map of a frame in the style of Fig. 3, the
training run, the predicted cells of larger, unseen frames, a picture of their mistakes and the
scores, results.txt.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import arg

from ..atomic import atomic_path
from ..checkpoint import Model
from ..datasets.ctc import load_sequence
from ..datasets.synthetic import simulate, write_sequence
from ..engines.allocation import keep_memory
from ..engines.device import DeviceName, Engine, choose_engine
from ..errors import InputError
from ..evaluation import score_sequence, tables
from ..evaluation.picture import draw_mistakes
from ..images import write_image
from ..instances import foreground, label_cells
from ..prediction import predict
from ..progress import Progress
from ..report import check_page, write_page
from ..report.gathering import read_demo
from ..samples import prepare
from ..schedule import TrainingConfig
from ..settings import Settings, check
from ..training import train
from ..unet import UNetConfig
from ..weightmapfiles.picture import draw_weights
from .train import draw_and_log

logger = logging.getLogger(__name__)

# A run of a few minutes is too short for the paper's momentum, and small cells need neither a depth
# of 4 nor wide ridges.
SETTINGS = Settings(
    network=UNetConfig(base_channels=12, depth=2, dropout=0.2),
    training=TrainingConfig(
        momentum=0.9,
        learning_rate=0.05,
        warmup=50,
        tile=200,
        iterations=1300,
        ridge=1,
        interval=100,
    ),
)
TRAINING_SHAPE, TRAINING_CELLS = (320, 320), 58
UNSEEN_SHAPE, UNSEEN_CELLS = (500, 640), 195
TILE = 316
"""Smaller than the unseen frames, so that the demo shows the overlap-tile strategy."""


@dataclass(frozen=True)
class Options:
    """Options of ``unet2015 demo``."""

    out: Annotated[Path, arg(aliases=["-o"])] = Path("demo")
    """New or empty folder for all output of the demo."""
    seed: int = 0
    """Seed of the simulated cells and of the training."""
    device: DeviceName = "auto"
    """Device to compute on; auto uses an NVIDIA GPU if there is one."""
    report: Path | None = None
    """HTML page to write at the end."""


def run(options: Options) -> None:
    """Run the demo."""
    out, data = options.out, options.out / "data"
    if out.is_dir() and any(out.iterdir()):
        raise InputError(
            f"{out} already holds files: choose a new folder with --out, or delete it if an "
            "interrupted demo left it."
        )
    if options.report is not None:
        check_page(options.report)
    keep_memory()
    settings = replace(SETTINGS, training=replace(SETTINGS.training, seed=options.seed))
    check(settings)
    engine = choose_engine(options.device)
    logger.info("1/3  simulating touching cells into %s", data)
    generator = np.random.default_rng(options.seed)
    write_sequence(data, "01", simulate(8, TRAINING_SHAPE, TRAINING_CELLS, generator))
    write_sequence(data, "02", simulate(3, UNSEEN_SHAPE, UNSEEN_CELLS, generator))

    frames = load_sequence(data, "01")
    prepared, _ = prepare(frames, settings.training, settings.weight_map)
    first, drawn = frames[0], prepared[0]
    draw_weights(
        out / "weightmap.png", first.labels, drawn.target > 0, drawn.weight, first.image[0]
    )

    logger.info("2/3  training on sequence 01 (%s)", engine)
    model = train(frames, out / "run", settings, engine)
    draw_and_log(out / "run")

    logger.info(
        "3/3  predicting the larger, unseen sequence 02 in tiles of %d pixels and scoring it", TILE
    )
    _predict(out, model, engine)
    score = score_sequence(data / "02_GT", out / "02_RES")
    draw_mistakes(out / "result.png", score, data / "02_GT", out / "02_RES")
    text = tables.text(score, 0, cells=False)
    with atomic_path(out / "results.txt") as temporary:
        temporary.write_text(text + "\n")
    logger.info("\n%s\n\nImages, pictures and these scores are in %s.", text, out)
    if options.report is not None:
        write_page(options.report, read_demo(out))


def _predict(out: Path, model: Model, engine: Engine) -> None:
    """Predict the unseen sequence: cells in 02_RES, probabilities beside it."""
    for frame in Progress(load_sequence(out / "data", "02"), desc="predicting", unit="frame"):
        probabilities = predict(frame.image, model, tile=TILE, engine=engine)
        cells = label_cells(foreground(probabilities), model.min_size).astype(np.uint16)
        number = frame.name[-3:]
        write_image(out / "02_RES" / f"mask{number}.tif", cells)
        write_image(out / f"probability{number}.tif", probabilities[1])
