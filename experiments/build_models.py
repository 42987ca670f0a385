"""Make the small models that come with the package, by default from all annotated frames.

    python experiments/build_models.py u373|hela|em|all [--fold F] [--silver] [--runs runs]
        [--iterations 9000] ...

The settings are those of the reproduction, by default with 16 channels, tiles of 380 pixels and a
drop-out of 0.1; the scores that `unet2015 models` shows come from its results with the same
settings. Rerun the same command to resume. --fold takes the network of that fold of the
reproduction as it is, without training; it has not seen all frames.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from statistics import fmean
from typing import Any

from protocol import CELLS, EM, add_settings, as_json, chosen_settings, data_home, run_name
from results_table import BLOCKS, RESULTS, SEQUENCES

from unet2015.atomic import atomic_path
from unet2015.builtin import INDEX
from unet2015.checkpoint import load_model, save_model
from unet2015.datasets.any import load_frames
from unet2015.datasets.frames import AnnotatedFrame
from unet2015.engines.allocation import keep_memory
from unet2015.engines.device import Engine, choose_engine
from unet2015.errors import InputError
from unet2015.settings import Settings
from unet2015.training import train

CTC = {
    "citation": [
        (
            "Maska et al., The Cell Tracking Challenge: 10 years of objective benchmarking, "
            "Nature Methods 20, 1010-1020 (2023)",
            "10.1038/s41592-023-01879-y",
        )
    ],
    "terms": "those of the data: for use outside the challenge, ask their providers; for "
    "commercial use, the organizers, too",
}
ABOUT = {
    "u373": {
        "images": "glioblastoma-astrocytoma U373 cells, phase contrast",
        "pixel_size": 0.65,
        "data": "Cell Tracking Challenge PhC-C2DH-U373",
        **CTC,
    },
    "hela": {
        "images": "HeLa cells on glass, differential interference contrast",
        "pixel_size": 0.19,
        "data": "Cell Tracking Challenge DIC-C2DH-HeLa",
        **CTC,
    },
    "em": {
        "images": "neurites in serial section transmission electron micrographs; "
        "probability of cell, not of membrane",
        "pixel_size": 0.004,
        "data": "ISBI 2012 EM segmentation challenge, training stack",
        "citation": [
            (
                "Arganda-Carreras et al., Crowdsourcing the creation of image segmentation "
                "algorithms for connectomics, Frontiers in Neuroanatomy 9:142 (2015)",
                "10.3389/fnana.2015.00142",
            ),
            (
                "Cardona et al., An integrated micro- and macroarchitectural analysis of the "
                "Drosophila brain, PLoS Biology 8(10): e1000502 (2010)",
                "10.1371/journal.pbio.1000502",
            ),
        ],
        "terms": "those of the data: for making and testing non-commercial segmentation software",
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=[*ABOUT, "all"])
    parser.add_argument(
        "--fold",
        choices=[*SEQUENCES, *BLOCKS],
        help="take this fold's network from the folder of runs",
    )
    parser.add_argument("--silver", action="store_true", help="cells: train on silver truth too")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for the runs")
    add_settings(parser)
    parser.set_defaults(base_channels=16, tile=380, dropout=0.1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keep_memory()
    engine = choose_engine(precision=arguments.precision)
    for name in ABOUT if arguments.model == "all" else [arguments.model]:
        settings = chosen_settings(name, arguments)
        truth = "-silver" if arguments.silver and name in CELLS else ""
        results = _results(name, arguments.fold, truth, settings, engine)
        run = f"{name}-{arguments.fold or 'all'}{truth}"
        folder = arguments.runs / run_name(run, settings, engine)
        if arguments.fold:
            model = load_model(folder)
        else:
            frames = all_frames(name, arguments.silver)
            model = train(frames, folder, settings, engine, resume=True)
        model.network.half()  # for storage only
        save_model(INDEX.with_name(f"{name}.safetensors"), model)
        _add_to_index(name, results, bool(arguments.fold), arguments.silver)


def _results(
    name: str, fold: str | None, truth: str, settings: Settings, engine: Engine
) -> list[dict[str, Any]]:
    """Results of one fold, or of all, with the same truth, settings and precision."""
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    folds = [f"{name}-{n}{truth}" for n in ([fold] if fold else [*SEQUENCES, *BLOCKS])]
    candidates = [result for result in found if result["fold"] in folds]
    wanted = as_json(settings), engine.precision
    results = [r for r in candidates if (r["settings"], r["precision"]) == wanted]
    if not results:
        raise SystemExit(
            f"{RESULTS} has no result of {name} with these settings in {engine.precision}: run "
            "reproduce.py with them, or give settings, such as --precision or --interpolation, of "
            "which there is one."
        )
    return results


def all_frames(name: str, silver: bool) -> list[AnnotatedFrame]:
    if name == "em":
        return load_frames(data_home() / EM)
    return load_frames(data_home() / CELLS[name], ("01", "02"), silver)


def _add_to_index(name: str, results: list[dict[str, Any]], is_fold: bool, silver: bool) -> None:
    """Add a model to the index, with the score of its fold or, without one, of all folds."""
    if is_fold:
        data = f"without {_held_out(results[0])}"
        score = f"{_scores(results)}, which it was not trained on"
    else:
        networks = "networks" if len(results) > 1 else "a network"
        data, score = "all of it", f"{_scores(results)}, by {networks} not trained on them"
    about, training = ABOUT[name], results[0]["settings"]["training"]
    if name in CELLS:
        data = f"gold truth{' and silver truth' if silver else ''}, {data}"
    data += f"; {training['iterations']} steps, tiles of {training['tile']} pixels"
    index = json.loads(INDEX.read_text()) if INDEX.exists() else {}
    index[name] = about | {"data": f"{about['data']}, {data}", "score": score}
    with atomic_path(INDEX) as draft:
        draft.write_text(json.dumps(index, indent=2) + "\n")


def _held_out(result: dict[str, Any]) -> str:
    if "held_out" in result:
        return f"slices {result['held_out'][0]} to {result['held_out'][-1]}"
    return f"sequence {result['fold'].split('-')[1]}"


def _scores(results: list[dict[str, Any]]) -> str:
    """Describe the scores: on each sequence of cells, or the mean over the EM folds."""
    if "held_out" not in results[0]:
        return "; ".join(f"SEG {result['SEG']:.3f} on {_held_out(result)}" for result in results)
    errors = [fmean(r["argmax"][name] for r in results) for name in ("pixel_error", "rand_error")]
    found = "pixel error {:.4f}, Rand error {:.4f} at a threshold of 0.5".format(*errors)
    held_out = (
        f"mean of {len(results)} folds" if len(results) > 1 else f"on {_held_out(results[0])}"
    )
    return f"{found}, {held_out}, with `predict --average rotated`"


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(str(error)) from error
