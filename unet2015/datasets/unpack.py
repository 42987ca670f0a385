"""Unpack an untrusted zip archive."""

from __future__ import annotations

import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ..atomic import rename, temporary_folder
from ..errors import InputError
from ..progress import Progress

MOST_FILES = 20_000
LARGEST = 4 * 2**30
"""Maximum total size of the files in bytes, a few times that of the largest data set."""
CHUNK = 2**20

_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a compression that zipfile does not know
    RuntimeError,  # encrypted
    FileExistsError,  # two members of the same name
    NotADirectoryError,
)


def unpack(archive: Path, folder: Path, holds: Sequence[str]) -> None:
    """Unpack an archive into a new folder, which appears once it is complete.

    Parameters
    ----------
    archive : Path
        A zip file.
    folder : Path
        Receives the contents, without the archive's top folder if there is only one.
    holds : sequence of str
        Paths that the contents must include.

    Raises
    ------
    InputError
        If the archive is damaged, has a path that leaves the folder, a link, too many files or too
        many bytes, or lacks a path of `holds`. Nothing is left behind.
    """
    with temporary_folder(folder.parent) as temporary:
        draft = temporary / "data"
        draft.mkdir()
        try:
            with zipfile.ZipFile(archive) as opened:
                _extract(opened, archive, draft)
        except (*_DAMAGED, OSError) as error:
            if not isinstance(error, _DAMAGED) and error.errno is not None:
                raise  # a disk error; errors of bzip2 have no errno
            raise InputError(
                f"{archive} is damaged or not a zip archive ({error}): delete and fetch it again."
            ) from error
        home = _home(draft)
        missing = [path for path in holds if not (home / path).exists()]
        if missing:
            raise InputError(
                f"{archive} does not hold {missing[0]}: it is not the expected data set."
            )
        rename(home, folder)


def _extract(opened: zipfile.ZipFile, archive: Path, draft: Path) -> None:
    members = [member for member in opened.infolist() if not member.is_dir()]
    if len(members) > MOST_FILES:
        raise InputError(f"{archive} holds {len(members):,} files: at most {MOST_FILES:,} may be.")
    left = LARGEST
    for member in Progress(members, f"unpacking {archive.name}", unit="file"):
        target = draft / _safe(archive, member)
        target.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(member) as source, target.open("xb") as file:
            while chunk := source.read(CHUNK):  # the size in the header may be wrong
                left -= len(chunk)
                if left < 0:
                    raise InputError(f"{archive} unpacks to more than {LARGEST:,} bytes: refused.")
                file.write(chunk)


def _safe(archive: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    """Relative path of a member; refuse links and paths that leave the folder."""
    path = PurePosixPath(member.filename)
    unsafe = path.is_absolute() or ".." in path.parts or "\\" in member.filename
    if unsafe or ":" in member.filename or stat.S_ISLNK(member.external_attr >> 16):
        raise InputError(
            f"{archive} holds {member.filename!r}, a link or a path that leaves the folder: "
            "it was not unpacked."
        )
    return path


def _home(draft: Path) -> Path:
    """Descend into a single top folder, after removing the one that macOS adds."""
    shutil.rmtree(draft / "__MACOSX", ignore_errors=True)
    inside = list(draft.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else draft
