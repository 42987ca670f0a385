"""A folder of ``images/`` and ``labels/`` with matching stems: the simplest data set."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError, some
from ..images import open_image
from ..images.opening import folders_of_images, image_files, images_beside, other_files, stem
from ..instances import label_cells
from ..labelfiles.ctcnames import one_each
from ..labelfiles.doubt import doubt, has_several_numbers
from ..labelfiles.labelimages import open_labels, read_plane
from .checks import require_cells
from .frames import AnnotatedFrame, annotated_frame, smallest_cell

logger = logging.getLogger(__name__)


def load_pairs(data: Path | str) -> list[AnnotatedFrame]:
    """Read every plane of every image in ``images/`` with its labels in ``labels/``.

    Parameters
    ----------
    data : Path or str
        Folder with the two folders; TIFF or PNG, ``images/a.tif`` belongs to ``labels/a.png``. If
        all labels are masks (one number per frame), each connected component is a cell.

    Returns
    -------
    list of AnnotatedFrame
        The planes of a stack are ``a[0]``, ``a[1]``, ...

    Raises
    ------
    InputError
        If an image has no labels or vice versa, shapes differ, labels look like an image or a mask
        with soft edges, or there is no cell.
    """
    data = Path(data)
    images, labels = _by_stem(data / "images"), _by_stem(data / "labels")
    lonely = [
        f"{some(sorted(names))} only in {folder}/"
        for folder, names in (
            ("images", images.keys() - labels),
            ("labels", labels.keys() - images),
        )
        if names
    ]
    if lonely:
        raise InputError(
            f"{data}: {'; '.join(lonely)}: give each image and its labels the same name."
        )
    frames: list[AnnotatedFrame] = []
    for name in sorted(images):
        frames += _read_planes(f"{data.name}/{name}", images[name], labels[name])
    require_cells(frames, data)
    return _numbered(frames, data)


def _read_planes(name: str, image_file: Path, labels_file: Path) -> Iterator[AnnotatedFrame]:
    with open_image(image_file) as image, open_labels(labels_file) as labels:
        if image.plane_shape != labels.plane_shape:  # their axes may differ: Z may stand for T
            raise InputError(
                f"{image_file} ({image.describe()}) and {labels_file} ({labels.describe()}) differ "
                "in their planes: give one label plane for each plane of the image"
                f"{image.stack_hint}."
            )
        for number, (plane, labelled) in enumerate(zip(image.planes, labels.planes, strict=True)):
            cells = read_plane(labels, labelled)
            if why := doubt(cells):
                raise InputError(f"{labels.plane_name(labelled)}: {why}")
            where = f"{name}[{number}]" if len(image.planes) > 1 else name
            yield annotated_frame(image.read(plane), cells, where)


def _numbered(frames: list[AnnotatedFrame], data: Path) -> list[AnnotatedFrame]:
    """Number the cells if the labels are masks: one number per frame, but in several pieces."""
    if any(has_several_numbers(frame.labels) for frame in frames):
        return frames
    numbered = [frame._replace(labels=label_cells(frame.labels > 0)) for frame in frames]
    if max(frame.labels.max() for frame in numbered) < 2:
        return frames
    logger.warning(
        "%s holds masks: each 8-connected component is taken for a cell, the smallest of %d "
        "pixels; if cells touch, give each a number.",
        data / "labels",
        smallest_cell(numbered),
    )
    return numbered


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        beside = [path.name for path in folder.parent.iterdir() if path.is_dir()]
        raise InputError(
            f"{folder} does not exist: give a folder with images/ and labels/, or a CTC data set "
            "and --sequences 01"
            + (f"; the folders in it are {some(sorted(beside))}." if beside else ".")
        )
    found = image_files(folder)
    folders = [f"{name}/" for name in folders_of_images(folder)]
    others = [*other_files(folder), *images_beside(folder, found), *folders]
    if not found:
        inside = f", but {some(others)}: convert or move them" if others else ""
        raise InputError(f"{folder} holds no TIFF or PNG files{inside}.")
    if others:
        logger.warning("left out of %s: %s.", folder, some(others))
    return one_each(folder, ((stem(path), path) for path in found))
