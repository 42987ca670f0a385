"""File names of the Cell Tracking Challenge: frames ``tNNN`` and the label images of frames."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from ..errors import InputError
from ..images.opening import image_files, stem

_Key = TypeVar("_Key", int, str)
_FRAME = re.compile(r"t(\d{3,})", re.IGNORECASE)
_MASK = re.compile(r"(?:mask|man_seg|man_track)(\d{3,})")
_TIFF = (".tif", ".tiff")


def is_sequence(folder: Path) -> bool:
    """Whether `folder` holds the images of a CTC sequence: ``t000.tif``, ``t001.tif``, ..."""
    return folder.is_dir() and any(map(_is_frame, folder.iterdir()))


def sequence_frames(folder: Path) -> dict[int, Path]:
    """Images of a CTC sequence by frame number, in temporal order."""
    frames = filter(_is_frame, folder.iterdir())
    return one_each(folder, sorted((int(frame_digits(path)), path) for path in frames))


def _is_frame(path: Path) -> bool:
    return path.suffix.lower() in _TIFF and _FRAME.fullmatch(path.stem) is not None


def frame_digits(path: Path) -> str:
    """Digits in the name of a frame that `sequence_frames` lists, ``017`` for ``t017.tif``."""
    match = _FRAME.fullmatch(path.stem)
    assert match is not None
    return match[1]


def find_image(folder: Path, name: str) -> Path | None:
    """Find the image of a frame: ``tNNN`` for a number, or a file with that stem."""
    images = image_files(folder)
    if name.isdecimal():
        for path in images:
            match = _FRAME.fullmatch(stem(path))
            if match is not None and int(match[1]) == int(name):
                return path
    return next((path for path in images if stem(path) == name), None)


def mask_name(name: str) -> str:
    """The name under which `label_images` lists the mask of a frame ``tNNN``, else `name`."""
    match = _FRAME.fullmatch(name)
    return f"{int(match[1]):03d}" if match else name


def numbered_images(folder: Path) -> dict[int, Path]:
    """List ``maskNNN``, ``man_segNNN`` or ``man_trackNNN`` images by number, ascending."""
    found = [(int(mask_digits(path)), path) for path in image_files(folder) if is_numbered(path)]
    return one_each(folder, sorted(found))


def is_numbered(path: Path) -> bool:
    """Whether `numbered_images` lists files of this name."""
    return _MASK.fullmatch(stem(path)) is not None


def mask_digits(path: Path) -> str:
    """Digits in a name that `numbered_images` lists, with leading zeros."""
    match = _MASK.fullmatch(stem(path))
    assert match is not None
    return match[1]


def one_each(folder: Path, found: Iterable[tuple[_Key, Path]]) -> dict[_Key, Path]:
    """Map frames to their images; refuse a folder with two images of a frame."""
    images: dict[_Key, Path] = {}
    for key, path in found:
        if key in images:
            raise InputError(
                f"{folder} holds {images[key].name} and {path.name} for one frame: remove one."
            )
        images[key] = path
    return images
