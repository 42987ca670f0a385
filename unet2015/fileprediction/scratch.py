"""Unfinished work beside its result, from which a killed run is resumed.

The order of writes makes it safe: pixels are on disk before the ledger lists them, and the purpose
of a folder is written only when it is ready.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections import UserDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from ..atomic import atomic_path, empty_locked, flush_to_disk, lock, remove_locked, sync
from ..errors import InputError

logger = logging.getLogger(__name__)

_PURPOSE, _LEDGER, _LOCK, _PIXELS = "purpose.json", "ledger.jsonl", "lock", "pixels"
_FINISHED = "finished"


class Ledger(UserDict[str, Any]):
    """A record of finished work: a dictionary whose entries survive a power cut once set.

    Each entry is appended to a file as one line of JSON, ``[key, value]``. A truncated line, left
    by a full disk for instance, is dropped when the ledger is reopened.

    Parameters
    ----------
    path : Path
        The file; created if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = open(path, "a+b")  # noqa: SIM115
        self._file.seek(0)
        self.data, end = _entries(self._file)
        self._file.truncate(end)

    def __setitem__(self, key: str, value: Any) -> None:
        self._file.write(json.dumps([key, value]).encode() + b"\n")
        self._file.flush()
        flush_to_disk(self._file.fileno())
        super().__setitem__(key, value)

    def close(self) -> None:
        """Close the file; a last line that does not fit on a full disk is lost."""
        with suppress(OSError):
            self._file.close()


class Scratch:
    """A hidden folder for unfinished work, locked to one process. A context manager.

    Parameters
    ----------
    folder : Path
        Created if it does not exist.
    purpose : mapping
        Everything that the work depends on, as JSON values under names that users understand.
    overwrite : bool
        Whether to discard the leftovers of another run instead of resuming it.

    Attributes
    ----------
    ledger : Ledger
        Record of finished work.

    Raises
    ------
    InputError
        On entering, if the folder holds work for another purpose or another process has it.
    """

    def __init__(self, folder: Path, purpose: Mapping[str, Any], overwrite: bool = False) -> None:
        self.folder = folder
        self._purpose = json.loads(json.dumps(purpose))
        self._overwrite = overwrite

    def __enter__(self) -> Self:
        self._lock = lock(self.folder / _LOCK)
        try:
            self._prepare()
            self.ledger = Ledger(self.folder / _LEDGER)
        except BaseException:
            self._lock.close()
            raise
        return self

    def _prepare(self) -> None:
        written = self.folder / _PURPOSE
        if not self._overwrite:
            if _read_purpose(self.folder) == self._purpose:
                return
            unfinished = unfinished_purpose(self.folder)
            if unfinished:
                if unfinished.keys() != self._purpose.keys():
                    raise InputError(
                        f"{self.folder} holds an unfinished prediction by another version of "
                        "unet2015: finish it with that version, or start over with --overwrite."
                    )
                changed = _differing(unfinished, self._purpose)
                details = ", ".join(_describe(name, unfinished, self._purpose) for name in changed)
                raise InputError(
                    f"{self.folder} holds an unfinished prediction with {details}: repeat the "
                    "command that began it, or start over with --overwrite."
                )
        written.unlink(missing_ok=True)
        empty_locked(self.folder, self._lock)
        with atomic_path(written) as temporary:
            temporary.write_text(json.dumps(self._purpose))
        sync(self.folder)

    def __exit__(self, *_: object) -> None:
        self.ledger.close()
        self._lock.close()

    def pixels(
        self, shape: Sequence[int], dtype: np.dtype[Any], chunk: tuple[int, int]
    ) -> ScratchPixels:
        """Open the array of the result, creating it if needed.

        Parameters
        ----------
        shape : sequence of int
            Ends in height and width.
        dtype : numpy.dtype
            Pixel type.
        chunk : (int, int)
            Height and width of the chunks.
        """
        import zarr  # importing it takes half a second

        if _PIXELS not in self.ledger:
            # A new name, so that workers of an earlier run that still write do no harm.
            path = self.folder / f"{_PIXELS}-{secrets.token_hex(4)}.zarr"
            chunks = (*(1 for _ in shape[:-2]), *chunk)
            zarr.create_array(path, shape=tuple(shape), dtype=dtype, chunks=chunks)
            sync(path / "zarr.json")
            sync(path)
            sync(self.folder)
            self.ledger[_PIXELS] = path.name
        return ScratchPixels(self.folder / self.ledger[_PIXELS])

    def keep(self) -> None:
        """Keep the folder, but let a run for another purpose replace it."""
        self.ledger[_FINISHED] = None

    def remove(self) -> None:
        """Delete the folder, when the result is complete and on disk."""
        # The purpose first: without it, the folder does not count as work to resume.
        (self.folder / _PURPOSE).unlink()
        self.ledger.close()
        try:
            remove_locked(self.folder, self._lock)
        except OSError as error:  # another program has it open, or another process has taken it
            logger.warning("%s is not needed but could not be removed (%s).", self.folder, error)


class ScratchPixels:
    """A Zarr array whose regions are synced to disk when they are set."""

    def __init__(self, path: Path) -> None:
        import zarr

        self.path = path
        self._array = zarr.open_array(path, mode="r+")
        self._named: set[Path] = set()
        self.shape: tuple[int, ...] = self._array.shape
        self.dtype: np.dtype[Any] = self._array.dtype

    def __getitem__(self, index: Any) -> Any:
        return self._array[index]

    def __setitem__(self, index: tuple[int | slice, ...], pixels: NDArray[Any]) -> None:
        self._array[index] = pixels
        bounds = [(i, i + 1) if isinstance(i, int) else (i.start, i.stop) for i in index]
        touched = (
            range(start // size, (stop - 1) // size + 1)
            for (start, stop), size in zip(bounds, self._array.chunks, strict=True)
        )
        for chunk in product(*touched):
            file = self.path / self._array.metadata.encode_chunk_key(chunk)
            if file.exists():  # Zarr leaves out chunks of zeros
                sync(file)
                self._sync_name(file)

    def _sync_name(self, file: Path) -> None:
        """Sync the directory entry of a file and, once, those of the new folders above it."""
        home, *above = file.relative_to(self.path).parents
        for folder in [home] if home in self._named else [home, *above]:
            sync(self.path / folder)
        self._named.add(home)


def _entries(file: IO[bytes]) -> tuple[dict[str, Any], int]:
    """Read the entries of a ledger's file, and how many of its bytes they take."""
    entries: dict[str, Any] = {}
    end = 0
    for line in file:
        if not line.endswith(b"\n"):
            break
        try:
            key, value = json.loads(line)
        except (TypeError, ValueError):  # a power cut may leave anything where a line should be
            break
        entries[key] = value
        end += len(line)
    return entries, end


def unfinished_purpose(folder: Path) -> dict[str, Any]:
    """Purpose of the unfinished work in a scratch folder; empty if there is none."""
    with suppress(FileNotFoundError, NotADirectoryError), open(folder / _LEDGER, "rb") as file:
        if _FINISHED in _entries(file)[0]:
            return {}
    return _read_purpose(folder)


def differences(unfinished: Mapping[str, Any], purpose: Mapping[str, Any]) -> list[str]:
    """Names of the entries in which the purpose of unfinished work differs from this."""
    return _differing(unfinished, json.loads(json.dumps(purpose)))


def _read_purpose(folder: Path) -> dict[str, Any]:
    """Purpose of a folder; empty if it cannot be read, so that no work was begun."""
    try:
        return dict(json.loads((folder / _PURPOSE).read_bytes()))
    except (FileNotFoundError, NotADirectoryError, TypeError, ValueError):
        return {}


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [name for name in {**before, **now} if before.get(name) != now.get(name)]


def _describe(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Describe a difference in words; digests mean nothing to a reader."""
    if len(f"{before.get(name)}") == 64:
        return f"another {name}"
    return f"{name} {before.get(name)} instead of {now.get(name)}"
