"""Write ``experiments/results.md`` from all results of the reproduction.

python experiments/results_table.py
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from unet2015.evaluation.tables import EM_NAMES

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "reproduction"
TABLE = HERE / "results.md"

SEQUENCES = ("02", "01")
"""Folds of cells: the scored sequence; the other one is trained on."""
THIRDS = ("late", "middle", "early")
"""Further folds of cells: the held-out third (in time) of both sequences, the last one first."""
BLOCKS = ("1", "2", "3", "4", "5")
"""EM folds: the held-out block of slices, the last one first."""
TITLES = {"u373": "PhC-C2DH-U373", "hela": "DIC-C2DH-HeLa", "em": "ISBI 2012 EM"}
PAPER_SEG = {"u373": 0.9203, "hela": 0.7756}
"""Table 2 of the paper, on the challenge's hidden sequences."""
PAPER_EM = {
    "pixel_error": 0.0611,
    "pixel_f_error": 0.0611,
    "rand_error": 0.0382,
    "warping_error": 0.000353,
    "splits_and_mergers": 0.000353,
}
"""Table 1 of the paper, on the challenge's hidden labels, each at its best threshold.

The challenge's page gives two forms of the pixel error without saying which was ranked, and its
warping error counts splits and mergers only, so the paper's figures stand beside both forms.
"""
LATER_EM = {"v_rand": 0.973, "v_info": 0.987}
"""The authors' entry by the challenge's later measures, at its best thresholds.

Quoted by Drozdzal et al., "The Importance of Skip Connections in Biomedical Image Segmentation",
2016, Table 1. Some early results lack V_rand, which was not yet the mean of the slices.
"""
EM_COLUMNS = (*PAPER_EM, *LATER_EM)
RUN_COLUMNS = (
    "channels",
    "drop-out",
    "tile",
    "ridge",
    "margin",
    "w0",
    "rotation",
    "interpolation",
    "iterations",
    "learning rate",
    "seed",
    "precision",
    "minutes",
)
EMPTY = [""] * len(RUN_COLUMNS)
BOTH = ", thirds of both sequences"
"""Ends the names of lines whose networks were trained on parts of both sequences."""
OTHER_LINES = {"mirrored": ", mirrored", "parted_at_necks": ", parted at necks"}
"""Ends of the names of further lines by their keys in a result: other ways to find the cells."""

HEAD = """# Results of the reproduction

Made by `python experiments/reproduce.py` from the files in `experiments/results/reproduction`,
which hold every setting. The protocol is in [README.md](README.md). The paper's figures come from
the challenges' hidden test sets, ours from held-out parts of the public ones.
"""


def write_table(results: Path = RESULTS) -> None:
    """Rewrite the table of a folder of results; for folders other than ours, inside the folder."""
    found = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    blocks = [HEAD]
    for name, title in TITLES.items():
        of_set = [result for result in found if result["fold"].split("-")[0] == name]
        if of_set:
            table = em_table(of_set) if name == "em" else cell_table(name, of_set)
            blocks.append(f"## {title}\n\n{table}\n")
    path = TABLE if results.resolve() == RESULTS else results / TABLE.name
    path.write_text("\n".join(blocks))


def cell_table(name: str, found: list[dict[str, Any]]) -> str:
    """Lines for each scored sequence, and the means over both for each kind of run."""
    rows = []
    for kind, group in _grouped(found):
        results = _sequences_of_thirds(list(group)) if kind.startswith(BOTH) else list(group)
        for key, ending in ("", ""), *OTHER_LINES.items():
            scored = [result for result in results if not key or key in result]
            judged = [result[key] if key else result for result in scored]
            for result, scores in zip(scored, judged, strict=True):
                fold, *start = _start(result)
                rows.append([fold + ending, *start, *_scores(scores), result["device"]])
            if len(scored) == len(SEQUENCES):
                means = [_mean(judged, key) for key in ("SEG", "DET", "TRA")]
                rows.append([f"**mean{kind}{ending}**", *_shown(results[0]), "", *means, *[""] * 4])
    rows.append(["paper (hidden test set)", "64", *EMPTY[1:], f"{PAPER_SEG[name]:.4f}", *[""] * 6])
    columns = ["scored", *RUN_COLUMNS, "SEG", "DET", "TRA", "cells", "without match"]
    return markdown([*columns, "IoU of the matched", "device"], rows)


def em_table(found: list[dict[str, Any]]) -> str:
    """A line for each fold: each measure at a probability of 0.5 and at its best threshold."""
    rows = []
    for kind, group in _grouped(found):
        results = list(group)
        for result in results:
            scores = [_at_half_and_best(result, name) for name in EM_COLUMNS]
            rows.append([*_start(result), *scores, result["device"]])
        if len(results) == len(BLOCKS):
            means = [_mean_of_bests(results, name) for name in EM_COLUMNS]
            rows.append([f"**mean{kind}** (best)", *_shown(results[0]), "", *means, ""])
    paper = [f"{value:g}" for value in (PAPER_EM | LATER_EM).values()]
    rows.append(["paper (hidden labels, best)", "64", *EMPTY[1:], *paper, ""])
    names = [EM_NAMES[name] for name in EM_COLUMNS]
    return markdown(["fold", *RUN_COLUMNS, *names, "device"], rows)


def _grouped(found: list[dict[str, Any]]) -> Iterator[tuple[str, Iterable[dict[str, Any]]]]:
    """Groups of results that differ in nothing but the fold, each with its `_kind`."""

    def run(result: dict[str, Any]) -> tuple[str, list[float | str], str]:
        settings = json.dumps(result["settings"], sort_keys=True)
        return _kind(result["fold"]), _run(result), settings

    by_run = sorted(found, key=lambda result: (run(result), result["fold"]))
    for (kind, *_), group in groupby(by_run, run):
        yield kind, group


def _kind(fold: str) -> str:
    """End of a name: training data other than the gold truth of one sequence, or of slices."""
    _, held_out, *silver = fold.split("-")
    return (BOTH if held_out in THIRDS else "") + (", silver truth added" if silver else "")


def _sequences_of_thirds(thirds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Results by sequence, merged from the three thirds; empty until all are there."""
    if len(thirds) < len(THIRDS):
        return []
    name, kind = thirds[0]["fold"].split("-")[0], _kind(thirds[0]["fold"])
    minutes = round(sum(third["minutes"] for third in thirds), 1)
    return [
        thirds[0]
        | {key: _of_sequence([third[key] for third in thirds], sequence) for key in OTHER_LINES}
        | _of_sequence(thirds, sequence)
        | {"fold": f"{name}-{sequence}{kind}", "minutes": minutes}
        for sequence in sorted(SEQUENCES)
    ]


def _of_sequence(thirds: list[dict[str, Any]], sequence: str) -> dict[str, Any]:
    """The cells of a sequence, and their mean SEG."""
    cells = [cell for third in thirds for cell in third["cells"]]
    cells = [cell for cell in cells if cell["frame"].split("/")[1] == sequence]
    return {"SEG": _average(cell["SEG"] for cell in cells), "cells": cells}


def _run(result: dict[str, Any]) -> list[float | str]:
    """The values of RUN_COLUMNS but for the minutes."""
    settings = result["settings"]
    network, training = settings["network"], settings["training"]
    return [
        result["base_channels"],
        network["dropout"],
        training["tile"],
        training["ridge"],
        training["margin"],
        settings["weight_map"]["w0"],
        round(settings["augmentation"]["rotation"]),
        settings["augmentation"]["interpolation"],
        result["iterations"],
        training["learning_rate"],
        training["seed"],
        result["precision"],
    ]


def _shown(result: dict[str, Any]) -> list[str]:
    return [value if isinstance(value, str) else f"{value:g}" for value in _run(result)]


def _start(result: dict[str, Any]) -> list[str]:
    return [result["fold"], *_shown(result), str(result["minutes"])]


def _scores(result: dict[str, Any]) -> list[str]:
    overlaps = [cell["SEG"] for cell in result["cells"]]
    found = [overlap for overlap in overlaps if overlap > 0]
    return [
        *(_number(result.get(key)) for key in ("SEG", "DET", "TRA")),
        str(len(overlaps)),
        str(len(overlaps) - len(found)),
        f"{_average(found):.4f}",
    ]


def _at_half_and_best(result: dict[str, Any], name: str) -> str:
    if name not in result["best"]:
        return ""
    best = result["best"][name]
    return f"{result['argmax'][name]:.5f} / {best['value']:.5f} (at {best['threshold']:g})"


def _mean_of_bests(results: list[dict[str, Any]], name: str) -> str:
    if any(name not in result["best"] for result in results):
        return ""
    return f"{_average(result['best'][name]['value'] for result in results):.5f}"


def _mean(results: list[dict[str, Any]], key: str) -> str:
    if any(result.get(key) is None for result in results):
        return ""
    return f"**{_average(result[key] for result in results):.4f}**"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _average(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else math.nan


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    """Format a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    write_table()
