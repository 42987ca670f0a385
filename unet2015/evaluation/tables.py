"""Scores as tables for people, and as JSON and CSV for programs."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..atomic import atomic_path, check_writable
from ..errors import InputError
from ..metrics import (
    IOU_THRESHOLDS,
    AtThreshold,
    MatchCounts,
    average_precision,
    det,
    foreground_iou,
    panoptic_quality,
    tra,
)
from .sequence import FrameScore, SequenceScore

DEFINITIONS = {
    "SEG": "mean over reference cells of the IoU with the object that holds more than half of it",
    "mean AP": "TP / (TP + FP + FN), mean over IoU 0.5 to 0.95, as in Cellpose and StarDist",
    "PQ": "panoptic quality: IoU of pairs above 0.5, summed, over TP + FP/2 + FN/2",
    "IoU": "foreground IoU: pixels that are cell in both over pixels that are cell in either",
    "DET": "detection accuracy of the challenge, over all cells of all frames",
    "TRA": "tracking accuracy of the challenge: DET with the links between frames",
    "pixel error": "share of pixels on the wrong side of the threshold",
    "pixel F error": "1 - F-score of cell pixels, the pixel error of the challenge's script",
    "Rand error": "1 - F-score of foreground-restricted pixel pairs",
    "warping error": "share of pixels left after warping by simple points (Jain et al. 2010): "
    "a border may move as long as it still touches its old position",
    "splits + mergers": "those that split or merge cells, as on the leaderboard; 0 if all membrane",
    "V_rand": "foreground-restricted Rand F-score, borders thinned, mean of the slices",
    "V_info": "foreground-restricted information F-score, borders thinned, mean of the slices",
}
MEASURES = {
    "SEG": "SEG",
    "mean AP": "mean_average_precision",
    "PQ": "panoptic_quality",
    "IoU": "foreground_iou",
    "DET": "DET",
    "TRA": "TRA",
}
"""Keys of `summary` by the names of the measures."""
EM_NAMES = {
    "pixel_error": "pixel error",
    "pixel_f_error": "pixel F error",
    "rand_error": "Rand error",
    "warping_error": "warping error",
    "splits_and_mergers": "splits + mergers",
    "v_rand": "V_rand",
    "v_info": "V_info",
}
FRAME_COLUMNS = (
    "frame", "cells", "objects", "SEG", "AP50", "mean AP", "PQ", "IoU",
    "missed", "split", "merged", "spurious",
)  # fmt: skip
CELL_COLUMNS = ("frame", "cell", "SEG", "object", "mistake")
CSV_COLUMNS = {"frames.csv": FRAME_COLUMNS, "cells.csv": CELL_COLUMNS}


def frame_rows(score: SequenceScore) -> list[tuple[Any, ...]]:
    """One row of `FRAME_COLUMNS` per frame."""
    return [
        (frame.name, *_counts_columns(frame.counts, frame.seg.mean), *map(len, frame.mistakes))
        for frame in score.frames
    ]


def cell_rows(score: SequenceScore) -> list[tuple[Any, ...]]:
    """One row of `CELL_COLUMNS` per reference cell."""
    return [row for frame in score.frames for row in cells_of(frame)]


def cells_of(frame: FrameScore) -> Iterator[tuple[Any, ...]]:
    """One row of `CELL_COLUMNS` per reference cell of a frame."""
    mistake = kinds_of_mistakes(frame)
    for label, value, matched in zip(*(a.tolist() for a in frame.seg[1:]), strict=True):
        yield frame.name, label, value, matched, mistake.get(label, "")


def text(score: SequenceScore, margin: int, *, cells: bool) -> str:
    """Tables for people: frames, cells if wanted, and the measures with their definitions."""
    frames = frame_rows(score)
    mistakes = [
        sum(map(len, kind)) for kind in zip(*(f.mistakes for f in score.frames), strict=True)
    ]
    frames.append(("all", *_counts_columns(score.counts, score.seg), *mistakes))
    blocks = [_table(FRAME_COLUMNS, frames)]
    if cells:
        blocks.append(_table(CELL_COLUMNS, cell_rows(score)))
    found = summary(score, margin)
    blocks.append(_table(("measure", "value", "definition"), measures(found)))
    notes = [field_of_interest(margin), *score.notes]
    return "\n\n".join([*blocks, "\n".join(notes)])


def measures(found: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """Name, value and definition of each measure in a `summary`."""
    return [(name, found[key], DEFINITIONS[name]) for name, key in MEASURES.items() if key in found]


def field_of_interest(margin: int) -> str:
    """Describe the part of each frame that was scored."""
    field = f"all but the outer {margin} pixels" if margin else "the whole image"
    return f"Field of interest: {field}."


def kinds_of_mistakes(frame: FrameScore) -> dict[int, str]:
    """Kind of mistake by label, for the cells that have one."""
    kinds = ("missed", "split", "merged")
    return {label: kind for kind in kinds for label in getattr(frame.mistakes, kind).tolist()}


def summary(score: SequenceScore, margin: int) -> dict[str, Any]:
    """Everything about a sequence, ready for JSON: nan becomes None."""
    counts = score.counts
    precision = average_precision(counts)
    found: dict[str, Any] = {
        "SEG": score.seg,
        "mean_average_precision": float(precision.mean()),
        "average_precision": dict(
            zip((f"{iou:.2f}" for iou in IOU_THRESHOLDS), precision.tolist(), strict=True)
        ),
        "panoptic_quality": panoptic_quality(counts),
        "foreground_iou": foreground_iou(counts),
    }
    if score.graph is not None:
        found["DET"] = det(score.graph)
        corrections = score.graph._asdict()
        if score.tracked:
            found["TRA"] = tra(score.graph)
        else:
            corrections = {k: n for k, n in corrections.items() if not k.startswith("edges")}
        found["corrections"] = corrections
    found["margin"] = margin
    found["frames"] = [dict(zip(FRAME_COLUMNS, row, strict=True)) for row in frame_rows(score)]
    found["cells"] = [dict(zip(CELL_COLUMNS, row, strict=True)) for row in cell_rows(score)]
    found["notes"] = score.notes
    return _without_nan(found)


def em_text(scores: Mapping[str, AtThreshold]) -> str:
    """Table of the EM measures for people."""
    rows = [
        (EM_NAMES[name], _number(best.value, 6), f"{best.threshold:g}", DEFINITIONS[EM_NAMES[name]])
        for name, best in scores.items()
    ]
    return _table(("measure", "value", "threshold", "definition"), rows)


def em_summary(scores: Mapping[str, AtThreshold]) -> dict[str, Any]:
    """EM measures, ready for JSON."""
    return {name: best._asdict() for name, best in scores.items()}


def check_csv(folder: Path) -> None:
    """Refuse, before scoring, a folder that `write_csv` cannot use.

    Raises
    ------
    InputError
        If it is named like a table, cannot be written to, or holds files of the same names with
        other columns.
    """
    if folder.suffix.lower() == ".csv":
        raise InputError(f"{folder} must be a folder, for several tables: leave the .csv out.")
    for name, columns in CSV_COLUMNS.items():
        path = folder / name
        check_writable(path)
        with suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
            if file.readline().rstrip() != ",".join(columns):
                raise InputError(
                    f"{path} exists and is not a table of unet2015: move it away, or give another "
                    "folder."
                )


def write_csv(folder: Path, score: SequenceScore) -> None:
    """Write ``frames.csv`` and ``cells.csv`` into a folder, which is created if needed."""
    for (name, columns), rows in zip(
        CSV_COLUMNS.items(), (frame_rows(score), cell_rows(score)), strict=True
    ):
        with (
            atomic_path(folder / name) as temporary,
            # Bytes of file names that are not UTF-8 are kept.
            temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(rows)


def _counts_columns(counts: MatchCounts, seg: float) -> tuple[Any, ...]:
    precision = average_precision(counts)
    return (
        counts.cells,
        counts.objects,
        seg,
        float(precision[0]),
        float(precision.mean()),
        panoptic_quality(counts),
        foreground_iou(counts),
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    cells = [list(columns), *([_number(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    # Left-align the first column and definitions, right-align the others.
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if index == 0 or column == "definition" else f"{cell:>{width}}"
            for index, (cell, width, column) in enumerate(zip(row, widths, columns, strict=True))
        ).rstrip()
        for row in cells
    )


def _number(value: Any, digits: int = 4) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value
