"""Files that are either complete or absent, and folders that one process has to itself."""

from __future__ import annotations

import errno
import logging
import os
import platform
import shutil
import sys
import time
import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO

from .errors import InputError

logger = logging.getLogger(__name__)

WAITS = (0.1, 0.5, 2.0, 5.0)
"""Seconds between attempts to rename on Windows, which does not while another program, a virus
scanner or a viewer, has the file open."""
PARTIAL = ".????????.partial.*"
"""Pattern for the temporary names: what a process that was killed while it wrote has left."""
LEFT_AFTER = 3600
"""Seconds after which a file is no longer being written, but was left by a killed process."""

ATTEMPTS = 100
"""How often a lock is tried for that other processes delete, one after the other."""
LONGEST = 32
"""Characters of a name that are in its temporary one."""
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What some network drives answer."""


def check_writable(path: Path) -> None:
    """Refuse now a name under which no file could be written later; folders may be missing.

    Raises
    ------
    InputError
        If it is a folder, or its place cannot be written to.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the name of a file.")
    check_place(path)


def check_place(path: Path) -> None:
    """Refuse now a file or folder in whose place nothing could be made later.

    Raises
    ------
    InputError
        If the innermost folder above it that there is cannot be written to.
    """
    path = path.absolute()
    above = (folder for folder in path.parents if os.path.lexists(folder))
    home = next(above, Path(path.anchor))  # the drive, which may not be there
    if not is_writable(home):
        raise InputError(f"{home} is no folder that can be written to: choose another place.")


def is_writable(folder: Path) -> bool:
    """Try whether files can be made in a folder; permissions alone do not tell it everywhere."""
    probe = _partial(folder, "probe")
    try:
        probe.touch(exist_ok=False)
    except OSError:
        return False
    with suppress(OSError):
        probe.unlink()
    return True


def name_on_disk(path: Path) -> str:
    """Equal for names of one file: macOS and Windows know no case, macOS one form of accents."""
    system, name = platform.system(), str(path)
    if system == "Darwin":
        name = unicodedata.normalize("NFC", name)
    return name.lower() if system in ("Darwin", "Windows") else name


def to_disk(file: int) -> None:
    """Bring what was written to an open file to the disk."""
    if sys.platform == "darwin":
        import fcntl

        # On macOS fsync leaves it in the drive's cache; not every file system knows more.
        with suppress(OSError):
            fcntl.fcntl(file, fcntl.F_FULLFSYNC)
            return
    os.fsync(file)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk, to be there after a power cut.

    Not every file system can do that for folders, and Windows need not.
    """
    is_folder = path.is_dir()
    with suppress(OSError) if is_folder else nullcontext():
        number = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
        try:
            to_disk(number)
        finally:
            os.close(number)


def put(source: Path, target: Path) -> None:
    """Rename a file or folder. A file of that name is replaced; on Windows no folder is.

    Raises
    ------
    OSError
        If it cannot be done, on Windows after some seconds in which other programs had their chance
        to close the file.
    """
    for seconds in WAITS if sys.platform == "win32" else ():
        try:
            os.replace(source, target)
        except PermissionError:
            time.sleep(seconds)
        else:
            return
    os.replace(source, target)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Make a hidden folder for unfinished files, which is gone when the block ends.

    Unlike those of `tempfile` it is not private: on Windows files stay so when they move out.
    """
    folder = parent / f".{uuid.uuid4().hex[:8]}.unfinished"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _partial(folder: Path, name: str) -> Path:
    """A hidden name with the same suffixes, but not so long that the disk has none like it."""
    return folder / f".{uuid.uuid4().hex[:8]}.partial.{name[-LONGEST:]}"


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary name beside `path` that becomes `path` when the block ends well.

    Parameters
    ----------
    path : Path or str
        The final name. Its folder is made if need be. An existing file is replaced, and so is a
        link, not what it points to.

    Yields
    ------
    Path
        The name to write to, in the same folder and with the same suffixes, so that writers which
        look at the suffix behave. It is deleted if the block raises.
    """
    path = Path(path)
    temporary = _partial(path.parent, path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        sync(temporary)
        put(temporary, path)
    except OSError as error:
        if error.filename is None or Path(error.filename) == temporary:
            error.filename = str(path)  # the only name that means something to the user
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def clear_left(folder: Path) -> None:
    """Delete what killed processes left half written in a folder, which may be missing."""
    for left in folder.glob(PARTIAL):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFT_AFTER:
                left.unlink()


def empty_locked(folder: Path, file: IO[bytes]) -> None:
    """Delete all in a folder but the locked file."""
    for path in folder.iterdir():
        if path.name != Path(file.name).name:
            is_folder = path.is_dir() and not path.is_symlink()
            shutil.rmtree(path) if is_folder else path.unlink()


def remove_locked(folder: Path, file: IO[bytes]) -> None:
    """Delete a folder that this process has to itself by a locked file in it.

    Raises
    ------
    OSError
        If another program looks at it, or another process has it now.
    """
    try:
        with suppress(OSError):
            empty_locked(folder, file)
        try:
            os.unlink(file.name)
        except PermissionError:  # Windows deletes no open file
            file.close()
            os.unlink(file.name)
    finally:
        file.close()
    folder.rmdir()


def lock(path: Path) -> IO[bytes]:
    """Open a file that one process at a time can have; it is free when the process ends.

    The file is made if need be, and so is its folder.
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "ab")  # noqa: SIM115
        except (FileNotFoundError, FileExistsError):
            if left:  # who had it before deletes the folder at this moment
                continue
            raise
        _take(file, path)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # who had it before has deleted it meanwhile
    raise InputError(f"other processes are working in {path.parent}: wait until they are done.")


def _take(file: IO[bytes], path: Path) -> None:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the latter on Windows
        file.close()
        raise InputError(
            f"another process is working in {path.parent}: wait until it has finished."
        ) from None
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            file.close()
            raise
        logger.warning(
            "%s lies on a drive without locks: let no second process work there.", path.parent
        )
