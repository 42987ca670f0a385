"""Link the numbered cells of a sequence into tracks.

RESULT is a folder with one label image per frame (mask000.tif, mask001.tif, ...) or a stack of
frames (TIFF or Zarr), as `unet2015 predict --labels` writes them. The masks are renumbered
consistently, and res_track.txt lists the tracks, in the format of the Cell Tracking Challenge.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tyro.conf import OmitArgPrefixes, Positional, arg

from ..atomic import check_writable, rename, temporary_folder
from ..errors import InputError
from ..fileprediction import RECORD
from ..images import IMAGE_SUFFIXES, PixelSize, write_image
from ..labelfiles.ctcnames import mask_digits, numbered_images
from ..labelfiles.doubt import SEVERAL_PIECES, doubt, numbers_in_pieces
from ..labelfiles.labelfolder import is_one_image, labels_home
from ..labelfiles.labelimages import integer_labels, open_labels, read_plane
from ..labelfiles.trackfile import TRACK_FILE, write_tracks
from ..progress import Progress
from ..tracking import Tracker, TrackingConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Options of ``unet2015 track``."""

    result: Annotated[Positional[Path], arg(metavar="RESULT")]
    """Folder with maskNNN.tif, or a stack of label images."""
    out: Annotated[Path | None, arg(aliases=["-o"])] = None
    """New folder for the tracked result; by default, a folder RESULT is renumbered in place."""
    tracking: OmitArgPrefixes[TrackingConfig] = field(default_factory=TrackingConfig)


def run(options: Options) -> None:
    """Track the cells and write the tracked result."""
    masks = [] if is_one_image(options.result) else _list_frames(options.result)
    source = masks[0].parent if masks else options.result
    target = options.out or source
    in_place = target.resolve() == source.resolve()
    _check_target(source, masks, target, in_place)
    if not masks:
        _check_stack(source, target)
    near = target if target.is_dir() else target.parent
    near.mkdir(parents=True, exist_ok=True)
    # Write to a temporary folder first, so that an interrupted run leaves no partial result.
    with temporary_folder(near) as temporary:
        draft = temporary / "result"
        draft.mkdir()
        frames = _read_masks(masks) if masks else _read_stack(source)
        number, tracks = _write_draft(frames, draft, options.tracking)
        if not len(tracks):
            raise InputError(
                f"{source} holds no cell in any of its {number} frames: "
                "the challenge's format needs at least one track."
            )
        if target.is_dir():
            _replace_files(masks if in_place else [], draft, target)
        else:
            rename(draft, target)
    _report(number, tracks, target)


def _check_target(source: Path, masks: Sequence[Path], target: Path, in_place: bool) -> None:
    """Refuse a target that cannot be written or must not be overwritten."""
    if in_place and not masks:
        raise InputError(
            f"{source} is a single image, but tracks need a folder: give one with --out."
        )
    if in_place and not all(path.name.startswith("mask") for path in masks):
        raise InputError(
            f"{source} holds reference masks, which must not be renumbered: "
            "give a folder for the tracks with --out."
        )
    if not in_place and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists and is not empty: give --out a new folder.")
    if target.suffix.lower() in (*IMAGE_SUFFIXES, ".zarr") and not target.is_dir():
        raise InputError(f"{target} is not a folder name: give --out without a suffix.")
    check_writable(target / TRACK_FILE)


def _list_frames(result: Path) -> list[Path]:
    if not result.is_dir():
        raise InputError(f"{result} does not exist: give the folder with maskNNN.tif, or a stack.")
    home = labels_home(result)
    record = home / RECORD
    if record.exists():
        raise InputError(
            f"{home} holds an unfinished prediction: repeat the command that began it, or remove "
            f"{record}."
        )
    masks = numbered_images(home)
    if not masks:
        raise InputError(
            f"{home} holds no maskNNN.tif: `unet2015 predict` writes them for images t000.tif, "
            "t001.tif, ..., without --classes and --dtype; otherwise number the files of labels "
            "like that, or give a stack."
        )
    missing = sorted(set(range(max(masks) + 1)) - masks.keys())
    if missing:
        raise InputError(
            f"{home} has no mask for {len(missing)} of {max(masks) + 1} frames, the first is frame "
            f"{missing[0]}: a track needs the masks of all frames from mask000.tif on."
        )
    return list(masks.values())


class _Frame(NamedTuple):
    source: Path
    digits: str
    labels: NDArray[Any]
    pixel_size: PixelSize


def _read_masks(masks: Sequence[Path]) -> Iterator[_Frame]:
    for path in Progress(masks, "tracking", unit="frame"):
        with open_labels(path) as image:
            labels, size = integer_labels(image.read_single()[0], path), image.pixel_size
        yield _Frame(path, mask_digits(path), labels, size)


def _read_stack(stack: Path) -> Iterator[_Frame]:
    with open_labels(stack) as image:
        digits = max(3, len(str(len(image.planes) - 1)))
        size = {axis: step for axis, step in image.pixel_size.items() if axis in "YX"}
        for plane in Progress(image.planes, "tracking", unit="frame"):
            yield _Frame(stack, f"{plane[0]:0{digits}d}", read_plane(image, plane), size)


def _check_stack(stack: Path, target: Path) -> None:
    with open_labels(stack) as image:
        if len(image.plane_axes) != 1:
            raise InputError(
                f"{stack} is not a stack of frames ({image.describe()}): it needs one axis besides "
                "height and width, time."
            )
    if stack.resolve() in target.resolve().parents:
        raise InputError(f"{target} lies in the input {stack}: give --out a folder outside it.")


def _write_draft(
    frames: Iterator[_Frame], draft: Path, config: TrackingConfig
) -> tuple[int, NDArray[np.int64]]:
    """Write the tracked masks and their tracks; returns the number of frames, and the tracks."""
    tracker, number, checked = Tracker(config), 0, False
    for frame in frames:
        number += 1
        if not checked and frame.labels.any():
            _check_labels(frame)
            checked = True
        try:
            numbered = tracker.link(frame.labels)
        except InputError as error:
            raise InputError(f"{frame.source}: {error}") from error
        write_image(draft / f"mask{frame.digits}.tif", numbered, pixel_size=frame.pixel_size)
    if len(tracker.tracks):
        write_tracks(draft / TRACK_FILE, tracker.tracks)
    return number, tracker.tracks


def _check_labels(frame: _Frame) -> None:
    """Refuse what is no label image, and warn of masks, which the tracks would replace."""
    if why := doubt(frame.labels):
        raise InputError(f"{frame.source}: {why}")
    if numbers_in_pieces(frame.labels):
        logger.warning(
            "%s: %s, and are tracked as one cell: if each piece is a cell, number them first, as "
            "`unet2015 predict --labels` does.",
            frame.source,
            SEVERAL_PIECES,
        )


def _replace_files(masks: Sequence[Path], draft: Path, target: Path) -> None:
    """Move the draft's files over those of the target, the track file last.

    If interrupted, the target has no track file and a mix of old and new numbers: still a valid
    segmentation, which can be tracked again.
    """
    (target / TRACK_FILE).unlink(missing_ok=True)
    for path in sorted(draft.iterdir(), key=lambda path: path.name == TRACK_FILE):
        rename(path, target / path.name)
    for path in masks:
        renamed = target / f"mask{mask_digits(path)}.tif"
        if path.exists() and not path.samefile(renamed):  # mask000.TIF may be the same file
            path.unlink()


def _report(frames: int, tracks: NDArray[np.int64], target: Path) -> None:
    children = np.bincount(tracks[:, 3])[1:]
    logger.info(
        "frames: %d, tracks: %d, divisions: %d, reappearances after a gap: %d; written to %s.",
        frames,
        len(tracks),
        (children > 1).sum(),
        (children == 1).sum(),
        target,
    )
