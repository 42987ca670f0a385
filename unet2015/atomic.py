"""Files that are either complete or absent."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from .errors import InputError

PARTIAL = ".????????.partial.*"
"""Pattern for the temporary names: what a process that was killed while it wrote has left."""


def check_writable(path: Path) -> None:
    """Refuse now a name under which no file could be written later; folders may be missing.

    Raises
    ------
    InputError
        If it is a folder, or its place cannot be written to.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the name of a file.")
    home = next(folder for folder in path.absolute().parents if folder.exists())
    if not (home.is_dir() and os.access(home, os.W_OK | os.X_OK)):
        raise InputError(f"{home} is no folder that can be written to: choose another place.")


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk, to be there after a power cut.

    Not every file system can do that for folders, and Windows need not.
    """
    is_folder = path.is_dir()
    with suppress(OSError) if is_folder else nullcontext():
        number = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
        try:
            os.fsync(number)
        finally:
            os.close(number)


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary name beside `path` that becomes `path` when the block ends well.

    Parameters
    ----------
    path : Path or str
        The final name. Its folder must exist. An existing file is replaced.

    Yields
    ------
    Path
        The name to write to, in the same folder and with the same suffixes, so that writers which
        look at the suffix behave. It is deleted if the block raises.
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.partial.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is not None and Path(error.filename) == temporary:
            error.filename = str(path)  # the only name that means something to the user
        raise
    finally:
        temporary.unlink(missing_ok=True)
