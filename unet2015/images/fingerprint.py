"""Detect that an input has changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import tifffile

from ..errors import ImageError
from .source import TIFF_SUFFIXES, unreachable
from .tiffchecks import main_series

_SAMPLE_BYTES = 1 << 16
_SYSTEM_FILES = (".DS_Store", "Thumbs.db", "desktop.ini")
"""Files that file managers leave in folders they display, as they do ``._NAME``."""


def fingerprint(path: Path | str) -> str:
    """Identify the current state of an image cheaply, without reading it whole.

    Parameters
    ----------
    path : Path or str
        A file or a folder (Zarr, frames). The other files of a multi-file image and all files in
        the folder are included.

    Returns
    -------
    str
        64 hexadecimal digits: SHA-256 of sizes, modification times and, if `path` is a file, its
        first and last 64 KiB. Moving the image does not change it.

    Raises
    ------
    OSError
        If the path does not exist or cannot be read.
    """
    path = Path(path)
    digest = hashlib.sha256()
    if path.is_dir():
        visited = set()
        for folder, folders, files in os.walk(path, followlinks=True):
            folders.sort()
            if (here := os.path.realpath(folder)) in visited:  # a link to a folder already visited
                folders.clear()
                continue
            visited.add(here)
            for name in sorted(files):
                if name in _SYSTEM_FILES or name.startswith("._"):
                    continue
                file = Path(folder, name)
                state = file.stat()
                digest.update(os.fsencode(f"{file.relative_to(path)}\0{_state(state)}\n"))
        return digest.hexdigest()
    with open(path, "rb") as stream:
        state = os.fstat(stream.fileno())
        digest.update(_state(state).encode())
        digest.update(stream.read(_SAMPLE_BYTES))
        stream.seek(max(0, state.st_size - _SAMPLE_BYTES))
        digest.update(stream.read(_SAMPLE_BYTES))
    for other in companions(path):
        digest.update(os.fsencode(f"{other.name}\0{_state(other.stat())}\n"))
    return digest.hexdigest()


def companions(path: Path) -> list[Path]:
    """Find the other files of a multi-file TIFF image; none if it cannot be read."""
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return []
    try:
        with tifffile.TiffFile(path) as tiff:
            if not (tiff.is_ome or tiff.is_mmstack):
                return []
            pages = main_series(path, tiff).pages
            files = {Path(page.parent.filehandle.path) for page in pages if page is not None}
    except Exception:  # reading the image will report it
        return []
    return sorted({file.resolve() for file in files} - {path.resolve()})


def image_state(path: Path) -> str:
    """Fingerprint an image that may have disappeared since it was listed.

    Raises
    ------
    UnreachableError
        If it cannot be read.
    """
    try:
        return fingerprint(path)
    except OSError as error:
        raise unreachable(path, error) from error


def check_unchanged(path: Path, state: str) -> None:
    """Raise if an image no longer has the fingerprint `state`.

    Raises
    ------
    ImageError
        If it has changed, or is gone (`UnreachableError`).
    """
    if image_state(path) != state:
        raise ImageError(
            f"{path} changed while it was read: repeat the command once it is complete."
        )


def _state(state: os.stat_result) -> str:
    return f"{state.st_size} {state.st_mtime_ns}"
