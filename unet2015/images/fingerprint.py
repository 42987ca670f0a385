"""Noticing that an input changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_SAMPLE_BYTES = 1 << 16
_OF_SYSTEMS = (".DS_Store", "Thumbs.db", "desktop.ini")
"""What file managers leave in a folder at which somebody looks; ``._NAME`` is one of these, too."""


def fingerprint(path: Path | str) -> str:
    """Identify the present state of an image cheaply, without reading it whole.

    Parameters
    ----------
    path : Path or str
        A file, or a folder (Zarr, frames), of which every file counts. Of an OME-TIFF in several
        files only the one given does.

    Returns
    -------
    str
        64 hexadecimal digits from size, time of change and, for a single file, the first and last
        64 KiB. It stays the same when the file is moved.

    Raises
    ------
    OSError
        If the path does not exist or cannot be read.
    """
    path = Path(path)
    digest = hashlib.sha256()
    if path.is_dir():
        for folder, folders, files in os.walk(path):
            folders.sort()
            for name in sorted(files):
                if name in _OF_SYSTEMS or name.startswith("._"):
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
    return digest.hexdigest()


def _state(state: os.stat_result) -> str:
    return f"{state.st_size} {state.st_mtime_ns}"
