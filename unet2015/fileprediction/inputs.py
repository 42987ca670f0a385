"""Find the images under a path and name their results."""

from __future__ import annotations

import glob
import logging
import platform
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..atomic import name_on_disk
from ..errors import InputError, some
from ..images import IMAGE_SUFFIXES
from ..images.fingerprint import companions
from ..images.opening import folders_of_images, image_files, images_beside, is_zarr, other_files
from ..images.writing import is_own
from ..labelfiles.ctcnames import frame_digits, is_sequence, sequence_frames

logger = logging.getLogger(__name__)


def plan_results(
    paths: Sequence[Path], out: Path | None, masks: bool = True
) -> list[tuple[Path, Path, bool]]:
    """Assign a result file to each image.

    Parameters
    ----------
    paths : sequence of Path
        Images, folders of images, CTC sequences and, on Windows, wildcard patterns.
    out : Path, optional
        The result of one image, or a folder for all results; by default a file beside the image,
        of which there must be only one.
    masks : bool
        Whether the frames of CTC sequences become ``maskNNN.tif``; otherwise they are like other
        images.

    Returns
    -------
    list of (Path, Path, bool)
        Image, file for its result, and whether that is a mask of a CTC sequence.

    Raises
    ------
    InputError
        If there is no image, two images would give one result, or a result might replace an image.
    """
    found = _whole_images([image for path in paths for image in expand(path, masks)])
    if not found:
        raise InputError("no image given: name at least one file or folder, before the options.")
    if out is None:
        if len(found) > 1:
            raise InputError(f"{len(found)} images give as many results: give a folder with --out.")
        out = result_beside(*found[0][:2])
    is_file = out.suffix.lower() in IMAGE_SUFFIXES and not out.is_dir()
    if is_file or out.suffix.lower() == ".zarr":
        if len(found) > 1:
            raise InputError(f"{len(found)} images cannot become one file, {out}: give a folder.")
        source, _, is_frame = found[0]
        return [(source, out, is_frame)]
    to_file = len(paths) == 1 and paths[0].is_file() and not out.is_dir()
    if to_file and out.suffix and not re.fullmatch(r"\.v?\d+", out.suffix):  # results.v2
        raise InputError(
            f"{out} cannot be written: results end in .tif, .png or .zarr, or if it is meant to be "
            "a folder, create it first."
        )
    planned = [(source, out / name, is_frame) for source, name, is_frame in found]
    _refuse_home(planned, out)
    _refuse_same(planned)
    return planned


def _refuse_home(planned: Sequence[tuple[Path, Path, bool]], out: Path) -> None:
    """Refuse to write results among the images, where they may replace other images."""
    for source, target, is_frame in planned:
        if is_frame or not (out.exists() and source.parent.exists()):
            continue
        if out.samefile(source.parent):
            raise InputError(
                f"{out} is the folder of {source.name} and may hold another {target.name}: give "
                "another folder for the results."
            )


def _refuse_same(planned: Sequence[tuple[Path, Path, bool]]) -> None:
    """Refuse to write two results to one file."""
    taken: dict[str, Path] = {}
    for source, target, _ in planned:
        name = name_on_disk(target)
        if name in taken and taken[name].resolve() == source.resolve():
            raise InputError(f"{source} is given twice: name it once.")
        if name in taken:
            raise InputError(
                f"{taken[name]} and {source} would both become {target}: "
                "predict them into different folders."
            )
        taken[name] = source


def expand(path: Path, masks: bool = True) -> Iterator[tuple[Path, str, bool]]:
    """List the images under a path.

    Parameters
    ----------
    path : Path
        An image, a folder of images, a CTC sequence or, on Windows, a wildcard pattern.
    masks : bool
        As for `plan_results`.

    Yields
    ------
    source : Path
        The image.
    name : str
        File name for its result.
    is_frame : bool
        Whether it is to become a mask of a CTC sequence.

    Raises
    ------
    InputError
        If a folder holds no images.
    """
    path = path if path.name else path.absolute()  # "." has no name
    if is_sequence(path):
        frames = sequence_frames(path).values()
        if others := images_beside(path, frames):
            logger.warning("%s is a sequence (t000.tif, ...); left out: %s.", path, some(others))
        for frame in frames:
            name = f"mask{frame_digits(frame)}.tif" if masks else _result_name(frame)
            yield frame, name, masks
    elif path.is_dir() and not is_zarr(path):
        files = image_files(path)
        results = {result_beside(file, _result_name(file)) for file in files}
        if found := results.intersection(files):
            names = ", ".join(sorted(file.name for file in found))
            logger.info("left out as results of other images: %s.", names)
        if others := images_beside(path, files):
            logger.warning("left out: %s; name them one by one to predict them.", some(others))
        if others := other_files(path):
            logger.info("left out, not TIFF or PNG: %s.", some(others))
        files = [file for file in files if file not in found]
        folders = [str(path / name) for name in folders_of_images(path)]
        if not files:
            inside = f", but these folders do: {some(folders)}" if folders else ""
            raise InputError(f"{path} holds no images ({', '.join(IMAGE_SUFFIXES)}){inside}.")
        if folders:
            logger.info("left out: %s; name folders to predict them.", some(folders))
        if own := [file.name for file in files if is_own(file)]:
            logger.warning("%s in %s: written by unet2015, perhaps results.", some(own), path)
        for file in files:
            yield file, _result_name(file), False
    elif matches := _matches(path):
        for match in matches:
            yield from expand(match, masks)
    else:
        yield path, _result_name(path), False


def _whole_images(found: list[tuple[Path, str, bool]]) -> list[tuple[Path, str, bool]]:
    """Keep one file of each multi-file image, to stand for all of them."""
    if len(found) < 2:  # looking takes a while if an image has many planes
        return found
    others = {source: companions(source) for source, _, _ in found}
    taken: set[Path] = set()
    for source in sorted(others, key=lambda source: -len(others[source])):
        if source.resolve() not in taken:
            taken.update(others[source])
    left_out = [source.name for source in others if source.resolve() in taken]
    if left_out:
        logger.info("left out as parts of other images: %s.", ", ".join(left_out))
    return [image for image in found if image[0].resolve() not in taken]


def _matches(pattern: Path) -> list[Path]:
    """Expand a wildcard pattern, which Windows shells leave to the program."""
    if platform.system() != "Windows" or pattern.exists():
        return []
    found = map(Path, glob.glob(str(pattern).replace("[", "[[]")))  # names may contain brackets
    return sorted(path for path in found if path.exists())


def result_beside(image: Path, name: str) -> Path:
    """Default path of an image's result: beside it, ``a-predicted.tif`` for the name ``a.tif``."""
    stem, dot, suffix = name.partition(".ome.") if ".ome." in name else name.rpartition(".")
    return image.with_name(f"{stem}-predicted{dot}{suffix}")


def _result_name(path: Path) -> str:
    return path.name if path.suffix.lower().startswith(".tif") else f"{path.stem}.tif"
