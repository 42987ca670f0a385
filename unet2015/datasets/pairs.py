"""A folder of ``images/`` and ``labels/`` with matching stems: the simplest data set."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..images import read_image
from ..images.opening import image_files
from .frames import AnnotatedFrame, annotated_frame, read_frame, require_cells


def load_pairs(data: Path | str) -> list[AnnotatedFrame]:
    """Read every image in ``images/`` with its labels in ``labels/``.

    Parameters
    ----------
    data : Path or str
        Folder with the two folders; TIFF or PNG, 8 or 16 bit, ``images/a.tif`` belongs to
        ``labels/a.png``.

    Raises
    ------
    InputError
        If an image has no labels or the other way round, shapes differ, or there is no cell.
    """
    data = Path(data)
    images, labels = _by_stem(data / "images"), _by_stem(data / "labels")
    if unmatched := sorted(images.keys() ^ labels.keys()):
        raise InputError(
            f"{data}: {', '.join(unmatched[:5])}{', ...' if len(unmatched) > 5 else ''} "
            "is in only one of images/ and labels/: give each image labels of the same name."
        )
    frames = [
        annotated_frame(f"{data.name}/{stem}", read_frame(images[stem]), read_image(labels[stem]))
        for stem in sorted(images)
    ]
    require_cells(frames, data)
    return frames


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(
            f"{folder} does not exist: give a folder with images/ and labels/, "
            "or a CTC data set and --sequences 01."
        )
    found = image_files(folder)
    if not found:
        raise InputError(f"{folder} holds no TIFF or PNG files.")
    by_stem = {path.stem: path for path in found}
    if len(by_stem) < len(found):
        raise InputError(f"{folder} holds two files with the same stem: keep one of each.")
    return by_stem
