"""Read, check and write CTC track files, ``res_track.txt`` and ``man_track.txt``.

Each line describes a track by four whole numbers: its label L, its first frame B and last frame E,
and the label P of its parent track or 0.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .ctcnames import is_numbered

logger = logging.getLogger(__name__)

TRACK_FILE = "res_track.txt"
"""Name of the track file beside the masks of a result."""
_NUMBER = re.compile("[0-9]{1,9}")


def forget_tracks(mask: Path) -> None:
    """Remove the track file beside a result that was replaced, if that is named like a mask."""
    if is_numbered(mask):
        tracks = mask.with_name(TRACK_FILE)
        with suppress(FileNotFoundError):  # another command may have removed it
            tracks.unlink()
            logger.info("%s described masks that have been replaced and was removed.", tracks)


def read_tracks(path: Path | str) -> NDArray[np.int64]:
    """Read a track file and check that its tracks are consistent.

    Parameters
    ----------
    path : Path or str
        ``res_track.txt`` or ``man_track.txt``.

    Returns
    -------
    int64 array (N, 4)
        Label, first frame, last frame, parent or 0; in the order of the file.

    Raises
    ------
    InputError
        If the file is missing, empty or malformed, or a rule of the format is broken.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist: `unet2015 track` writes the tracks of a result.")
    rows = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        words = line.split()
        if len(words) != 4 or not all(_NUMBER.fullmatch(word) for word in words):
            raise InputError(
                f"{path}, line {number}: {line.strip()!r} is not a track: give four whole numbers "
                "below 1,000,000,000: label, first frame, last frame, and parent or 0."
            )
        rows.append([int(word) for word in words])
    if not rows:
        raise InputError(f"{path} is empty: a result needs at least one track, one per line.")
    tracks = np.array(rows, np.int64)
    _check_order(path, tracks)
    return tracks


def _check_order(path: Path, tracks: NDArray[np.int64]) -> None:
    last_frame: dict[int, int] = {}
    for label, begin, end, _ in tracks.tolist():
        if label == 0 or label in last_frame:
            what = "is background" if label == 0 else "is on two lines"
            raise InputError(f"{path}: track {label} {what}: give each track a label of its own.")
        if end < begin:
            raise InputError(
                f"{path}: track {label} ends in frame {end}, before it begins in frame {begin}."
            )
        last_frame[label] = end
    for label, begin, _, parent in tracks.tolist():
        if parent and parent not in last_frame:
            raise InputError(
                f"{path}: track {label} has the parent {parent}, which is not a track: "
                "write 0 if there is no parent."
            )
        if parent and last_frame[parent] >= begin:
            raise InputError(
                f"{path}: track {label} begins in frame {begin}, but its parent {parent} ends in "
                f"frame {last_frame[parent]}: a parent must end before its daughters begin."
            )


def check_masks(
    path: Path | str, tracks: NDArray[np.integer], labels: Sequence[NDArray[np.integer]]
) -> None:
    """Check that the masks of a sequence hold exactly the tracks of its track file.

    Parameters
    ----------
    path : Path or str
        The track file, for messages.
    tracks : integer array (N, 4)
        See `read_tracks`.
    labels : sequence of integer array
        The labels present in each frame, from frame 0.

    Raises
    ------
    InputError
        If a track ends after the sequence or is missing in one of its frames, or a mask holds a
        label without a track.
    """
    announced: list[set[int]] = [set() for _ in labels]
    for label, begin, end, _ in tracks.tolist():
        if end >= len(labels):
            raise InputError(
                f"{path}: track {label} ends in frame {end}, but the last frame is "
                f"{len(labels) - 1}: the file belongs to another sequence or frames are missing."
            )
        for frame in range(begin, end + 1):
            announced[frame].add(label)
    for frame, (expected, present) in enumerate(zip(announced, labels, strict=True)):
        there = set(present.tolist())
        if expected - there:
            raise InputError(
                f"{path}: track {min(expected - there)} should be in frame {frame}, but its mask "
                "does not hold that label: run `unet2015 track` on the masks again."
            )
        if there - expected:
            raise InputError(
                f"{path}: the mask of frame {frame} holds the label {min(there - expected)}, which "
                "has no track there: run `unet2015 track` on the masks again."
            )


def write_tracks(path: Path | str, tracks: NDArray[np.integer]) -> None:
    """Write a track file, one line per track; see `read_tracks` for the columns."""
    lines = [" ".join(map(str, row)) + "\n" for row in tracks.tolist()]
    Path(path).write_text("".join(lines), encoding="ascii", newline="\n")
