"""Which label image becomes which weight map and target."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from ..images.opening import is_zarr
from ..labelfiles.labelfolder import label_images

SUFFIXES = (".tif", ".tiff", ".zarr")


class Job(NamedTuple):
    """One label image and its results."""

    labels: Path
    out: Path
    target: Path | None


def plan(labels: Path, out: Path, target: Path | None) -> list[Job]:
    """Name the results of each label image.

    Parameters
    ----------
    labels : Path
        A label image, or a folder of label images.
    out, target : Path
        For one label image, its results, or folders for them; otherwise folders. A name without
        suffix is a folder.

    Raises
    ------
    InputError
        If there is no label image, or several would become one file.
    """
    if not labels.is_dir() or is_zarr(labels):
        return [_single(labels, out, target)]
    found = list(label_images(labels).values())
    if len(found) == 1 and out.suffix.lower() in SUFFIXES:
        return [_single(found[0], out, target)]
    for path in (out, target):
        if path is not None and path.suffix.lower() in (*SUFFIXES, ".png"):
            raise InputError(
                f"{len(found)} label images cannot become one file, {path}: "
                "give the name of a folder."
            )
    return [
        Job(path, out / f"{path.stem}.tif", target and target / f"{path.stem}.tif")
        for path in found
    ]


def _single(labels: Path, out: Path, target: Path | None) -> Job:
    return Job(labels, _in_folder(out, labels), target and _in_folder(target, labels))


def _in_folder(path: Path, labels: Path) -> Path:
    """The name of a result of one label image, in `path` if that is to be a folder."""
    is_folder = not path.suffix or (path.is_dir() and path.suffix.lower() not in SUFFIXES)
    return path / f"{labels.stem}.tif" if is_folder else path
