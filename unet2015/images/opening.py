"""Open any image by its path."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import ImageError
from .folder import FolderImage
from .png import PngImage
from .source import TIFF_SUFFIXES, Image, as_image_error, empty
from .tiff import TiffImage

IMAGE_SUFFIXES = (*TIFF_SUFFIXES, ".png")
"""Suffixes of image files, in lower case; Zarr images are folders."""


def open_image(path: Path | str, indices: bool = False) -> Image:
    """Open an image without reading its pixels.

    Parameters
    ----------
    path : Path or str
        A TIFF (BigTIFF, OME-TIFF, ImageJ stack, ...) or PNG file; a Zarr array or OME-Zarr folder,
        version 2 or 3; or a folder of frames (TIFF or PNG of equal shape), which become axis T in
        natural order of their names.
    indices : bool
        Whether a PNG is read as the stored numbers, as for labels, instead of palette colours or
        rescaled grey values of less than 8 bits. A TIFF always is.

    Returns
    -------
    Image
        Use it as a context manager.

    Raises
    ------
    InputError
        If the path does not exist, is of an unknown kind, truncated, damaged or empty.

    Examples
    --------
    >>> with open_image("cells.ome.tif") as image:              # doctest: +SKIP
    ...     for plane in image.planes:
    ...         tile = image.read(plane, slice(0, 572), slice(0, 572), channels=[0])
    """
    path = Path(path)
    with as_image_error(path):
        return _open(path, indices)


def _open(path: Path, indices: bool) -> Image:
    if not path.exists():
        why = "give the path of an image file or folder."
        if path.is_symlink():
            why = f"it is a broken link to {os.readlink(path)}."
        raise ImageError(f"{path} does not exist: {why}")
    if path.is_dir():
        if is_zarr(path):
            from .omezarr import open_zarr  # importing zarr takes half a second

            return open_zarr(path)
        return FolderImage(path, image_files(path), partial(open_image, indices=indices))
    if not path.is_file():  # reading a pipe would block
        raise ImageError(f"{path} is neither a file nor a folder: give the path of an image.")
    suffix = path.suffix.lower()
    if suffix in TIFF_SUFFIXES:
        return TiffImage(path)
    if suffix == ".png":
        return PngImage(path, indices)
    raise ImageError(
        f"{path} is not a supported image: use {', '.join(IMAGE_SUFFIXES)}, or a Zarr folder; "
        "other formats can be saved as OME-TIFF, for example with Fiji."
    )


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr array or group, of version 2 or 3."""
    return any(os.path.exists(path / name) for name in ("zarr.json", ".zarray", ".zgroup"))


def stem(path: Path) -> str:
    """Name of an image without its suffix: ``a`` for ``a.tif`` and ``a.ome.tif``."""
    return path.stem.removesuffix(".ome")


def image_files(folder: Path) -> list[Path]:
    """List the visible image files of a folder in natural order: ``t9.tif`` before ``t10.tif``."""
    return sorted(
        filter(_is_image_file, folder.iterdir()),
        key=lambda file: [
            int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file.name)
        ],
    )


def images_beside(folder: Path, taken: Iterable[Path]) -> list[str]:
    """Names of the images in a folder, including Zarr folders, other than those `taken`."""
    known = set(taken)
    return [
        path.name
        for path in sorted(folder.iterdir())
        if path not in known
        and (_is_image_file(path) or (path.is_dir() and is_zarr(path) and not _is_hidden(path)))
    ]


def other_files(folder: Path) -> list[str]:
    """Names of the visible files in a folder without an image suffix."""
    visible = (path for path in sorted(folder.iterdir()) if not _is_hidden(path))
    return [path.name for path in visible if path.is_file() and not _is_image_file(path)]


def folders_of_images(folder: Path) -> list[str]:
    """Names of the visible folders in a folder that hold images, other than Zarr images."""
    inside = (path for path in sorted(folder.iterdir()) if path.is_dir() and not _is_hidden(path))
    return [path.name for path in inside if not is_zarr(path) and _holds_image(path)]


def _holds_image(folder: Path) -> bool:
    try:
        return any(map(_is_image_file, folder.iterdir()))
    except OSError:  # unreadable
        return False


def _is_image_file(path: Path) -> bool:
    """Whether a path has the name of an image; true for broken links, which must be reported."""
    named = not _is_hidden(path) and path.suffix.lower() in IMAGE_SUFFIXES
    return named and (path.is_file() or not path.exists())


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")


def read_image(path: Path | str) -> NDArray[Any]:
    """Read a whole image that fits in memory.

    Parameters
    ----------
    path : Path or str
        As for `open_image`.

    Returns
    -------
    ndarray
        With the shape and axis order of the `Image`: (Y, X) for a grey image or label image,
        (C, Y, X) for an RGB one, (Z, Y, X) for a stack of pages and so on.

    Raises
    ------
    InputError
        As `open_image`.
    """
    with open_image(path) as image:
        shape = len(image.planes), image.channels, *image.shape[-2:]
        pixels = empty(image.path, shape, image.dtype)
        for number, plane in enumerate(image.planes):
            pixels[number] = image.read(plane)
        return pixels.reshape(image.shape)
