"""Write small results whole, and check output paths."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from ..atomic import atomic_path, check_place, check_writable
from ..errors import ImageError, InputError
from .fingerprint import companions
from .metadata import tiff_description
from .opening import is_zarr
from .source import Image, PixelSize
from .units import known_sizes

_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
SOFTWARE = "unet2015"
"""Value of the tag Software in TIFFs written here."""
LONGEST_NAME = 240
"""Bytes; leaves room for ``.NAME.unet2015`` where a name may have 255."""
OUTPUT_SUFFIXES = (".tif", ".tiff", ".png", ".zarr")


def check_output(path: Path | str, inputs: Sequence[Path | str] = ()) -> Path:
    """Check in advance that a result can be written.

    Parameters
    ----------
    path : Path or str
        The output file (or Zarr folder).
    inputs : sequence of Path or str
        Files that must not be overwritten.

    Returns
    -------
    Path
        The output.

    Raises
    ------
    InputError
        If the name is too long, the suffix is unknown, the parent folder (which need not exist)
        cannot be written to, or the path is a folder other than a Zarr, lies in a Zarr, or is or
        contains an input.
    """
    path = Path(path)
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise InputError(
            f"{path.name} has more than {LONGEST_NAME} bytes: rename the image, or give its result "
            "a shorter name."
        )
    if path.suffix.lower() not in OUTPUT_SUFFIXES:
        raise InputError(f"{path} cannot be written: results end in {', '.join(OUTPUT_SUFFIXES)}.")
    if path.suffix.lower() == ".zarr" and path.exists():
        if not is_zarr(path):
            raise InputError(f"{path} exists and is not a Zarr: give another name.")
        check_place(path / "0")  # a folder is replaced only by who may write to it
        check_place(path)
    else:
        check_writable(path)
    for source in map(Path, inputs):
        files = [source, *companions(source)] if path.exists() else []
        if any(path.samefile(file) for file in files if file.exists()):
            raise InputError(f"{path} is the input: give the output another name.")
        if path.resolve() in source.resolve().parents:
            raise InputError(f"{path} contains the input {source}: give the output another name.")
    for parent in path.resolve().parents:
        if is_zarr(parent):
            raise InputError(f"{path} lies in the Zarr {parent}: write the output beside it.")
    return path


def check_own(path: Path) -> None:
    """Refuse to replace a file that the user did not name, unless it is a TIFF of unet2015.

    Raises
    ------
    InputError
        If another program wrote it.
    """
    if not path.is_file() or is_own(path):
        return
    raise InputError(
        f"{path} exists and was not written by unet2015, which replaces only its own results: "
        "move it away, or give another name or folder with --out."
    )


def is_own(path: Path) -> bool:
    """Whether a file is a TIFF that unet2015 wrote."""
    with suppress(Exception), tifffile.TiffFile(path) as tiff:  # it may be anything
        return bool(tiff.pages.first.software == SOFTWARE)
    return False


def check_planes(image: Image) -> None:
    """Refuse an image with plane axes other than T and Z, which results cannot have."""
    if not set(image.plane_axes) <= set("TZ"):
        raise ImageError(
            f"{image.path} has the axes {image.axes}: split it first, since planes can have only "
            "the axes T and Z."
        )


def check_axes(axes: str, shape: Sequence[int]) -> None:
    """Raise unless results can have these axes and they fit an array of this shape.

    Parameters
    ----------
    axes : str
        One letter per dimension.
    shape : sequence of int
        Shape of the array.

    Raises
    ------
    InputError
        Unless the axes are some of T and Z in this order, then ``YX``.
    ValueError
        If the numbers of axes and dimensions differ.
    """
    if not re.fullmatch("T?Z?YX", axes):
        raise InputError(f"axes {axes} cannot be written: results have T, Z, Y, X in this order.")
    if len(axes) != len(shape):
        raise ValueError(f"axes {axes} do not fit an array of shape {tuple(shape)}")


def write_image(
    path: Path | str,
    array: NDArray[Any],
    axes: str = "YX",
    pixel_size: PixelSize | None = None,
) -> None:
    """Write a result that fits in memory.

    A TIFF is compressed with Deflate and carries metadata for Fiji, QuPath and napari: ImageJ's
    description if that can hold everything (uint8, uint16, float32), OME-XML otherwise and for
    names that end in ``.ome.tif``.

    Parameters
    ----------
    path : Path or str
        Ends in ``.tif``, ``.tiff`` or ``.png``. The file appears once it is complete; its folder
        is created if needed.
    array : ndarray
        Pixels; bool is written as 0 and 1.
    axes : str
        Some of T and Z in this order, then ``YX``; one letter per dimension.
    pixel_size
        As in `Image`; may be empty.

    Raises
    ------
    InputError
        If the folder cannot be written to or the format cannot hold such pixels.
    OSError
        With the path as its ``filename``, if the disk is full.
    """
    path = check_output(path)
    array = np.asarray(array)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    check_axes(axes, array.shape)
    is_png = path.suffix.lower() == ".png"
    if is_png and (axes != "YX" or array.dtype not in (np.uint8, np.uint16)):
        raise InputError(
            f"{path}: a PNG holds one plane of uint8 or uint16, not {axes} of {array.dtype}; "
            "write a .tif."
        )
    if path.suffix.lower() == ".zarr":
        raise InputError(f"{path}: small results are written as .tif or .png.")
    sizes = {k: v for k, v in known_sizes(pixel_size or {}).items() if k in axes}
    with atomic_path(path) as temporary:
        if is_png:
            temporary.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(array)))
        elif path.stem.lower().endswith(".ome") or not _imagej_can(array, sizes):
            _write_ome(temporary, array, axes, sizes)
        else:
            _write_imagej(temporary, array, axes, sizes)


def tiff_resolution(pixel_size: PixelSize) -> dict[str, Any]:
    """Convert a pixel size to the resolution tags of TIFF.

    Parameters
    ----------
    pixel_size : mapping
        In micrometres.

    Returns
    -------
    dict
        Arguments of ``tifffile.TiffWriter.write``: pixels per centimetre along X and Y. Empty if
        one is unknown or too large for the tags.
    """
    if not {"X", "Y"} <= pixel_size.keys():
        return {}
    resolution = tuple(1e4 / pixel_size[axis][0] for axis in "XY")
    if max(resolution) >= 1 << 32:
        return {}
    return {"resolution": resolution, "resolutionunit": "CENTIMETER"}


def _imagej_can(array: NDArray[Any], sizes: PixelSize) -> bool:
    # ImageJ has one unit for X, Y and Z, which is written only with the resolution of X and Y.
    if {"X", "Y", "Z"} & sizes.keys() and not {"X", "Y"} <= sizes.keys():
        return False
    # tifffile takes a stack one pixel wide for a single page.
    return array.dtype.name in _IMAGEJ_TYPES and array.nbytes < 1 << 32 and array.shape[-1] > 1


def _write_imagej(path: Path, array: NDArray[Any], axes: str, sizes: PixelSize) -> None:
    metadata: dict[str, Any] = {"axes": axes}
    resolution = tiff_resolution(sizes)
    if resolution:
        # ImageJ has one unit for X, Y and Z, and its resolution tags count pixels per unit.
        metadata["unit"] = "um"
        resolution = {"resolution": tuple(n / 1e4 for n in resolution["resolution"])}
        if "Z" in sizes:
            metadata["spacing"] = sizes["Z"][0]
    if "T" in sizes:
        metadata["finterval"] = sizes["T"][0]
    tifffile.imwrite(
        path,
        array,
        imagej=True,
        software=SOFTWARE,
        photometric="minisblack",
        compression="zlib",
        metadata=metadata,
        **resolution,
    )


def _write_ome(path: Path, array: NDArray[Any], axes: str, sizes: PixelSize) -> None:
    tifffile.imwrite(
        path,
        array.reshape(-1, *array.shape[-2:]),
        photometric="minisblack",
        compression="zlib",
        description=tiff_description(axes, array.shape, array.dtype, sizes),
        software=SOFTWARE,
        metadata=None,
        bigtiff=array.nbytes >= 1 << 32,
        **tiff_resolution(sizes),
    )
