"""Which images a path means, and what their results are called."""

from __future__ import annotations

import glob
import logging
import platform
from collections.abc import Iterator
from pathlib import Path

from .datasets.ctc import frame_number, is_sequence, sequence_frames
from .errors import InputError
from .images import IMAGE_SUFFIXES
from .images.opening import image_files, images_beside, is_zarr

logger = logging.getLogger(__name__)


def expand(path: Path) -> Iterator[tuple[Path, str, bool]]:
    """List the images under a path.

    Parameters
    ----------
    path : Path
        An image, a folder of images, a sequence of the challenge, or, on Windows, a pattern.

    Yields
    ------
    source : Path
        The image.
    name : str
        Of the file for its result.
    is_frame : bool
        Whether it belongs to a sequence of the challenge.

    Raises
    ------
    InputError
        If a folder holds no images.
    """
    if is_sequence(path):
        frames = sequence_frames(path)
        if others := images_beside(path, frames):
            logger.warning(
                "%s is a sequence (t000.tif, ...); left out: %s.", path, ", ".join(others)
            )
        for frame in frames:
            yield frame, f"mask{frame_number(frame)}.tif", True
    elif path.is_dir() and not is_zarr(path):
        files = image_files(path)
        results = {result_beside(file, _result_name(file)) for file in files}
        if found := results.intersection(files):
            names = ", ".join(sorted(file.name for file in found))
            logger.info("left out as results of other images: %s.", names)
        if others := images_beside(path, files):
            logger.warning("left out, to be named one by one: %s.", ", ".join(others))
        files = [file for file in files if file not in found]
        if not files:
            raise InputError(f"{path} holds no images ({', '.join(IMAGE_SUFFIXES)}).")
        for file in files:
            yield file, _result_name(file), False
    elif matches := _matches(path):
        for match in matches:
            yield from expand(match)
    else:
        yield path, _result_name(path), False


def _matches(pattern: Path) -> list[Path]:
    """Files of a pattern, which the shells of Windows leave to the program."""
    if platform.system() != "Windows" or pattern.exists():
        return []
    found = map(Path, glob.glob(str(pattern).replace("[", "[[]")))  # brackets may be in names
    return sorted(path for path in found if path.exists())


def result_beside(image: Path, name: str) -> Path:
    """Where the result of an image, of a given name, goes if nothing else is said."""
    stem, dot, suffix = name.partition(".ome.") if ".ome." in name else name.rpartition(".")
    return image.with_name(f"{stem}-predicted{dot}{suffix}")


def _result_name(path: Path) -> str:
    return path.name if path.suffix.lower().startswith(".tif") else f"{path.stem}.tif"
