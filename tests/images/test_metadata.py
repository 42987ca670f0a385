"""How the metadata of files are understood, and what is said where they cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from unet2015.images import open_image, read_image
from unet2015.images.source import warn_once

PLANES = np.random.default_rng(0).integers(0, 999, (3, 40, 50)).astype(np.uint16)


@pytest.mark.parametrize(
    ("wrong", "right", "shape", "warning"),
    [
        ("<Image ", '<Image Name="A & B" ', (6, 40, 50), "damaged or does not fit"),
        ("</Pixels></Image></OME>", "", (6, 40, 50), "damaged or does not fit"),
        ('SizeX="50"', 'SizeX="51"', (6, 40, 50), "damaged or does not fit"),
        ('SizeT="2"', 'SizeT="1"', (3, 40, 50), "6 pages, 3 more than its OME-XML describes"),
    ],
)
def test_ome_xml_that_does_not_fit_is_warned_about(
    tmp_path: Path,
    wrong: str,
    right: str,
    shape: tuple[int, ...],
    warning: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "image.ome.tif"
    options: dict[str, Any] = {"compression": "zlib", "metadata": {"axes": "TCYX"}}
    tifffile.imwrite(path, np.stack([PLANES, PLANES]), **options)
    assert read_image(path).shape == (2, 3, 40, 50)
    assert not caplog.records
    xml = tifffile.tiffcomment(path)
    tifffile.tiffcomment(path, xml.replace(wrong, right).replace('Count="6"', 'Count="3"').encode())
    for _ in range(2):
        assert read_image(path).shape == shape
    (message,) = caplog.messages
    assert warning in message


def test_ome_xml_in_another_file_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
        '<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:0"/></OME>'
    )
    options: dict[str, Any] = {"description": xml, "metadata": None, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "0.ome.tif", PLANES, **options)
    assert read_image(tmp_path / "0.ome.tif").shape == PLANES.shape
    assert "its OME-XML in set.companion.ome, which is not read" in caplog.text


def test_imagej_spellings_of_units_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    metadata = {"axes": "TZYX", "unit": "um", "spacing": -1.5, "finterval": 500, "tunit": "msec"}
    metadata["zunit"] = "nm"
    tifffile.imwrite(path, PLANES[:, None].repeat(2, 1), imagej=True, metadata=metadata)
    with open_image(path) as image:
        assert image.pixel_size["Z"] == (0.0015, "µm")
        assert image.pixel_size["T"] == (0.5, "s")


def test_ome_sizes_of_the_axes_have_default_units(tmp_path: Path) -> None:
    metadata = {"axes": "TYX", "TimeIncrement": 2.5}
    tifffile.imwrite(tmp_path / "a.ome.tif", PLANES, metadata=metadata)
    with open_image(tmp_path / "a.ome.tif") as image:
        assert image.pixel_size == {"T": (2.5, "s")}
    metadata = {"axes": "YX", "PhysicalSizeZ": 3.0, "PhysicalSizeX": 0.5}
    tifffile.imwrite(tmp_path / "a.ome.tif", PLANES[0], metadata=metadata)
    with open_image(tmp_path / "a.ome.tif") as image:
        assert image.pixel_size == {"X": (0.5, "µm")}


@pytest.mark.parametrize(
    ("unit", "kept", "warns"),
    [
        ("micron", {"Y": (0.5, "µm"), "X": (0.5, "µm")}, False), ("pixel", {}, False),
        ("inch", {}, True), ("foot", {}, True), ("Pixels", {}, False), ("px", {}, False),
        ("reference frame", {}, False),
    ],
)  # fmt: skip
def test_sizes_in_unknown_units_are_warned_about(
    tmp_path: Path,
    unit: str,
    kept: dict[str, tuple[float, str]],
    warns: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    warn_once.cache_clear()
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, PLANES[0], imagej=True, resolution=(2, 2), metadata={"unit": unit})
    with open_image(path) as image:
        assert image.pixel_size == kept
    assert len(caplog.messages) == warns
    assert (f"pixel sizes in the unit {unit} are left out" in caplog.text) == warns


@pytest.mark.parametrize(("scale", "warns"), [([1, 1, 1], False), ([1, 0.5, 0.5], True)])
def test_sizes_without_units_are_warned_about(
    tmp_path: Path, scale: list[float], warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    warn_once.cache_clear()
    group = zarr.create_group(str(tmp_path / "a.zarr"), zarr_format=2)
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
    axes = [{"name": name} for name in "cyx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [level]}]
    group.create_array("0", data=PLANES)
    with open_image(tmp_path / "a.zarr") as image:
        assert image.pixel_size == {}
    assert len(caplog.messages) == warns
    assert ("pixel sizes without a unit are left out" in caplog.text) == warns
