"""How far each engine is from PyTorch in float32, with the built-in models on real frames.

    python experiments/check_engines.py [--models u373 hela em] [--frames 10]
        [--output experiments/results/check_engines.json]

The first annotated frames of each data set are predicted by each available engine: PyTorch,
OpenVINO and torch.compile, in float32 and, where the processor supports it, in bfloat16, and NNPACK
in float32. Reported for each, over all frames:

largest, mean   difference of the probabilities
other_class     share of the pixels whose class changes
cells           connected components of PyTorch in float32, as `predict --labels` numbers them
same            cells that match a component of the engine with an IoU above 0.5
least_overlap   smallest IoU of these matches
not_in_float32  components of the engine without a match
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from build_models import ABOUT, all_frames
from fallbacks import refuse_fallbacks
from numpy.typing import NDArray
from results_table import HERE
from tqdm import tqdm

from unet2015.checkpoint import Model, load_model
from unet2015.engines.allocation import keep_memory
from unet2015.engines.backends import Backend, can_compile
from unet2015.engines.device import Engine, choose_engine
from unet2015.instances import label_cells
from unet2015.metrics import overlap_table
from unet2015.prediction import predict

EXACT = choose_engine("cpu", "float32")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=ABOUT, default=list(ABOUT))
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--output", type=Path, default=HERE / "results" / "check_engines.json")
    options = parser.parse_args()
    keep_memory()
    refuse_fallbacks()
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "processor": torch.backends.cpu.get_cpu_capability(),
        "frames": options.frames,
    }
    for name in options.models:
        images = [frame.image[0] for frame in all_frames(name, silver=False)[: options.frames]]
        model = load_model(name)
        exact = cell_probabilities(images, model, EXACT)
        found[name] = {
            str(engine): compare(exact, cell_probabilities(images, model, engine), model.min_size)
            for engine in engines()
        }
    print(json.dumps(found, indent=1))
    options.output.write_text(json.dumps(found, indent=1) + "\n")


def engines() -> Iterator[Engine]:
    """Yield the available engines but the reference, `EXACT`."""
    backends: list[Backend] = ["torch"]
    backends += ["openvino"] if EXACT.can_use_openvino else []
    backends += ["compile"] if can_compile(EXACT.device) else []
    if EXACT.can_use_nnpack:
        yield EXACT._replace(backend="nnpack")
    for dtype in dict.fromkeys((EXACT.dtype, choose_engine("cpu").dtype)):
        for backend in backends:
            engine = EXACT._replace(dtype=dtype, backend=backend)
            if engine != EXACT:
                yield engine


def cell_probabilities(
    images: list[NDArray[Any]], model: Model, engine: Engine
) -> list[NDArray[np.float32]]:
    return [predict(image, model, engine=engine)[1] for image in tqdm(images, str(engine))]


def compare(
    exact: list[NDArray[np.float32]], found: list[NDArray[np.float32]], least: int
) -> dict[str, float]:
    """Compare cell probabilities, and the cells found in them, frame by frame."""
    differences = [np.abs(a - b) for a, b in zip(exact, found, strict=True)]
    other = [(a > 0.5) != (b > 0.5) for a, b in zip(exact, found, strict=True)]
    tables = [
        overlap_table(label_cells(a > 0.5, least), label_cells(b > 0.5, least))
        for a, b in zip(exact, found, strict=True)
    ]
    same = np.concatenate([table.iou[table.iou > 0.5] for table in tables])
    return {
        "largest": float(max(part.max() for part in differences)),
        "mean": float(np.mean([part.mean() for part in differences])),
        "other_class": float(np.mean([part.mean() for part in other])),
        "cells": sum(len(table.reference_labels) for table in tables),
        "same": len(same),
        "least_overlap": float(same.min(initial=1)),
        "not_in_float32": sum(len(table.result_labels) for table in tables) - len(same),
    }


if __name__ == "__main__":
    main()
