"""Stacks whose pages are stored in different ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from unet2015 import InputError
from unet2015.images import open_image, read_image


def write_mixed(path: Path, pages: list[np.ndarray], options: list[dict[str, Any]]) -> None:
    height, width = pages[0].shape
    described = {
        "image.ome.tif": '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image '
        'ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
        f'SizeX="{width}" SizeY="{height}" SizeZ="{len(pages)}" SizeC="1" SizeT="1"><TiffData/>'
        "</Pixels></Image></OME>",
        "image.tif": f"ImageJ=1.54f\nimages={len(pages)}\nslices={len(pages)}\n",
    }
    description: str | None = described[path.name]
    with tifffile.TiffWriter(path) as tiff:
        for page, option in zip(pages, options, strict=True):
            tiff.write(page, metadata=None, description=description, contiguous=False, **option)
            description = None


ZLIB = {"compression": "zlib"}
PREDICTED = {"compression": "zlib", "predictor": True}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("image.ome.tif", [{}, ZLIB, {}]),
        ("image.ome.tif", [ZLIB, {}, ZLIB]),
        ("image.ome.tif", [ZLIB, PREDICTED, ZLIB]),
        ("image.tif", [ZLIB, PREDICTED, ZLIB]),
        ("image.tif", [{"rowsperstrip": n, **ZLIB} for n in (40, 50, 40)]),
    ],
)
def test_each_page_is_read_as_it_is_stored(
    tmp_path: Path, name: str, options: list[dict[str, Any]]
) -> None:
    """tifffile reads all pages as if they were stored like the first."""
    stack = np.random.default_rng(0).integers(0, 999, (3, 60, 70)).astype(np.uint16)
    write_mixed(tmp_path / name, list(stack), options)
    np.testing.assert_array_equal(read_image(tmp_path / name), stack)
    with open_image(tmp_path / name) as image:
        assert image.axes == "ZYX"
        for plane in reversed(image.planes):
            region = image.read(plane, slice(30, 50), slice(10, 20))
            np.testing.assert_array_equal(region[0], stack[plane][30:50, 10:20])


@pytest.mark.parametrize("name", ["image.ome.tif", "image.tif"])
@pytest.mark.parametrize("strips", [60, 8])
def test_pages_too_different_for_one_stack_are_refused(
    tmp_path: Path, name: str, strips: int
) -> None:
    stack = np.random.default_rng(0).integers(0, 999, (3, 60, 70)).astype(np.uint16)
    pages = [stack[0], stack[1].astype(np.uint8), stack[2]] if strips == 60 else list(stack)
    options = [{"rowsperstrip": rows, **ZLIB} for rows in (60, strips, 60)]
    write_mixed(tmp_path / name, pages, options)
    with pytest.raises(InputError, match="mixes pages of different pixel types"):
        read_image(tmp_path / name)


def test_the_strips_of_a_page_may_be_in_another_order(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 999, (3, 20, 30)).astype(np.uint16)
    write_mixed(tmp_path / "image.tif", list(stack), [{"rowsperstrip": 10}] * 3)
    with tifffile.TiffFile(tmp_path / "image.tif", mode="r+") as tiff:
        first, second = tiff.pages[1].dataoffsets
        tiff.pages[1].tags["StripOffsets"].overwrite((second, first))
    stack[1] = np.roll(stack[1], 10, axis=0)
    np.testing.assert_array_equal(read_image(tmp_path / "image.tif"), stack)
