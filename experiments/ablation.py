"""What each ingredient of the paper buys: the recipe without one of them at a time.

    python experiments/ablation.py [--sets u373 hela] [--folds 01 02] [--base-channels 8]
        [--iterations 3000] [--seeds 0 1 2] [--interpolation nearest] [--precision auto]
        [--minutes M] [--runs runs]

The folds of each set are trained and scored as in the reproduction, at reduced size; see
``experiments/README.md``. Writes ``experiments/results/ablation/*.json`` and, from all of these,
``experiments/ablation.md``. Rerun the same command to resume.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby, product
from pathlib import Path
from typing import Any, NamedTuple, get_args

from folds import sequence_fold
from protocol import CELLS, MARGIN
from reproduce import finish
from results_table import HERE, SEQUENCES, markdown
from torch import nn

from unet2015.augment import AugmentationConfig, Interpolation
from unet2015.engines.allocation import keep_memory
from unet2015.engines.device import Precision, choose_engine
from unet2015.errors import InputError
from unet2015.schedule import TrainingConfig
from unet2015.settings import Settings
from unet2015.unet import UNet, UNetConfig
from unet2015.weightmap import WeightMapConfig

RESULTS = HERE / "results" / "ablation"
TABLE = HERE / "ablation.md"
TILE, DROPOUT = 380, 0.1
"""As in the reproduction with few channels."""
SMALL_TILE, LARGE_TILE = 192, 384
"""The multiples of 16 nearest to the output of such a tile, 196, and to the tile itself: padded
networks that predict, or see, about as many pixels per step as the others."""


class PaddedUNet(UNet):
    """The U-Net of most ports: zero padding keeps the output as large as the input."""

    def __init__(self, **config: object) -> None:
        super().__init__(**config)  # type: ignore[arg-type]
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                module.padding = (1, 1)
        self.border = 0

    def output_size(self, input_size: int) -> int:
        """The input size, which must be a multiple of the step."""
        if input_size % self.step:
            raise InputError(f"{input_size} is not a multiple of {self.step}.")
        return input_size

    def valid_input_size(self, output_size: int) -> int:
        """`output_size`, rounded up to a multiple of the step."""
        return math.ceil(output_size / self.step) * self.step


class Variant(NamedTuple):
    """The recipe with at most one ingredient changed."""

    weight_map: WeightMapConfig = WeightMapConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    tile: int = TILE
    build: Callable[..., UNet] = UNet


VARIANTS = {
    "full recipe": Variant(),
    "without border weights": Variant(weight_map=WeightMapConfig(w0=0)),
    "without elastic deformation": Variant(augmentation=AugmentationConfig(deformation_sigma=0)),
    "padded convolutions": Variant(tile=SMALL_TILE, build=PaddedUNet),
    "padded convolutions on large tiles": Variant(tile=LARGE_TILE, build=PaddedUNet),
}


def main() -> None:
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keep_memory()
    deadline = time.monotonic() + 60 * arguments.minutes
    engine = choose_engine(precision=arguments.precision)
    cases = product(arguments.seeds, arguments.sets, arguments.folds, VARIANTS.items())
    for seed, name, scored, (title, variant) in cases:
        fold = sequence_fold(name, scored, silver=False)
        settings = Settings(
            UNetConfig(base_channels=arguments.base_channels, dropout=DROPOUT),
            TrainingConfig(
                iterations=arguments.iterations, seed=seed, tile=variant.tile, margin=MARGIN
            ),
            replace(variant.augmentation, interpolation=arguments.interpolation),
            variant.weight_map,
        )
        named = fold._replace(name=f"{fold.name}-{title.replace(' ', '-')}")
        if not finish(named, settings, engine, arguments.runs, deadline, RESULTS, variant.build):
            logging.info("The time is over: rerun the same command to resume.")
            return
        write_table()


def write_table() -> None:
    """Write the table of all results found, one row per variant."""
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    blocks = [f"# Ablation\n\nMade by `python experiments/ablation.py`. {__doc__.splitlines()[0]}"]
    head = ["SEG, mean over folds and seeds (runs)"]
    head += [f"{name}{ending}" for name in CELLS.values() for ending in ("", ", parted at necks")]
    for size, group in groupby(sorted(found, key=_size), _size):
        results = list(group)
        rows = [
            [title, *(cell for name in CELLS for cell in _means(results, name, title))]
            for title in VARIANTS
        ]
        rows = [row for row in rows if any(row[1:])]
        title = "{} channels, {} iterations, learning rate {}, {}, {} interpolation".format(*size)
        blocks.append(f"## {title}\n\n{markdown(head, rows)}")
    TABLE.write_text("\n\n".join(blocks) + "\n")


def _size(result: dict[str, Any]) -> tuple[int, int, float, str, str]:
    rate = result["settings"]["training"]["learning_rate"]
    interpolation = result["settings"]["augmentation"]["interpolation"]
    return result["base_channels"], result["iterations"], rate, result["precision"], interpolation


def _means(found: list[dict[str, Any]], name: str, title: str) -> list[str]:
    """Mean SEG of the cells as predicted, and of the cells parted at necks.

    Empty unless the variant has results for every fold and seed of the full recipe.
    """
    wanted, found_here = (
        _by_fold_and_seed(found, name, each) for each in (next(iter(VARIANTS)), title)
    )
    if not wanted or not wanted.keys() <= found_here.keys():
        return ["", ""]
    of_variant = [found_here[run] for run in wanted]
    judged = of_variant, [result["parted_at_necks"] for result in of_variant]
    means = [sum(scores["SEG"] for scores in each) / len(each) for each in judged]
    return [f"{mean:.4f} ({len(of_variant)})" for mean in means]


def _by_fold_and_seed(
    found: list[dict[str, Any]], name: str, title: str
) -> dict[tuple[str, int], dict[str, Any]]:
    folds = {f"{name}-{scored}-{title.replace(' ', '-')}": scored for scored in SEQUENCES}
    results: dict[tuple[str, int], dict[str, Any]] = {}
    for result in found:
        if result["fold"] in folds:
            run = folds[result["fold"]], result["settings"]["training"]["seed"]
            if run in results:
                raise SystemExit(f"two results of {result['fold']}, seed {run[1]}: remove one.")
            results[run] = result
    return results


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--folds", nargs="+", choices=SEQUENCES, default=list(SEQUENCES))
    parser.add_argument("--base-channels", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=3000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--interpolation",
        choices=get_args(Interpolation),
        default=AugmentationConfig.interpolation,
    )
    parser.add_argument("--precision", choices=get_args(Precision), default="auto")
    parser.add_argument("--minutes", type=float, default=math.inf, help="for this call")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for the runs")
    return parser


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(str(error)) from error
