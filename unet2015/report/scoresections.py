"""Sections about a scored result: its frames, its worst cells, its scores."""

from __future__ import annotations

import numpy as np

from ..evaluation import FrameScore
from ..evaluation.tables import (
    FRAME_COLUMNS,
    cells_of,
    field_of_interest,
    frame_rows,
    kinds_of_mistakes,
    measures,
    summary,
)
from ..evaluation.worst import WorstCell, worst_cells, worst_first
from .charts import histogram
from .content import WORST_CELLS, ScoredFrame, ScoredResult
from .html import Html, element, join
from .outlines import Box, boxes, outlines
from .rasters import grey_uri, reduce_labels, reduction
from .table import show, table
from .viewer import Layer, Picture, outline_layer, raster, thumbnail, viewer

VIEWER = "frames"
IMAGE = Layer("image", "i", "Image")
LAYERS = (
    Layer("reference", "r", "Reference"),
    Layer("result", "e", "Result"),
    Layer("mistakes", "m", "Mistakes"),
)
KINDS = {
    "missed": "no object holds more than half of the cell",
    "split": "several objects lie in the cell",
    "merged": "its object holds other cells, too",
    "spurious": "an object without a cell",
}


def score_facts(scored: ScoredResult) -> dict[str, object]:
    """Summarise a result in a few numbers."""
    mistakes = sum(len(kind) for frame in scored.score.frames for kind in frame.mistakes)
    return {
        "SEG": show(scored.score.seg),
        "reference cells": sum(frame.seg.values.size for frame in scored.score.frames),
        "scored frames": len(scored.score.frames),
        "mistakes": mistakes,
    }


def frames_section(scored: ScoredResult) -> Html:
    """Show the worst frames with the outlines of reference and result."""
    total, shown = len(scored.score.frames), len(scored.frames)
    selection = f"All {total} scored frames"
    if shown < total:
        selection = (
            f"{shown} of {total} scored frames, those with the most mistakes or the worst cells"
        )
    unseen = sum(frame.image is None for frame in scored.frames)
    missing = f" No image was available for {unseen} of them." if unseen else ""
    kinds = [
        element("li", element("span", class_=f"swatch {kind}"), f"{kind}: {what}")
        for kind, what in KINDS.items()
    ]
    layers = LAYERS if unseen == shown else (IMAGE, *LAYERS)
    return join(
        element("p", selection, ", worst first." if shown > 1 else ".", missing, class_="note"),
        viewer(VIEWER, layers, [_picture(frame) for frame in scored.frames]),
        element("ul", *kinds, class_="kinds", aria_label="kinds of mistakes"),
    )


def _picture(frame: ScoredFrame) -> Picture:
    factor = reduction(frame.reference.shape)
    reference, result = (
        reduce_labels(labels, factor) for labels in (frame.reference, frame.result)
    )
    shape = (reference.shape[0], reference.shape[1])
    cell_titles, object_titles = _titles(frame.score)
    content = join(
        None if frame.image is None else raster(grey_uri(frame.image, factor), shape, "image"),
        outline_layer("reference", outlines(reference), cell_titles),
        outline_layer("result", outlines(result), object_titles),
    )
    return Picture(f"Frame {frame.score.name}", _caption(frame.score, factor), shape, content)


def _caption(score: FrameScore, factor: int) -> Html:
    counts = [
        f"{len(found)} {kind}" for kind, found in score.mistakes._asdict().items() if len(found)
    ]
    reduced = f" Shown at 1/{factor} of its size." if factor > 1 else ""
    return join(
        element("b", f"Frame {score.name}"),
        f": SEG {show(score.seg.mean)}, {score.seg.values.size} cells, "
        f"{score.counts.objects} objects; {', '.join(counts) or 'no mistakes'}.{reduced}",
    )


def _titles(score: FrameScore) -> tuple[dict[int, tuple[str, str]], dict[int, tuple[str, str]]]:
    """Class and title of each cell and of each object of a frame."""
    cells, objects = {}, {}
    for _, label, seg, matched, kind in cells_of(score):
        what = f"cell {label}: SEG {seg:.3f}" + (f", {kind}" if kind else "")
        cells[label] = (kind, what)
        if matched:
            objects[matched] = ("", f"object {matched} on {what}")
    for label in score.mistakes.spurious.tolist():
        objects[label] = ("spurious", f"object {label}: spurious")
    return cells, objects


def worst_section(scored: ScoredResult) -> Html:
    """Show the cells with the lowest SEG."""
    cells = worst_cells(scored.score.frames, WORST_CELLS)
    if not cells:
        return element("p", "The reference has no cells.")
    number = {frame.score.name: at for at, frame in enumerate(scored.frames)}
    places = {
        frame.score.name: boxes(reduce_labels(frame.reference, reduction(frame.reference.shape)))
        for frame in scored.frames
    }
    cards = [
        element("li", _card(cell, number[cell.frame.name], places[cell.frame.name].get(cell.label)))
        for cell in cells
    ]
    total = sum(frame.seg.values.size for frame in scored.score.frames)
    return join(
        element(
            "p",
            f"The {len(cards)} of {total} cells with the lowest SEG. "
            "Click a cell to see it in its frame.",
            class_="note",
        ),
        element("ol", *cards, class_="worst"),
    )


def _card(cell: WorstCell, number: int, box: Box | None) -> Html:
    """Make a button with a cell's picture; a cell lost in the reduction has no box."""
    kind = kinds_of_mistakes(cell.frame).get(cell.label)
    text = join(
        element("strong", f"SEG {cell.seg:.3f}"),
        element("span", f"frame {cell.frame.name}, cell {cell.label}"),
        element("span", kind) if kind else None,
    )
    if box is None:
        return element("button", text, type="button", data_frame=number)
    x, y, width, height = box
    side = max(round(1.8 * max(width, height)), 24)
    window = (x + width // 2 - side // 2, y + height // 2 - side // 2, side, side)
    return element(
        "button",
        thumbnail(VIEWER, number, window, box),
        text,
        type="button",
        data_frame=number,
        data_box=" ".join(map(str, window)),
    )


def scores_section(scored: ScoredResult) -> Html:
    """Show the measures, how SEG is distributed over the cells, and a row for each frame."""
    rows_of_measures = [
        element(
            "tr",
            element("th", name, scope="row"),
            element("td", show(value), class_="value"),
            element("td", definition),
        )
        for name, value, definition in measures(summary(scored.score, scored.margin))
    ]
    values = np.concatenate([frame.seg.values for frame in scored.score.frames])
    number = {frame.score.name: at for at, frame in enumerate(scored.frames)}
    rank = {frame.name: at for at, frame in enumerate(worst_first(scored.score.frames))}
    rows = sorted(frame_rows(scored.score), key=lambda row: rank[row[0]])
    linked = [(_link(row[0], number), *row[1:]) for row in rows]
    overall = element(
        "div",
        element("div", element("table", *rows_of_measures, class_="words"), class_="scroll"),
        element(
            "p", " ".join([field_of_interest(scored.margin), *scored.score.notes]), class_="note"
        ),
    )
    distribution = histogram(values, "SEG") if values.size else None
    return join(
        element("div", overall, distribution, class_="columns"),
        element("h3", "Frames, worst first"),
        table("scores of the frames", FRAME_COLUMNS, linked),
    )


def _link(name: str, number: dict[str, int]) -> object:
    if name not in number:
        return name
    title = f"show frame {name}"
    return element(
        "button", name, type="button", data_frame=number[name], title=title, aria_label=title
    )
