"""A picture of the worst frames of a sequence: image, reference, result, mistakes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

from ..atomic import atomic_path, check_writable
from ..errors import InputError, counted
from ..images.opening import image_files
from ..labelfiles.labelfolder import folder_of_images, pair_frames
from ..pictures import aspect, distinct_colours, to_grey
from .sequence import FrameScore, SequenceScore
from .worst import microscope_image, read_frames, worst_first

logger = logging.getLogger(__name__)

# Okabe and Ito's colour-blind safe colours.
COLOURS = {
    "found": (0.75, 0.75, 0.75),
    "missed": (0.84, 0.37, 0.0),
    "split": (0.94, 0.89, 0.26),
    "merged": (0.8, 0.47, 0.65),
    "spurious": (0.34, 0.71, 0.91),
}
REFERENCE_OUTLINE = (0.0, 0.62, 0.45)
RESULT_OUTLINE = (0.0, 0.0, 0.0)
ROWS = 4
SUFFIXES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".tif", ".tiff")
"""Those of pictures that Matplotlib writes without other programs."""


def draw_mistakes(
    path: Path,
    score: SequenceScore,
    reference: Path,
    result: Path,
    images: Path | None = None,
) -> None:
    """Draw the frames with the most mistakes, worst first; call `check_picture` before.

    Parameters
    ----------
    path : Path
        The picture to write; its suffix chooses the format.
    score : SequenceScore
        From `evaluation.score_sequence` with the same `reference` and `result`.
    reference, result : Path
        The scored files.
    images : Path, optional
        Folder of the microscope images, ``tNNN.tif`` or named like the reference. By default that
        of `folder_of_images`; without one, their column is left out.
    """
    figure = Figure()
    images = folder_of_images(reference, images)
    worst = worst_first(score.frames)[:ROWS]
    labels = read_frames(reference, result, {frame.name for frame in worst}, score.components)
    rows = [_panels(frame, *labels[frame.name], images) for frame in worst]

    shape = labels[worst[0].name][0].shape
    figure.set_size_inches(4 * len(rows[0]), 4 * len(rows) * aspect(shape) + 0.6)
    grid = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for axes_row, panels in zip(grid, rows, strict=True):
        for axes, (title, panel) in zip(axes_row, panels.items(), strict=True):
            axes.imshow(panel, interpolation="nearest")
            # File names need not be Unicode, but text must be; nor is $ in them mathematics.
            name = title.encode(errors="backslashreplace").decode()
            axes.set_title(name, fontsize=9, parse_math=False)
            axes.set(xticks=[], yticks=[])
    handles = [Patch(facecolor=colour, label=kind) for kind, colour in COLOURS.items()]
    handles.append(Patch(facecolor="white", edgecolor=REFERENCE_OUTLINE, label="reference"))
    handles.append(Patch(facecolor="white", edgecolor=RESULT_OUTLINE, label="result"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9)
    figure.set_layout_engine("constrained")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, bbox_inches="tight")  # else titles may be cut
    logger.info("Picture: %s.", path)


def check_picture(path: Path, reference: Path, result: Path, images: Path | None) -> None:
    """Refuse, before scoring, a picture that cannot be written or would overwrite an input.

    Raises
    ------
    InputError
        If the suffix is not a picture format, the path cannot be written to, the picture would
        overwrite an input, or the folder of images does not exist.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} has no picture suffix: choose one of {', '.join(SUFFIXES)}.")
    check_writable(path)
    images = folder_of_images(reference, images)
    if path.exists():
        inputs = [file for pair in pair_frames(reference, result) for file in pair[1:]]
        inputs += [] if images is None else image_files(images)
        if any(path.samefile(file) for file in inputs):
            raise InputError(f"{path} is an input: give the picture another name.")


def _panels(
    frame: FrameScore, reference: NDArray[Any], result: NDArray[Any], images: Path | None
) -> dict[str, NDArray[np.floating[Any]]]:
    panels: dict[str, NDArray[np.floating[Any]]] = {}
    if images is not None:
        image = microscope_image(images, frame.name, reference.shape)
        grey = to_grey(np.zeros(reference.shape) if image is None else image)
        panels[f"frame {frame.name}"] = np.repeat(grey[..., None], 3, axis=-1)
    cell_of = dict(zip(frame.seg.matched.tolist(), frame.seg.labels.tolist(), strict=True))
    title = f"reference: {counted(frame.seg.labels.size, 'cell')}"
    panels[f"frame {frame.name}, {title}" if images is None else title] = _coloured(reference, {})
    drawn, judged = int(np.count_nonzero(np.unique(result))), frame.counts.objects
    title = f"result: {counted(drawn, 'object')}" + f", {judged} judged" * (drawn != judged)
    panels[title] = _coloured(result, cell_of, int(reference.max()))
    seg = f"SEG {frame.seg.mean:.3f}" if frame.seg.values.size else "no cells"
    mistakes = counted(sum(map(len, frame.mistakes)), "mistake")
    panels[f"{seg}, {mistakes}"] = paint_mistakes(frame, reference, result)
    return panels


def paint_mistakes(
    frame: FrameScore, reference: NDArray[Any], result: NDArray[Any]
) -> NDArray[np.float64]:
    """Paint cells by kind of mistake, spurious objects, and the outlines of both images.

    Returns
    -------
    float64 array (H, W, 3)
        Colours in [0, 1].
    """
    canvas = np.ones((*reference.shape, 3))
    canvas[reference > 0] = COLOURS["found"]
    for kind in ("missed", "split", "merged"):
        canvas[np.isin(reference, getattr(frame.mistakes, kind))] = COLOURS[kind]
    spurious = np.isin(result, frame.mistakes.spurious)
    canvas[spurious & (reference == 0)] = COLOURS["spurious"]
    canvas[find_boundaries(reference, mode="inner")] = REFERENCE_OUTLINE
    canvas[find_boundaries(result, mode="inner")] = RESULT_OUTLINE
    return canvas


def _coloured(labels: NDArray[Any], cell_of: dict[int, int], cells: int = 0) -> NDArray[np.float64]:
    """Give each label a colour; objects that hold a cell get its colour, others new ones."""
    present, position = np.unique(labels, return_inverse=True)
    numbers = [cell_of.get(label, cells + label) for label in present.tolist()]
    colours = distinct_colours(np.array(numbers))
    colours[present == 0] = 1
    return colours[position.reshape(labels.shape)]
