"""Greedy overlap tracking of labelled cells, as the authors did with their results in 2015.

Gaps and divisions are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arrays import as_array
from .errors import InputError
from .metrics import Overlaps, overlap_table

LARGEST_TRACK = 2**16 - 1
"""Largest number of a track: the challenge's masks are 16-bit."""


@dataclass(frozen=True)
class TrackingConfig:
    """Settings of the tracker. The authors published none: these are ours."""

    min_overlap: float = 0.1
    """Smallest intersection over union, above 0 and up to 1, with which a cell continues as an
    object of a later frame."""
    max_gap: int = 2
    """Frames for which a cell may be missing and still be found again; 0 or more."""
    division_overlap: float = 0.3
    """A cell divides if a second, new object has at least this share of its own area, above 0 and
    up to 1, on the cell's mask in the frame before."""
    min_daughter: float = 0.3
    """Smallest area of a daughter relative to the larger one, above 0 and up to 1."""


class Tracker:
    """Link the cells of a sequence, frame by frame.

    Parameters
    ----------
    config : TrackingConfig, optional

    Notes
    -----
    Tracks of the last frame are matched to objects of the new one by decreasing intersection over
    union, each at most once. Unmatched objects are compared in the same way with the last masks of
    tracks lost a few frames ago. An object still unmatched that lies on the last mask of a
    continued track is its daughter: that track ends, and both objects start tracks with it as
    parent. All other objects start tracks.

    The challenge's format allows no gaps in a track, so a cell found again after a gap starts a
    track with the lost one as parent.

    Two label images are kept in memory: the last frame, and the masks of lost tracks, of which the
    most recent hides those under it.

    Raises
    ------
    InputError
        If a setting is out of range.

    Examples
    --------
    >>> tracker = Tracker()
    >>> tracker.link([[5, 5, 5, 5]])
    array([[1, 1, 1, 1]], dtype=uint16)
    >>> tracker.link([[1, 1, 0, 2]])  # the cell divides
    array([[2, 2, 0, 3]], dtype=uint16)
    >>> tracker.tracks
    array([[1, 0, 0, 0],
           [2, 1, 1, 1],
           [3, 1, 1, 1]])
    """

    def __init__(self, config: TrackingConfig | None = None) -> None:
        self.config = _checked(config or TrackingConfig())
        self._rows: list[list[int]] = []
        self._frame = -1
        self._last = np.zeros((0, 0), np.int64)
        self._lost = np.zeros((0, 0), np.int64)

    @property
    def tracks(self) -> NDArray[np.int64]:
        """The tracks so far: label, first frame, last frame, parent or 0; int64 (N, 4)."""
        return np.array(self._rows, np.int64).reshape(-1, 4)

    def link(self, labels: ArrayLike) -> NDArray[np.uint16]:
        """Relabel the objects of the next frame by their tracks.

        Parameters
        ----------
        labels : integer array (H, W)
            Objects of the frame with arbitrary labels, 0 = background.

        Returns
        -------
        uint16 array (H, W)
            The same objects, labelled by their tracks.

        Raises
        ------
        InputError
            If the frame's shape differs from the one before, or there are too many tracks.
        """
        current = as_array(labels)
        if self._frame < 0:
            self._last, self._lost = np.zeros((2, *current.shape), np.int64)
        if current.shape != self._last.shape:
            raise InputError(
                f"frame {self._frame + 1} has shape {current.shape}, the frames before "
                f"{self._last.shape}: all frames of a sequence must be of one size."
            )
        to_last = overlap_table(self._last, current)
        self._frame += 1
        objects = to_last.result_labels.tolist()
        track_of = _greedy(to_last, self.config.min_overlap, taken=set())
        found_again = _greedy(
            overlap_table(self._lost, current), self.config.min_overlap, taken=set(track_of)
        )
        mother_of = self._divisions(to_last, track_of, taken=track_of.keys() | found_again)
        for label in objects:
            if label in mother_of or label not in track_of:
                parent = mother_of.get(label) or found_again.get(label, 0)
                track_of[label] = self._begin(parent)
        for track in track_of.values():
            self._rows[track - 1][2] = self._frame

        # A lookup by position: labels may be far larger than their count.
        numbers = np.array([0, *(track_of[label] for label in objects)], np.int64)
        position = np.searchsorted(to_last.result_labels, current, side="right")
        numbered = numbers[position]
        self._remember(numbered)
        return numbered.astype(np.uint16)

    def _begin(self, parent: int) -> int:
        label = len(self._rows) + 1
        if label > LARGEST_TRACK:
            raise InputError(
                f"there are more than {LARGEST_TRACK} tracks, the most that the challenge's masks "
                "can number: track a part of the sequence, or remove specks from the masks."
            )
        self._rows.append([label, self._frame, self._frame, parent])
        return label

    def _divisions(
        self, to_last: Overlaps, track_of: dict[int, int], taken: set[int]
    ) -> dict[int, int]:
        """Find the mothers of the daughters, two of each track that divides, best overlap first."""
        mother_of: dict[int, int] = {}
        heir = {track: label for label, track in track_of.items()}
        area = dict(zip(to_last.result_labels.tolist(), to_last.result_areas.tolist(), strict=True))
        share = to_last.shared / to_last.result_areas[to_last.result_index]
        for pair in np.argsort(-share, kind="stable"):
            mother = int(to_last.reference_labels[to_last.reference_index[pair]])
            label = int(to_last.result_labels[to_last.result_index[pair]])
            if share[pair] < self.config.division_overlap:
                break
            if label in taken or label in mother_of or mother not in heir:
                continue
            small, large = sorted((area[label], area[heir[mother]]))
            if small >= self.config.min_daughter * large:
                mother_of[label] = mother_of[heir.pop(mother)] = mother
        return mother_of

    def _remember(self, numbered: NDArray[np.int64]) -> None:
        """Keep this frame, and the masks of tracks lost at most `max_gap` frames ago."""
        ends = np.array([0, *(row[2] for row in self._rows)], np.int64)
        heirless = np.ones(ends.size, bool)
        heirless[[row[3] for row in self._rows]] = False
        for image in (self._last, self._lost):
            ended = ends[image]
            stays = (ended < self._frame) & (ended >= self._frame - self.config.max_gap)
            image[~(stays & heirless[image])] = 0
        self._lost = np.where(self._last > 0, self._last, self._lost)
        self._last = numbered


def _checked(config: TrackingConfig) -> TrackingConfig:
    for name in ("min_overlap", "division_overlap", "min_daughter"):
        value = getattr(config, name)
        if not 0 < value <= 1:
            raise InputError(f"{name} is {value}: choose a share above 0 and up to 1.")
    if config.max_gap < 0:
        raise InputError(f"max_gap is {config.max_gap}: choose 0 frames or more.")
    return config


def _greedy(table: Overlaps, least: float, taken: set[int]) -> dict[int, int]:
    """Match tracks and objects that are not taken by decreasing overlap, each at most once."""
    iou = table.iou
    track_of: dict[int, int] = {}
    used: set[int] = set()
    for pair in np.argsort(-iou, kind="stable"):
        if iou[pair] < least:
            break
        track = int(table.reference_labels[table.reference_index[pair]])
        label = int(table.result_labels[table.result_index[pair]])
        if track not in used and label not in track_of and label not in taken:
            track_of[label] = track
            used.add(track)
    return track_of
