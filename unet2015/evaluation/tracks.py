"""Scores of a tracked sequence from its files: DET and TRA, one frame in memory at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..labelfiles.ctcnames import numbered_images
from ..labelfiles.labelfolder import (
    Components,
    FramePair,
    check_shapes,
    labels_home,
    markers_home,
    number_components,
)
from ..labelfiles.labelimages import read_labels
from ..labelfiles.trackfile import TRACK_FILE, check_masks, read_tracks
from ..metrics import (
    GraphErrors,
    Overlaps,
    compare_lineages,
    overlap_table,
    within_margin,
    without_objects,
)
from ..progress import Progress

LINEAGE_FILE = "man_track.txt"
NO_TRACKS = np.zeros((0, 4), np.int64)


def score_lineage(
    reference: Path, result: Path, markers: Mapping[int, Path], margin: int, components: Components
) -> tuple[GraphErrors | None, bool, list[str]]:
    """Compare the cells of all frames, and their tracks if there are any.

    Parameters
    ----------
    reference, result : Path
        A folder of the challenge with tracking markers, and a folder of masks.
    markers : mapping of int to Path
        Marker images by frame.
    margin : int
        Width in pixels of the border outside the field of interest.
    components : {"none", "reference", "result", "both"}
        Images in which each 8-connected component counts as a cell; markers are never renumbered.

    Returns
    -------
    graph : GraphErrors or None
        None if markers or masks are incomplete.
    tracked : bool
        Whether tracks were compared, too.
    notes : list of str
        What was not scored and why.

    Raises
    ------
    InputError
        If frames or track files do not belong together.
    """
    truth = markers_home(reference)
    if sorted(markers) != list(range(len(markers))):
        notes = [
            f"DET and TRA need markers of all frames from 0 on; {truth} has {len(markers)}, the "
            f"last of frame {max(markers)}: not scored."
        ]
        return None, False, notes
    masks = numbered_images(labels_home(result))
    has_lineage = (truth / LINEAGE_FILE).is_file()
    tracked = has_lineage and (labels_home(result) / TRACK_FILE).is_file()
    if not _have_masks(result, masks, markers, required=tracked):
        return None, False, ["DET and TRA need masks of all frames: not scored."]
    notes = []
    if not has_lineage:
        notes.append(f"TRA needs {truth / LINEAGE_FILE}: not scored.")
    elif not tracked:
        notes.append(f"TRA needs {TRACK_FILE}, which `unet2015 track` writes: not scored.")
    graph = _score_tracks(truth, result, markers, masks, tracked, margin, components)
    return graph, tracked, notes


def _have_masks(
    result: Path, masks: Mapping[int, Path], markers: Mapping[int, Path], *, required: bool
) -> bool:
    """Whether all frames have a mask; masks of frames that do not exist are refused."""
    extra = sorted(masks.keys() - markers.keys())
    if extra:
        raise InputError(
            f"{masks[extra[0]]} is frame {extra[0]}, but the reference's last frame is "
            f"{max(markers)}: the result belongs to another sequence."
        )
    absent = sorted(markers.keys() - masks.keys())
    if absent and required:
        raise InputError(
            f"{result} has tracks but no mask of frame {absent[0]} ({len(absent)} of "
            f"{len(markers)} frames are missing): a tracked result needs every frame."
        )
    return not absent


def _score_tracks(
    truth: Path,
    result: Path,
    markers: Mapping[int, Path],
    masks: Mapping[int, Path],
    tracked: bool,
    margin: int,
    components: Components,
) -> GraphErrors:
    lineage, tracks_file = truth / LINEAGE_FILE, labels_home(result) / TRACK_FILE
    reference_tracks, result_tracks = (
        (read_tracks(lineage), read_tracks(tracks_file)) if tracked else (NO_TRACKS, NO_TRACKS)
    )
    last = int(reference_tracks[:, 2].max(initial=0))
    if last >= len(markers):
        raise InputError(
            f"{lineage} has a track until frame {last}, but the last frame with "
            f"markers is {len(markers) - 1}: correct the file, or add the frames."
        )
    tables: list[Overlaps] = []
    present = []
    for frame in Progress(sorted(markers), "tracking", unit="frame", leave=False):
        pair = FramePair(f"{frame:03d}", markers[frame], masks[frame])
        marked, labels = read_labels(pair.reference), read_labels(pair.result)
        check_shapes(pair, marked.shape, labels.shape)
        labels = number_components(labels, "result", components)
        table = overlap_table(marked, labels)
        present.append(table.result_labels)
        if margin:
            # The markers stay: the challenge marks only cells that reach into the field, but their
            # markers can lie outside it.
            table = without_objects(table, within_margin(labels, margin))
        tables.append(table)
    if tracked:
        check_masks(tracks_file, result_tracks, present)
    return compare_lineages(tables, reference_tracks, result_tracks)
