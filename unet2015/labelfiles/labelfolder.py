"""Match the label images of a result to those of a reference."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray

from ..errors import InputError, by, counted, some
from ..images import IMAGE_SUFFIXES
from ..images.opening import image_files, images_beside, is_zarr, stem
from ..images.source import warn_once
from ..instances import label_cells
from .ctcnames import find_image, mask_name, numbered_images, one_each
from .labelimages import open_labels, read_plane

Components = Literal["none", "reference", "result", "both"]
"""Images in which each 8-connected component counts as a cell, whatever its number."""


class FramePair(NamedTuple):
    """A reference file and the result file to compare it with.

    Attributes
    ----------
    name : str
        The frame number with leading zeros, or the stem of the files.
    reference, result : Path
        Label images.
    """

    name: str
    reference: Path
    result: Path


def pair_frames(reference: Path | str, result: Path | str) -> list[FramePair]:
    """Find the result of each reference image.

    Parameters
    ----------
    reference : Path or str
        A folder of the challenge with gold or silver truth (``01_GT``, ``01_ST``), a folder of
        label images, or one label image, which may be a Zarr folder.
    result : Path or str
        A folder with ``maskNNN.tif``, a folder of label images with the reference's stems, or one
        label image. Images without a reference are left out. To a reference ``tNNN``, named like
        the microscope image, belongs ``maskNNN``, too.

    Returns
    -------
    list of FramePair
        In the order of the frames.

    Raises
    ------
    InputError
        If one is an image and the other a folder, a path does not exist or holds no label images,
        or a frame has no result.
    """
    reference, result = Path(reference), Path(result)
    for path in (reference, result):
        if not path.exists():
            raise InputError(f"{path} does not exist: give a folder of label images, or one image.")
    if is_one_image(reference) != is_one_image(result):
        image, folder = (reference, result) if is_one_image(reference) else (result, reference)
        raise InputError(
            f"{folder} is a folder and {image} one image: give two folders or two images."
        )
    if is_one_image(reference):
        return [FramePair(stem(reference), reference, result)]
    wanted, there = label_images(reference), label_images(result)
    matching = {name: name if name in there else mask_name(name) for name in wanted}
    missing = [name for name in wanted if matching[name] not in there]
    if missing:
        raise InputError(
            f"{result} holds no label image for {_frames(missing)} of {reference}: "
            f"it has {counted(len(there), 'image')}, such as {next(iter(there.values())).name}. "
            "Name the result of a frame maskNNN.tif or like its reference, or leave frames without "
            "a result out of the reference."
        )
    return [FramePair(name, path, there[matching[name]]) for name, path in wanted.items()]


def is_one_image(path: Path) -> bool:
    """Whether a path is one image (a file or a Zarr folder) rather than a folder of images."""
    return path.is_file() or is_zarr(path)


def label_images(folder: Path) -> dict[str, Path]:
    """List the label images of a folder, or of its ``SEG`` folder, by frame number or stem.

    ``mask007.tif`` and ``man_seg0007.tif`` are both frame ``007``. If no file is named like these,
    all images are listed by stem.

    Raises
    ------
    InputError
        If there is none, or one frame has two images.
    """
    home = labels_home(folder)
    numbered, images = numbered_images(home), image_files(home)
    if others := images_beside(home, numbered.values() or images):
        warn_once(f"left out of {home}: {some(others)}.")
    if numbered:
        return {f"{number:03d}": path for number, path in numbered.items()}
    if not images:
        truths = sorted(path.name for path in home.glob("[0-9][0-9]_[GS]T"))
        truths += [path.name for path in home.glob("labels")]
        expected = (
            f"expected mask000.tif, man_seg000.tif or other {', '.join(IMAGE_SUFFIXES)} files"
        )
        why = f"choose {' or '.join(truths)} in it" if truths else expected
        raise InputError(f"{home} holds no label image: {why}.")
    return one_each(home, ((stem(path), path) for path in images))


def labels_home(folder: Path) -> Path:
    """Folder of the masks: ``SEG`` if there is one, as in CTC ground truth, else the folder."""
    return folder / "SEG" if (folder / "SEG").is_dir() else folder


def markers_home(folder: Path) -> Path:
    """Folder of the tracking markers: ``TRA`` beside ``SEG``, of which either may be given."""
    home = labels_home(folder)
    return home.resolve().with_name("TRA") if home.resolve().name == "SEG" else folder / "TRA"


def folder_of_images(reference: Path, images: Path | None) -> Path | None:
    """Find the folder of the microscope images: `images`, or one beside the reference, or None.

    The one beside it is ``NN`` for ``NN_GT`` or ``NN_ST`` and ``images`` for ``labels``.

    Raises
    ------
    InputError
        If `images` is not a folder, or holds no image of any frame.
    """
    if images is None:
        home = (reference.parent if is_one_image(reference) else reference).resolve()
        home = home.parent if home.name == "SEG" else home
        match = re.fullmatch(r"(\d\d)_(GT|ST)", home.name)
        if not match and home.name != "labels":
            return None
        beside = home.with_name(match[1] if match else "images")
        return beside if beside.is_dir() else None
    if not images.is_dir():
        raise InputError(f"{images} is not a folder: give the folder of the microscope images.")
    if reference.exists():
        names = [stem(reference)] if is_one_image(reference) else list(label_images(reference))
        if not any(find_image(images, name) for name in names):
            raise InputError(
                f"{images} holds no image of {_frames(names)}: give the folder of the microscope "
                "images, named tNNN or like the label images."
            )
    return images


def planes(pair: FramePair) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """Read the planes of a pair one by one: name, reference (H, W), result (H, W)."""
    with open_labels(pair.reference) as reference, open_labels(pair.result) as result:
        check_shapes(pair, reference.shape, result.shape)
        for number, plane in enumerate(reference.planes):
            name = pair.name if len(reference.planes) == 1 else f"{pair.name}[{number}]"
            yield name, read_plane(reference, plane), read_plane(result, plane)


def number_components(
    labels: NDArray[Any], side: Literal["reference", "result"], components: Components
) -> NDArray[Any]:
    """Number the 8-connected components of a plane, if they count as cells on its side."""
    return label_cells(labels > 0) if components in (side, "both") else labels


def check_shapes(pair: FramePair, reference: Sequence[int], result: Sequence[int]) -> None:
    """Refuse a result whose shape differs from its reference's."""
    if tuple(reference) != tuple(result):
        raise InputError(
            f"{pair.result} has the shape {by(result)}, but its reference {pair.reference} "
            f"{by(reference)}: give a result of the reference's size."
        )


def _frames(names: Sequence[str]) -> str:
    return f"frame{'s' * (len(names) > 1)} {some(names)}"
