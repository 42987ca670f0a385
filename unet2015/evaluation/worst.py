"""The frames with the most mistakes, the worst cells, and their microscope images."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..images import open_image
from ..labelfiles.ctcnames import find_image
from ..labelfiles.labelfolder import Components, number_components, pair_frames, planes
from .sequence import FrameScore

STACK_PLANE = re.compile(r"(.*)\[(\d+)\]")
"""Name of a frame that is the plane of a stack."""


def worst_first(frames: Iterable[FrameScore]) -> list[FrameScore]:
    """Sort frames by their number of mistakes, most first; among equals, lowest SEG first."""

    def badness(frame: FrameScore) -> tuple[int, float]:
        seg = frame.seg.mean if frame.seg.values.size else 1.0
        return -sum(map(len, frame.mistakes)), seg

    return sorted(frames, key=badness)


class WorstCell(NamedTuple):
    """A reference cell of a sequence."""

    frame: FrameScore
    label: int
    seg: float


def worst_cells(frames: Iterable[FrameScore], number: int) -> list[WorstCell]:
    """List the cells with the lowest SEG; among equals, those in the worst frames first."""
    cells = [
        WorstCell(frame, label, seg)
        for frame in worst_first(frames)
        for label, seg in zip(frame.seg.labels.tolist(), frame.seg.values.tolist(), strict=True)
    ]
    return sorted(cells, key=lambda cell: cell.seg)[:number]


def read_frames(
    reference: Path, result: Path, names: Collection[str], components: Components
) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Read reference and result of some frames, as they were scored, by the scores' names."""
    return {
        name: (
            number_components(truth, "reference", components),
            number_components(found, "result", components),
        )
        for pair in pair_frames(reference, result)
        if any(name == pair.name or name.startswith(f"{pair.name}[") for name in names)
        for name, truth, found in planes(pair)
        if name in names
    }


def microscope_image(folder: Path | None, name: str, shape: tuple[int, ...]) -> NDArray[Any] | None:
    """Read the grey values of a frame, channels averaged; None without an image of that shape."""
    if folder is None:
        return None
    path, plane = find_image(folder, name), None
    if path is None and (stack := STACK_PLANE.fullmatch(name)):
        path, plane = find_image(folder, stack[1]), int(stack[2])
    if path is None:
        return None
    with open_image(path) as image:
        count = len(image.planes)
        if image.shape[-2:] != shape or (count != 1 if plane is None else plane >= count):
            return None
        return image.read(image.planes[plane or 0]).mean(axis=0)
