"""Scores of a segmented or tracked sequence from its files, one frame in memory at a time."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..fileprediction import RECORD
from ..labelfiles.ctcnames import numbered_images
from ..labelfiles.doubt import (
    IN_PIECES,
    NUMBERS_IGNORED,
    doubt,
    has_several_numbers,
    numbers_in_pieces,
)
from ..labelfiles.labelfolder import (
    Components,
    FramePair,
    check_shapes,
    labels_home,
    markers_home,
    number_components,
    pair_frames,
    planes,
)
from ..labelfiles.labelimages import read_labels
from ..labelfiles.trackfile import TRACK_FILE
from ..metrics import (
    GraphErrors,
    MatchCounts,
    Mistakes,
    Overlaps,
    SegScore,
    add_counts,
    count_matches,
    find_mistakes,
    objects_without_truth,
    overlap_table,
    seg_from_table,
    sequence_seg,
    without_objects,
)
from ..progress import Progress
from .tracks import score_lineage

logger = logging.getLogger(__name__)


class FrameScore(NamedTuple):
    """One annotated frame.

    Attributes
    ----------
    name : str
        Number of the frame, or stem of its file.
    seg : SegScore
    counts : MatchCounts
        For AP, panoptic quality and foreground IoU.
    mistakes : Mistakes
    unjudged : int
        Objects on cells without a reference mask, left out of `counts` and `mistakes`.
    """

    name: str
    seg: SegScore
    counts: MatchCounts
    mistakes: Mistakes
    unjudged: int


class SequenceScore(NamedTuple):
    """A whole sequence.

    Attributes
    ----------
    frames : list of FrameScore
        The annotated frames.
    graph : GraphErrors or None
        For DET and TRA; None if the reference lacks tracking markers or the result lacks frames.
    tracked : bool
        Whether `graph` also compares tracks, which TRA needs.
    notes : list of str
        What was not scored and why.
    components : {"none", "reference", "result", "both"}
        Images whose connected components counted as cells.
    """

    frames: list[FrameScore]
    graph: GraphErrors | None
    tracked: bool
    notes: list[str]
    components: Components = "none"

    @property
    def seg(self) -> float:
        """Mean over all reference cells, nan without any."""
        return sequence_seg(frame.seg for frame in self.frames)

    @property
    def counts(self) -> MatchCounts:
        """Sum over the frames."""
        return add_counts(frame.counts for frame in self.frames)


def score_sequence(
    reference: Path | str,
    result: Path | str,
    margin: int = 0,
    components: Components = "none",
) -> SequenceScore:
    """Score a result against its reference.

    Parameters
    ----------
    reference, result : Path or str
        Folders or single images, see `labelfolder.pair_frames`. If the reference is a folder of
        the challenge with tracking markers, detection is scored on all frames, and tracking too if
        the result holds ``res_track.txt``.
    margin : int
        Width in pixels of the border outside the field of interest. Objects and reference cells
        entirely within it are dropped; tracking markers are not.
    components : {"none", "reference", "result", "both"}
        Images in which each 8-connected component counts as a cell, whatever its number.

    Returns
    -------
    SequenceScore

    Raises
    ------
    InputError
        If frames are missing, do not belong to the reference, or cannot be compared, the reference
        does not look like labels, or components would replace the numbers of tracks.
    """
    reference, result = Path(reference), Path(result)
    pairs = pair_frames(reference, result)
    tracks = labels_home(result) / TRACK_FILE
    if components in ("result", "both") and tracks.is_file():
        raise InputError(
            f"{tracks} refers to numbers of cells, which connected components would "
            "replace: remove the file, or keep the numbers."
        )
    if any(pair.reference.name.startswith("man_track") for pair in pairs):
        logger.warning("%s holds tracking markers, not masks: give the folder above it.", reference)
    truth = markers_home(reference)
    markers = numbered_images(truth) if truth.is_dir() else {}
    frames = _score_frames(pairs, markers, margin, components)
    notes = []
    if not any(frame.seg.values.size for frame in frames):
        notes.append("No reference image has a cell: SEG is not defined.")
    if components != "none":
        of = "reference and result" if components == "both" else f"the {components}"
        notes.append(f"Each connected component of {of} counts as a cell.")
    if (labels_home(result) / RECORD).is_dir():
        notes.append(f"{result} holds an unfinished prediction.")
    unjudged = sum(frame.unjudged for frame in frames)
    if unjudged:
        notes.append(
            "AP, PQ and IoU leave out, as neither right nor wrong, objects on cells that have a "
            f"marker but no reference mask: {unjudged}."
        )
    graph, tracked = None, False
    if markers:
        graph, tracked, more = score_lineage(reference, result, markers, margin, components)
        notes += more
    return SequenceScore(frames, graph, tracked, notes, components)


def _score_frames(
    pairs: Sequence[FramePair], markers: Mapping[int, Path], margin: int, components: Components
) -> list[FrameScore]:
    frames: list[FrameScore] = []
    unchecked = ["reference", "result"]
    for pair in Progress(pairs, "segmentation", unit="frame", leave=False):
        marker_file = markers.get(int(pair.name)) if pair.name.isdecimal() else None
        for name, reference, result in planes(pair):
            found = {"reference": reference, "result": result}
            for side in [side for side in unchecked if found[side].any()]:
                unchecked.remove(side)  # the first image with cells stands for all
                _check_labels(getattr(pair, side), found[side], side, components)
            reference = number_components(reference, "reference", components)
            result = number_components(result, "result", components)
            table = overlap_table(reference, result, margin)
            unknown: NDArray[Any] = np.array([])
            if marker_file is not None:
                marked = read_labels(marker_file)
                check_shapes(FramePair(name, marker_file, pair.result), marked.shape, result.shape)
                unknown = objects_without_truth(reference, result, marked)
            frames.append(score_frame(name, table, unknown))
    return frames


def _check_labels(path: Path, labels: NDArray[Any], side: str, components: Components) -> None:
    """Warn of an image that does not look like labels; refuse it as reference, not as result."""
    if why := doubt(labels):
        if side == "reference":
            raise InputError(f"{path}: {why}")
        logger.warning("%s: %s", path, why)
    elif labels.all():
        logger.warning("%s: no pixel is 0, so the background, if there is any, is a cell.", path)
    elif components in (side, "both"):
        if has_several_numbers(labels):
            logger.warning("%s: %s", path, NUMBERS_IGNORED)
    elif numbers_in_pieces(labels):
        logger.warning("%s: %s --connected-components %s.", path, IN_PIECES, side)


def score_frame(name: str, table: Overlaps, unknown: NDArray[Any]) -> FrameScore:
    """Score a frame from its overlap table; `unknown` objects count only if they hold a cell."""
    seg = seg_from_table(table)
    judged = without_objects(table, np.setdiff1d(unknown, seg.matched))
    return FrameScore(
        name,
        seg,
        count_matches(judged),
        find_mistakes(judged),
        table.result_labels.size - judged.result_labels.size,
    )
