"""Data, settings and names of the runs of the reproduction."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any, get_args

from unet2015.augment import AugmentationConfig, Interpolation
from unet2015.engines.device import Engine, Precision
from unet2015.schedule import TrainingConfig
from unet2015.settings import Settings
from unet2015.unet import UNetConfig
from unet2015.weightmap import WeightMapConfig

CELLS = {"u373": "PhC-C2DH-U373", "hela": "DIC-C2DH-HeLa"}
EM = "ISBI-2012-EM"
MARGIN = 50
"""Pixels between the image's edge and the challenge's field of interest, for both sets of cells;
only cells that reach into the field are annotated."""

NECK_DEPTH = 7
"""Depth for the line "parted at necks", in pixels; chosen on inner splits (README.md)."""


def data_home() -> Path:
    home = Path(os.environ.get("UNET2015_DATA", "data"))
    if not home.is_dir() or not any((home / name).is_dir() for name in [*CELLS.values(), EM]):
        raise SystemExit(
            f"{home} holds none of {', '.join(CELLS.values())} and {EM}: "
            "name the folder that holds them in UNET2015_DATA."
        )
    return home


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that `chosen_settings` reads, and the precision."""
    parser.add_argument("--base-channels", type=int, default=UNetConfig.base_channels)
    parser.add_argument("--dropout", type=float, default=UNetConfig.dropout)
    parser.add_argument("--tile", type=int, default=TrainingConfig.tile)
    parser.add_argument("--ridge", type=int, default=TrainingConfig.ridge)
    parser.add_argument("--w0", type=float, default=WeightMapConfig.w0)
    parser.add_argument(
        "--rotation", type=float, default=AugmentationConfig.rotation, help="degrees, either way"
    )
    parser.add_argument(
        "--interpolation",
        choices=get_args(Interpolation),
        default=AugmentationConfig.interpolation,
        help="of the images that are trained on",
    )
    parser.add_argument("--iterations", type=int, default=TrainingConfig.iterations)
    parser.add_argument("--learning-rate", type=float, default=TrainingConfig.learning_rate)
    parser.add_argument("--interval", type=int, default=TrainingConfig.interval)
    parser.add_argument("--seed", type=int, default=TrainingConfig.seed)
    parser.add_argument("--precision", choices=get_args(Precision), default="auto")


def chosen_settings(name: str, arguments: argparse.Namespace) -> Settings:
    """Settings for a data set from the options."""
    return Settings(
        UNetConfig(base_channels=arguments.base_channels, dropout=arguments.dropout),
        TrainingConfig(
            tile=arguments.tile,
            ridge=arguments.ridge,
            margin=MARGIN if name in CELLS else 0,
            iterations=arguments.iterations,
            learning_rate=arguments.learning_rate,
            interval=arguments.interval,
            seed=arguments.seed,
        ),
        AugmentationConfig(rotation=arguments.rotation, interpolation=arguments.interpolation),
        WeightMapConfig(w0=arguments.w0),
    )


def as_json(settings: Settings) -> dict[str, Any]:
    """Convert settings to their form in a result."""
    written: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(settings)))
    return written


def run_name(fold: str, settings: Settings, engine: Engine) -> str:
    """Name of a fold's run and result, with the settings that differ from the defaults."""
    values, defaults = _name_parts(settings), _name_parts(Settings())
    changed = [f"{key}{values[key]:g}" for key in values if values[key] != defaults[key]]
    how = settings.augmentation.interpolation, engine.precision
    named = [name for name in how if name not in (AugmentationConfig.interpolation, "float32")]
    return "-".join([fold, str(settings.network.base_channels), *changed, *named])


def _name_parts(settings: Settings) -> dict[str, float]:
    training = settings.training
    return {
        "tile": training.tile,
        "ridge": training.ridge,
        "margin": training.margin,
        "w0": settings.weight_map.w0,
        "rotation": settings.augmentation.rotation,
        "iterations": training.iterations,
        "rate": training.learning_rate,
        "dropout": settings.network.dropout,
        "seed": training.seed,
    }
