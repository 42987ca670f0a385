"""Pixel sizes and channel names in the metadata of OME, ImageJ and plain TIFF."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from ..errors import InputError
from .source import PixelSize, warn_once
from .units import known_sizes

OME_TYPES = {
    "int8": "int8", "int16": "int16", "int32": "int32",
    "uint8": "uint8", "uint16": "uint16", "uint32": "uint32",
    "float32": "float", "float64": "double",
}  # fmt: skip
_CENTIMETRE = 3
_OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def read_tiff_metadata(
    tiff: tifffile.TiffFile, page: tifffile.TiffPage
) -> tuple[dict[str, tuple[float, str]], tuple[str, ...]]:
    """Read pixel sizes and channel names from tags or OME's, ImageJ's, Zeiss' or Aperio's metadata.

    Parameters
    ----------
    tiff : tifffile.TiffFile
        An open file.
    page : tifffile.TiffPage
        The first page of the image.

    Returns
    -------
    tuple of dict and tuple
        As `Image.pixel_size` and `Image.channel_names`.
    """
    x, y = (_spacing(page.tags.valueof(code)) for code in (282, 283))
    # Resolutions per inch are for printers; microscopes and Bio-Formats write centimetres.
    in_tags = {"X": (x, "cm"), "Y": (y, "cm")} if page.tags.valueof(296) == _CENTIMETRE else {}
    if tiff.is_ome and tiff.ome_metadata:
        sizes, names = _read_ome_xml(tiff.ome_metadata, (page.imagelength, page.imagewidth))
        return sizes if {"X", "Y"} & sizes.keys() else known_sizes(in_tags) | sizes, names
    if tiff.is_imagej and tiff.imagej_metadata:
        ij = tiff.imagej_metadata
        unit, spacing = ij.get("unit") or "pixel", ij.get("spacing")
        if isinstance(spacing, float | int):
            spacing = abs(spacing)  # Fiji writes a negative one for a reversed stack
        described = {
            "X": (x, unit),
            "Y": (y, ij.get("yunit", unit)),
            "Z": (spacing, ij.get("zunit", unit)),
            "T": (ij.get("finterval"), ij.get("tunit", "s")),
        }
        return known_sizes(described), ()
    if lsm := tiff.lsm_metadata:
        voxel = {axis: (lsm.get(f"VoxelSize{axis}"), "m") for axis in "ZYX"}
        return known_sizes({**voxel, "T": (lsm.get("TimeIntervall"), "s")}), ()
    if tiff.is_svs and (found := re.search(r"\bMPP *= *([\d.]+)", page.description)):
        return known_sizes(dict.fromkeys("XY", (found[1], "µm"))), ()
    return known_sizes(in_tags), ()


def _spacing(resolution: Any) -> float | None:
    """Invert a resolution, given as a fraction in pixels per unit."""
    match resolution:
        case (count, units) if count and units:
            return float(units / count)
    return None


def _read_ome_xml(
    xml: str, shape: tuple[int, int]
) -> tuple[dict[str, tuple[float, str]], tuple[str, ...]]:
    """Read the pixel sizes and channel names of the first image of this shape in this file.

    OME-XML may also describe images in other files. Both are empty if it cannot be parsed or does
    not describe such an image.
    """
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return {}, ()
    height, width = map(str, shape)
    for pixels in root.iterfind("{*}Image/{*}Pixels"):
        files = {file.text for file in pixels.iterfind("{*}TiffData/{*}UUID")}
        is_here = not files or root.get("UUID") in {None, *files}
        if is_here and (pixels.get("SizeY"), pixels.get("SizeX")) == (height, width):
            return _sizes_and_names(pixels)
    return {}, ()


def _sizes_and_names(
    pixels: ElementTree.Element,
) -> tuple[dict[str, tuple[float, str]], tuple[str, ...]]:
    sizes: dict[str, tuple[object, object]] = {
        axis: (pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        for axis in "ZYX"
    }
    sizes["T"] = pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s")
    names = [channel.get("Name", "") for channel in pixels.findall("{*}Channel")]
    return known_sizes(sizes), tuple(names) if all(names) else ()


def tiff_description(
    axes: str,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    pixel_size: PixelSize,
) -> bytes:
    """Describe the image of a TIFF in OME-XML, or float16, which OME lacks, as tifffile does.

    Bio-Formats shows noise if float16 is declared as float, but reads the right values without
    OME-XML. The sizes in Y and X are then in the TIFF tags and the axes in tifffile's description;
    the sizes in Z and T are lost, and tifffile does not count the coarser levels of a stack along Z
    as a pyramid, because they are not coarser along Z.

    Parameters
    ----------
    axes : str
        Some of T and Z in this order, then ``YX``.
    shape : sequence of int
        Their lengths.
    dtype : numpy.dtype
        Pixel type.
    pixel_size
        As in `Image`; may be empty.

    Returns
    -------
    bytes
        The ImageDescription, without a date or a random identifier, so that equal images give equal
        bytes.

    Raises
    ------
    InputError
        If OME has no such type.
    """
    if dtype == np.float16:
        if {"T", "Z"} & pixel_size.keys():
            warn_once(
                "a float16 TIFF holds no pixel sizes along T and Z: write a .zarr or another type "
                "to keep them."
            )
        return json.dumps({"shape": list(shape), "axes": axes}).encode()
    return _ome_xml(axes, shape, dtype, pixel_size)


def _ome_xml(axes: str, shape: Sequence[int], dtype: np.dtype[Any], pixel_size: PixelSize) -> bytes:
    """Describe an image with one page per plane, T slowest.

    In UTF-8 without character references, since Bio-Formats stumbles over ``&#181;``.
    """
    if dtype.name not in OME_TYPES:
        raise InputError(
            f"{dtype} pixels cannot be written: a TIFF holds {', '.join(OME_TYPES)}, float16."
        )
    from .. import __version__

    length = dict.fromkeys("TZC", "1") | {axis: str(n) for axis, n in zip(axes, shape, strict=True)}
    sizes = "".join(f' Size{axis}="{length[axis]}"' for axis in "XYCZT")
    spacing = "".join(f' {name}="{value}"' for name, value in _ome_sizes(pixel_size).items())
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{_OME}" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{_OME} {_OME}/ome.xsd" Creator="unet2015 {__version__}">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
        f'Type="{OME_TYPES[dtype.name]}"{sizes}{spacing}>'
        '<Channel ID="Channel:0:0" SamplesPerPixel="1" />'
        f'<TiffData IFD="0" PlaneCount="{math.prod(shape[:-2])}" /></Pixels></Image></OME>'
    ).encode()


def _ome_sizes(pixel_size: PixelSize) -> dict[str, str]:
    attributes = {}
    for axis, (value, unit) in pixel_size.items():
        key = "TimeIncrement" if axis == "T" else f"PhysicalSize{axis}"
        attributes[key] = f"{value:.12g}"
        attributes[f"{key}Unit"] = unit
    return attributes
