"""Scores of a segmented or tracked sequence from its files, one frame in memory at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..labelfiles.ctcnames import numbered_images
from ..labelfiles.doubt import warn_of_doubt
from ..labelfiles.labelfolder import (
    FramePair,
    check_shapes,
    labels_home,
    pair_frames,
    planes,
)
from ..labelfiles.labelimages import read_labels
from ..labelfiles.trackfile import TRACK_FILE, check_masks, read_tracks
from ..metrics import (
    GraphErrors,
    MatchCounts,
    Mistakes,
    Overlaps,
    SegScore,
    add_counts,
    compare_lineages,
    count_matches,
    find_mistakes,
    objects_without_truth,
    overlap_table,
    seg_from_table,
    sequence_seg,
    within_margin,
    without_objects,
)
from ..progress import Progress

LINEAGE_FILE = "man_track.txt"
NO_TRACKS = np.zeros((0, 4), np.int64)


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
    """

    frames: list[FrameScore]
    graph: GraphErrors | None
    tracked: bool
    notes: list[str]

    @property
    def seg(self) -> float:
        """Mean over all reference cells, nan without any."""
        return sequence_seg(frame.seg for frame in self.frames)

    @property
    def counts(self) -> MatchCounts:
        """Sum over the frames."""
        return add_counts(frame.counts for frame in self.frames)


def score_sequence(reference: Path | str, result: Path | str, margin: int = 0) -> SequenceScore:
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

    Returns
    -------
    SequenceScore

    Raises
    ------
    InputError
        If frames are missing, do not belong to the reference, or cannot be compared.
    """
    reference, result = Path(reference), Path(result)
    pairs = pair_frames(reference, result)
    truth = reference / "TRA"
    markers = numbered_images(truth) if truth.is_dir() else {}
    frames = _score_frames(pairs, markers, margin)
    notes = _notes_on_numbers(frames)
    unjudged = sum(frame.unjudged for frame in frames)
    if unjudged:
        notes.append(
            "AP, PQ and IoU leave out, as neither right nor wrong, objects on cells that have a "
            f"marker but no reference mask: {unjudged}."
        )
    if not markers:
        return SequenceScore(frames, None, False, notes)
    if sorted(markers) != list(range(len(markers))):
        notes.append(
            f"DET and TRA need markers of all frames from 0 on; {truth} has {len(markers)}, the "
            f"last of frame {max(markers)}: not scored."
        )
        return SequenceScore(frames, None, False, notes)
    masks = numbered_images(labels_home(result))
    has_lineage = (truth / LINEAGE_FILE).is_file()
    tracked = has_lineage and (result / TRACK_FILE).is_file()
    if _check_frames(result, masks, markers, complete=tracked):
        notes.append("DET and TRA need masks of all frames: not scored.")
        return SequenceScore(frames, None, False, notes)
    if not has_lineage:
        notes.append(f"TRA needs {truth / LINEAGE_FILE}: not scored.")
    elif not tracked:
        notes.append(f"TRA needs {TRACK_FILE}, which `unet2015 track` writes: not scored.")
    graph = _score_tracks(truth, result, markers, masks, tracked, margin)
    return SequenceScore(frames, graph, tracked, notes)


def _notes_on_numbers(frames: Sequence[FrameScore]) -> list[str]:
    """Report references without cells, and images that look like masks without cell numbers."""
    cells = max((len(frame.seg.values) for frame in frames), default=0)
    objects = max((frame.counts.segmented for frame in frames), default=0)
    if cells == 0:
        return ["No reference image has a cell: SEG is not defined."]
    for what, most in (("reference", cells), ("result", objects)):
        if most == 1:
            return [
                f"No {what} image has more than one cell: if these are masks, number the cells "
                "first."
            ]
    return []


def _score_frames(
    pairs: Sequence[FramePair], markers: Mapping[int, Path], margin: int
) -> list[FrameScore]:
    frames: list[FrameScore] = []
    for pair in Progress(pairs, "segmentation", unit="frame", leave=False):
        marker_file = markers.get(int(pair.name)) if pair.name.isdecimal() else None
        for name, reference, result in planes(pair):
            if not frames:
                warn_of_doubt(pair.reference, reference)
                warn_of_doubt(pair.result, result)
            table = overlap_table(reference, result, margin)
            unknown: NDArray[Any] = np.array([])
            if marker_file is not None:
                marked = read_labels(marker_file)
                check_shapes(FramePair(name, marker_file, pair.result), marked.shape, result.shape)
                unknown = objects_without_truth(reference, result, marked)
            frames.append(score_frame(name, table, unknown))
    return frames


def score_frame(name: str, table: Overlaps, unknown: NDArray[Any]) -> FrameScore:
    """Score a frame from its overlap table; `unknown` objects count only if they hold a cell."""
    seg = seg_from_table(table)
    judged = without_objects(table, np.setdiff1d(unknown, seg.matched))
    return FrameScore(
        name,
        seg,
        count_matches(judged),
        find_mistakes(judged),
        table.segmented_labels.size - judged.segmented_labels.size,
    )


def _check_frames(
    result: Path, masks: Mapping[int, Path], markers: Mapping[int, Path], *, complete: bool
) -> list[int]:
    """List the frames without a mask, and refuse masks of frames that do not exist."""
    extra = sorted(masks.keys() - markers.keys())
    if extra:
        raise InputError(
            f"{masks[extra[0]]} is frame {extra[0]}, but the reference's last frame is "
            f"{max(markers)}: the result belongs to another sequence."
        )
    absent = sorted(markers.keys() - masks.keys())
    if absent and complete:
        raise InputError(
            f"{result} has tracks but no mask of frame {absent[0]} ({len(absent)} of "
            f"{len(markers)} frames are missing): a tracked result needs every frame."
        )
    return absent


def _score_tracks(
    truth: Path,
    result: Path,
    markers: Mapping[int, Path],
    masks: Mapping[int, Path],
    tracked: bool,
    margin: int,
) -> GraphErrors:
    lineage = truth / LINEAGE_FILE
    reference_tracks = read_tracks(lineage) if lineage.is_file() else NO_TRACKS
    last = int(reference_tracks[:, 2].max(initial=0))
    if last >= len(markers):
        raise InputError(
            f"{lineage} has a track until frame {last}, but the last frame with "
            f"markers is {len(markers) - 1}: correct the file, or add the frames."
        )
    tracks_file = result / TRACK_FILE
    result_tracks = read_tracks(tracks_file) if tracked else NO_TRACKS
    tables: list[Overlaps] = []
    present = []
    for frame in Progress(sorted(markers), "tracking", unit="frame", leave=False):
        pair = FramePair(f"{frame:03d}", markers[frame], masks[frame])
        marked, labels = read_labels(pair.reference), read_labels(pair.result)
        check_shapes(pair, marked.shape, labels.shape)
        table = overlap_table(marked, labels)
        present.append(table.segmented_labels)
        if margin:
            # The markers stay: the challenge marks only cells that reach into the field, but their
            # markers can lie outside it.
            table = without_objects(table, within_margin(labels, margin))
        tables.append(table)
    if tracked:
        check_masks(tracks_file, result_tracks, present)
    return compare_lineages(tables, reference_tracks, result_tracks)
