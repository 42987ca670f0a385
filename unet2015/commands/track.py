"""Link the numbered cells of a sequence to tracks.

RESULT is a folder with a label image per frame, mask000.tif, mask001.tif and so on, as `unet2015
predict` writes it. The masks get consistent numbers and res_track.txt lists the tracks, in the
format of the Cell Tracking Challenge.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from tyro.conf import OmitArgPrefixes, Positional, arg

from ..errors import InputError
from ..images import write_image
from ..labelfolder import frame_digits, labels_home, numbered_images, open_labels
from ..progress import Progress
from ..trackfile import write_tracks
from ..tracking import Tracker, TrackingConfig

logger = logging.getLogger(__name__)

TRACK_FILE = "res_track.txt"


@dataclass(frozen=True)
class Options:
    """Options of ``unet2015 track``."""

    result: Positional[Path]
    """Folder with maskNNN.tif."""
    out: Annotated[Path | None, arg(aliases=["-o"])] = None
    """New folder for the tracked result; by default RESULT itself is renumbered."""
    tracking: OmitArgPrefixes[TrackingConfig] = field(default_factory=TrackingConfig)


def run(options: Options) -> None:
    """Track as `options` say."""
    masks = _list_frames(options.result)
    target = options.out or masks[0].parent
    in_place = target.resolve() == masks[0].parent.resolve()
    if in_place and not all(path.name.startswith("mask") for path in masks):
        raise InputError(
            f"{masks[0].parent} holds reference masks, which are not to be renumbered: "
            "say by --out where the tracks shall go."
        )
    if not in_place and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists and is not empty: give --out a new folder.")
    near = target if in_place else target.parent
    near.mkdir(parents=True, exist_ok=True)
    # Everything is written beside its place first, so that a stopped run leaves nothing half done.
    with tempfile.TemporaryDirectory(prefix=".track-", dir=near) as temporary:
        draft = Path(temporary) / "result"
        draft.mkdir()
        tracks = _write_draft(masks, draft, options.tracking)
        if in_place:
            _replace_files(masks, draft, target)
        else:
            os.replace(draft, target)
    _report(len(masks), tracks, target)


def _list_frames(result: Path) -> list[Path]:
    if not result.is_dir():
        raise InputError(f"{result} is no folder: give the folder with maskNNN.tif.")
    home = labels_home(result)
    masks = numbered_images(home)
    if not masks:
        raise InputError(f"{home} holds no maskNNN.tif: `unet2015 predict --labels` writes them.")
    missing = sorted(set(range(max(masks) + 1)) - masks.keys())
    if missing:
        raise InputError(
            f"{home} misses frame {missing[0]} ({len(missing)} of {max(masks) + 1} frames): "
            "a track needs the masks of all frames from mask000.tif on."
        )
    return list(masks.values())


def _write_draft(masks: Sequence[Path], draft: Path, config: TrackingConfig) -> NDArray[np.int64]:
    tracker = Tracker(config)
    for path in Progress(masks, "tracking", unit="frame", disable=None):
        with open_labels(path) as image:
            labels, size = image.read_single()[0], image.pixel_size
        try:
            numbered = tracker.link(labels)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        write_image(draft / f"mask{frame_digits(path)}.tif", numbered, pixel_size=size)
    if not len(tracker.tracks):
        raise InputError(
            f"{masks[0].parent} holds no cell in any of its {len(masks)} frames: "
            "the challenge's format allows no result without tracks."
        )
    write_tracks(draft / TRACK_FILE, tracker.tracks)
    return tracker.tracks


def _replace_files(masks: Sequence[Path], draft: Path, target: Path) -> None:
    """Move the draft's files over those of the target, the track file last.

    Stopped in between, the target has no track file and masks with some old and some new numbers:
    good segmentations still, to be tracked again.
    """
    (target / TRACK_FILE).unlink(missing_ok=True)
    for path in sorted(draft.iterdir(), key=lambda path: path.name == TRACK_FILE):
        os.replace(path, target / path.name)
    for path in masks:
        renamed = target / f"mask{frame_digits(path)}.tif"
        if path.exists() and not path.samefile(renamed):  # mask000.TIF is the same file to some
            path.unlink()


def _report(frames: int, tracks: NDArray[np.int64], target: Path) -> None:
    children = np.bincount(tracks[:, 3])[1:]
    logger.info(
        "%d frames: %d tracks, %d divisions, %d cells found again after a gap. They are in %s.",
        frames,
        len(tracks),
        int((children > 1).sum()),
        int((children == 1).sum()),
        target,
    )
