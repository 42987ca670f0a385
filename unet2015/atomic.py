"""Atomic writing of files, and folders locked by one process."""

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
from itertools import chain
from pathlib import Path
from typing import IO

from .errors import InputError

logger = logging.getLogger(__name__)

WAITS = (0.1, 0.5, 2.0, 5.0)
"""Seconds between attempts to rename on Windows, which fail while another program, such as a virus
scanner or a viewer, has the file open."""
_HEX = "[0-9a-f]" * 8
LEFTOVERS = (f".{_HEX}.partial.*", f".{_HEX}.unfinished")
"""Patterns of temporary files and folders, which a process killed while writing leaves behind."""
LEFTOVER_AGE = 3600
"""Time in seconds without a change after which these count as left behind."""

ATTEMPTS = 100
"""Attempts to take a lock whose file other processes keep deleting."""
LONGEST = 32
"""Characters, from the end of a name, that its temporary name keeps."""
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors of file systems without locks, such as some network drives."""


def check_writable(path: Path) -> None:
    """Check early that a file can be written later; its folders may be missing.

    Raises
    ------
    InputError
        If `path` is a folder, or its place is not writable.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the name of a file.")
    check_place(path)


def check_place(path: Path) -> None:
    """Check early that a file or folder can be created later; its parents may be missing.

    Raises
    ------
    InputError
        If its innermost existing parent is not a writable folder.
    """
    path = path.absolute()
    above = (folder for folder in path.parents if os.path.lexists(folder))
    home = next(above, Path(path.anchor))  # the drive, which may not exist
    if not is_writable(home):
        raise InputError(f"{home} is not a writable folder: choose another place.")


def is_writable(folder: Path) -> bool:
    """Try to create a file in a folder; permissions alone are not reliable everywhere."""
    probe = _partial(folder, "probe")
    try:
        probe.touch(exist_ok=False)
    except OSError:
        return False
    with suppress(OSError):
        probe.unlink()
    return True


def name_on_disk(path: Path) -> str:
    """Equal for names of one file: macOS and Windows ignore case, macOS how accents are coded."""
    system, name = platform.system(), str(path)
    if system == "Darwin":
        name = unicodedata.normalize("NFC", name)
    return name.lower() if system in ("Darwin", "Windows") else name


def flush_to_disk(file: int) -> None:
    """Flush an open file, given by its descriptor, to the disk."""
    if sys.platform == "darwin":
        import fcntl

        # On macOS fsync stops at the drive's cache; not every file system supports more.
        with suppress(OSError):
            fcntl.fcntl(file, fcntl.F_FULLFSYNC)
            return
    os.fsync(file)


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk, so that they survive a power cut.

    For folders, errors are ignored: not every file system supports this, and Windows need not.
    """
    is_folder = path.is_dir()
    with suppress(OSError) if is_folder else nullcontext():
        number = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
        try:
            flush_to_disk(number)
        finally:
            os.close(number)


def rename(source: Path, target: Path) -> None:
    """Rename a file or folder. An existing file is replaced; on Windows, a folder is not.

    Raises
    ------
    OSError
        If it fails, on Windows after some seconds of retries while another program may have the
        file open.
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
    """Create a hidden folder for unfinished files, deleted when the block ends.

    Unlike those of `tempfile` it is not private: on Windows, files moved out of a private folder
    stay private.
    """
    remove_leftovers(parent)
    folder = parent / f".{uuid.uuid4().hex[:8]}.unfinished"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _partial(folder: Path, name: str) -> Path:
    """A hidden temporary name with the same suffixes, short enough for any file system."""
    return folder / f".{uuid.uuid4().hex[:8]}.partial.{name[-LONGEST:]}"


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path that is renamed to `path` when the block succeeds.

    Parameters
    ----------
    path : Path or str
        The final path; missing folders are created. An existing file is replaced, and so is a link,
        not its target.

    Yields
    ------
    Path
        The path to write to, in the same folder and with the same suffixes, from which writers
        infer the format. It is deleted if the block raises.
    """
    path = Path(path)
    temporary = _partial(path.parent, path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with named_errors(path, temporary):
            yield temporary
            sync(temporary)
            rename(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def named_errors(path: Path, hidden: Path) -> Iterator[None]:
    """Name a result in errors that name no file, or only a hidden temporary one."""
    try:
        yield
    except OSError as error:
        if error.filename is None or hidden in (file := Path(error.filename), *file.parents):
            error.filename = str(path)
        raise


def remove_leftovers(folder: Path) -> None:
    """Delete unfinished results of killed processes from a folder, which may be missing."""
    for path in chain.from_iterable(map(folder.glob, LEFTOVERS)):
        with suppress(OSError):
            changed = max(part.lstat().st_mtime for part in (path, *path.rglob("*")))
            if time.time() - changed > LEFTOVER_AGE:
                _delete(path)


def _delete(path: Path) -> None:
    """Delete a folder with its contents, or a file or link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def empty_locked(folder: Path, file: IO[bytes]) -> None:
    """Delete everything in a folder except the locked file."""
    for path in folder.iterdir():
        if path.name != Path(file.name).name:
            _delete(path)


def remove_locked(folder: Path, file: IO[bytes]) -> None:
    """Delete a folder that this process holds by a locked file in it.

    Raises
    ------
    OSError
        If another program has it open, or another process holds it by now.
    """
    try:
        with suppress(OSError):
            empty_locked(folder, file)
        try:
            os.unlink(file.name)
        except PermissionError:  # Windows cannot delete an open file
            file.close()
            os.unlink(file.name)
    finally:
        file.close()
    folder.rmdir()


def lock(path: Path) -> IO[bytes]:
    """Open a file, and lock it until it is closed or the process ends.

    The file and its folder are created if missing.

    Raises
    ------
    InputError
        If another process holds the lock.
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "ab")  # noqa: SIM115
        except (FileNotFoundError, FileExistsError):
            if left:  # the last holder is deleting the folder
                continue
            raise
        _take(file, path)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # the last holder has deleted it meanwhile
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
            "%s is on a drive without locks: let no second process work there.", path.parent
        )
