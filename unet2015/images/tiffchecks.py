"""Select the image of a TIFF and check that it can be read."""

from __future__ import annotations

import re
from math import prod
from pathlib import Path

import tifffile

from ..errors import ImageError, UnreachableError, by
from .source import warn_once

_LARGEST_TILE = 2**28
"""Pixels; a tile with more than this, and more than the image, means a damaged file."""
_WHITE_IS_ZERO = 0


def main_series(path: Path, tiff: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """Find and check the first image of a file that is not a thumbnail or mask of another.

    Images that an OME-TIFF describes but that lie wholly in other files are skipped.

    Raises
    ------
    ImageError
        If it is of a kind that cannot be read.
    UnreachableError
        If it lies in several files and one of them is missing.
    """
    try:
        found = tiff.series
    except RuntimeError as error:  # tifffile found pages that do not match
        raise mixed(path) from error
    images = [s for s in found if not (s.keyframe.is_reduced or s.keyframe.is_mask)]
    images = [s for s in images if any(page and page.parent is tiff for page in s.pages)] or images
    series = images[0] if images else found[0]
    _check_kind(path, tiff, series)
    _check_layout(path, series)
    _warn_of_ome_xml(path, tiff, series)
    if series.kind in ("ome", "mmstack") and series.dataoffset is None:
        missing = [number for number, page in enumerate(series.pages, 1) if page is None]
        if missing:
            linked = "put the files themselves beside each other, not links to them, "
            raise UnreachableError(
                f"{path} lacks page {missing[0]}: {linked * path.is_symlink()}copy all files of "
                "the image again, or export only what was recorded."
            )
    if len(images) > 1:
        warn_once(
            f"{path} holds {len(images)} images, of which only the first is used, "
            f"{_pages(images[0])}, not {_pages(images[1])}: save the others as separate files."
        )
    # ImageJ and tifffile write masks this way and expect values to be read as stored.
    by_value = tiff.is_imagej or tiff.is_shaped
    if series.keyframe.photometric == _WHITE_IS_ZERO and not by_value:
        warn_once(
            f"{path} declares 0 to be white, but values are read as stored: invert it if cells and "
            "background, or light and dark, are swapped."
        )
    return series


def _pages(series: tifffile.TiffPageSeries) -> str:
    """Say where an image is and its size, such as ``pages 1, 3 (512x696)``."""
    numbers = [str(page.index + 1) for page in series.pages if page is not None]
    shown = ", ".join(numbers[:3] + ["..."] * (len(numbers) > 3))
    return f"page{'s' * (len(numbers) > 1)} {shown} ({by(series.keyframe.shape)})"


def _check_kind(path: Path, tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    keyframe = series.keyframe
    # tifffile falls back to this kind when a file is shorter than its description says.
    if series.kind == "generic" and (tiff.is_imagej or tiff.is_shaped):
        raise ImageError(
            f"{path} is truncated, or was changed by a program that did not update its "
            "description: copy or export it again."
        )
    if keyframe.dtype is None:
        raise ImageError(
            f"{path} holds {keyframe.bitspersample}-bit pixels of an unknown kind: convert it."
        )
    if keyframe.compression not in tifffile.TIFF.DECOMPRESSORS:
        raise ImageError(
            f"{path} has an unsupported compression (TIFF's {keyframe.compression:d}): "
            "save it uncompressed, or with LZW, Deflate or Zstandard."
        )


def _warn_of_ome_xml(path: Path, tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Warn if tifffile found the pages without their OME-XML, or more pages than it describes."""
    xml = tiff.pages.first.description
    if series.kind in ("generic", "uniform") and "/Schemas/OME/" in xml:
        why = "has OME-XML that is damaged or does not fit its pages"
        if elsewhere := re.search(r'BinaryOnly [^>]*MetadataFile="([^"]*)"', xml):
            why = f"has its OME-XML in {elsewhere[1]}, which is not read"
        warn_once(
            f"{path} {why}: pages are taken for slices, so export it again as one OME-TIFF to keep "
            "axes, pixel size and channels."
        )
    if series.kind == "ome":
        described = {p.offset for s in tiff.series for p in s.pages if p and p.parent is tiff}
        if more := len(tiff.pages) - len(described):
            warn_once(
                f"{path} has {len(tiff.pages)} pages, {more} more than its OME-XML describes: "
                "export it again unless these can be left out."
            )


def _check_layout(path: Path, series: tifffile.TiffPageSeries) -> None:
    keyframe = series.keyframe
    if keyframe.is_tiled and not (keyframe.tilelength and keyframe.tilewidth):
        raise ImageError(f"{path} has tiles of size 0: it is damaged, so copy it again.")
    tile, page = keyframe.tilelength * keyframe.tilewidth, prod(keyframe.shape)
    if keyframe.is_tiled and tile > max(_LARGEST_TILE, page):
        raise ImageError(
            f"{path} has tiles of {keyframe.tilelength}x{keyframe.tilewidth} pixels, more than the "
            "image: it is damaged, so copy it again."
        )
    inner = keyframe.axes
    if keyframe.shaped[1] > 1 or series.transform is not None:
        raise ImageError(f"{path} is a kind of TIFF that is not supported: save it as OME-TIFF.")
    axes, shape = squeezed(series)
    in_page = "".join(axis for axis in axes[-len(inner) :] if axis in "YX")
    if shape[-len(inner) :] != keyframe.shape or in_page != "YX":
        raise ImageError(
            f"{path} has axes {series.axes}, where Y and X do not lie in the pages: "
            "save it with Y and X last."
        )


def squeezed(series: tifffile.TiffPageSeries) -> tuple[str, tuple[int, ...]]:
    """Drop axes of length 1 other than Y and X, since only some kinds of files list them."""
    kept = [
        (axis, length)
        for axis, length in zip(series.axes, series.shape, strict=True)
        if length != 1 or axis in "YX"
    ]
    return "".join(axis for axis, _ in kept), tuple(length for _, length in kept)


def mixed(path: Path) -> ImageError:
    """Make the error for a stack whose pages cannot be read alike."""
    return ImageError(
        f"{path} mixes pages of different pixel types, sizes or numbers of strips or tiles: "
        "save the stack again."
    )


def truncated(path: Path) -> ImageError:
    """Make the error for a file that ends too soon."""
    return ImageError(
        f"{path} is truncated: it ends before its pixels do, so copy or export it again."
    )
