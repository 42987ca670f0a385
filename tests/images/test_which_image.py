"""Which of the images in a file is read, and which files make up an image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from unet2015 import InputError
from unet2015.errors import UnreachableError
from unet2015.fileprediction.inputs import plan_results
from unet2015.images import check_output, open_image, read_image
from unet2015.images.fingerprint import companions, fingerprint

RNG = np.random.default_rng(0)
PLANES = RNG.integers(0, 999, (3, 40, 50)).astype(np.uint16)


def write_multi_file_ome_tiff(folder: Path, compression: str | None = None) -> None:
    """Write an OME-TIFF with one file per frame, each of which describes all."""
    references = "".join(
        f'<TiffData FirstT="{t}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="t&amp;{t}.ome.tif">urn:uuid:{t}</UUID></TiffData>'
        for t in range(3)
    )
    for t in range(3):
        xml = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{t}"><Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint16" '
            'DimensionOrder="XYCZT" SizeX="50" SizeY="40" SizeC="1" SizeZ="1" SizeT="3" '
            'PhysicalSizeX="650" PhysicalSizeXUnit="nm">'
            f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{references}</Pixels></Image></OME>'
        )
        tifffile.imwrite(
            folder / f"t&{t}.ome.tif", PLANES[t], description=xml, metadata=None,
            compression=compression, byteorder="<>"[t % 2],
        )  # fmt: skip


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_multi_file_ome_tiff_is_read_as_one_image(
    tmp_path: Path, compression: str | None
) -> None:
    write_multi_file_ome_tiff(tmp_path, compression)
    with open_image(tmp_path / "t&1.ome.tif") as image:
        assert (image.axes, image.shape) == ("TYX", PLANES.shape)
        assert image.pixel_size == {"X": (0.65, "µm")}
        for plane in image.planes:
            region = image.read(plane, slice(3, 33), slice(10, 20))
            np.testing.assert_array_equal(region[0], PLANES[plane][3:33, 10:20])


def test_a_missing_file_of_a_set_is_reported_when_opening(tmp_path: Path) -> None:
    write_multi_file_ome_tiff(tmp_path)
    (tmp_path / "t&2.ome.tif").unlink()
    with pytest.raises(UnreachableError, match="lacks page 3"):
        open_image(tmp_path / "t&0.ome.tif")


def test_links_to_the_files_of_a_set_are_named_as_the_cause(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    write_multi_file_ome_tiff(tmp_path)
    for number in range(3):
        (tmp_path / f"t&{number}.ome.tif").rename(tmp_path / f"store/{number}.tif")
        (tmp_path / f"t&{number}.ome.tif").symlink_to(f"store/{number}.tif")
    with pytest.raises(UnreachableError, match="put the files themselves beside each other"):
        open_image(tmp_path / "t&0.ome.tif")


@pytest.mark.parametrize("number", range(3))
def test_no_file_of_a_set_is_overwritten_by_its_result(tmp_path: Path, number: int) -> None:
    write_multi_file_ome_tiff(tmp_path)
    with pytest.raises(InputError, match="is the input"):
        check_output(tmp_path / f"t&{number}.ome.tif", [tmp_path / "t&0.ome.tif"])


def test_an_unreadable_folder_beside_images_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PLANES[0])
    (tmp_path / "lost+found").mkdir()
    stat = os.stat

    def refuse(path: Any, *arguments: Any, **named: Any) -> os.stat_result:
        if Path("/", os.fsdecode(path)).parent.name == "lost+found":
            raise PermissionError(13, "Permission denied", path)
        return stat(path, *arguments, **named)

    monkeypatch.setattr(os, "stat", refuse)
    jobs = plan_results([tmp_path], tmp_path / "out")
    assert [image for image, *_ in jobs] == [tmp_path / "a.tif"]


def test_the_fingerprint_covers_all_files_of_a_set(tmp_path: Path) -> None:
    write_multi_file_ome_tiff(tmp_path)
    first, last = tmp_path / "t&0.ome.tif", tmp_path / "t&2.ome.tif"
    before = fingerprint(first)
    assert fingerprint(first) == before
    os.utime(last, ns=(0, 0))
    assert fingerprint(first) != before


def test_a_linked_folder_is_the_same_as_its_target(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    write_multi_file_ome_tiff(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    real, link = (tmp_path / name / "t&0.ome.tif" for name in ("real", "link"))
    assert companions(link) == companions(real)
    assert fingerprint(link) == fingerprint(real)
    planned = plan_results([tmp_path / "link"], tmp_path / "out")
    assert [source.name for source, _, _ in planned] == ["t&0.ome.tif"]


def test_a_folder_lists_a_multi_file_image_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_multi_file_ome_tiff(tmp_path)
    tifffile.imwrite(tmp_path / "other.tif", PLANES[0])
    (tmp_path / "photo.jpg").touch()
    caplog.set_level("INFO")
    planned = plan_results([tmp_path], tmp_path / "out")
    assert [source.name for source, _, _ in planned] == ["other.tif", "t&0.ome.tif"]
    assert "t&1.ome.tif, t&2.ome.tif" in caplog.text
    assert "not TIFF or PNG: photo.jpg" in caplog.text


def test_the_file_that_describes_most_of_an_image_stands_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (tmp_path / f"{number}.ome.tif" for number in range(3))
    others = {first: [second], second: [first, third], third: []}
    monkeypatch.setattr("unet2015.fileprediction.inputs.companions", others.get)
    planned = plan_results([first, second, third], tmp_path / "out")
    assert [source for source, _, _ in planned] == [second]


def test_files_with_an_outdated_description_are_separate_images(tmp_path: Path) -> None:
    write_multi_file_ome_tiff(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        with tifffile.TiffFile(path) as tiff:
            described, pixels = tiff.ome_metadata, tiff.pages.first.asarray()
        tifffile.imwrite(path, pixels[:30, :30], description=described, metadata=None)
    assert len(plan_results([tmp_path], tmp_path / "out")) == 3
    assert read_image(tmp_path / "t&1.ome.tif").shape[-2:] == (30, 30)


@pytest.mark.parametrize("name", ["elsewhere/0.ome.tif", "", "x" * 300])
def test_odd_names_of_companion_files_are_harmless(tmp_path: Path, name: str) -> None:
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:0">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint16" DimensionOrder="XYCZT" SizeX="50" '
        'SizeY="40" SizeC="1" SizeZ="1" SizeT="2"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        '<TiffData IFD="0" PlaneCount="1"><UUID FileName="0.ome.tif">urn:uuid:0</UUID></TiffData>'
        f'<TiffData FirstT="1" IFD="0"><UUID FileName="{name}">urn:uuid:1</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    tifffile.imwrite(tmp_path / "0.ome.tif", PLANES[0], description=xml, metadata=None)
    assert fingerprint(tmp_path / "0.ome.tif")
    assert len(plan_results([tmp_path], tmp_path / "out")) == 1


def test_each_file_of_an_ome_set_has_its_own_image(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as positions, where each file describes the images of all."""
    images = "".join(
        f'<Image ID="Image:{p}"><Pixels ID="Pixels:{p}" Type="uint16" DimensionOrder="XYCZT" '
        'SizeX="50" SizeY="40" SizeC="1" SizeZ="1" SizeT="1" '
        f'PhysicalSizeX="{p + 1}" PhysicalSizeY="{p + 1}">'
        f'<Channel ID="Channel:{p}:0" SamplesPerPixel="1"/><TiffData IFD="0" PlaneCount="1">'
        f'<UUID FileName="{p}.ome.tif">urn:uuid:{p}</UUID></TiffData></Pixels></Image>'
        for p in range(2)
    )
    for p in range(2):
        xml = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{p}">{images}</OME>'
        )
        options: dict[str, Any] = {"description": xml, "metadata": None, "compression": "zlib"}
        tifffile.imwrite(tmp_path / f"{p}.ome.tif", PLANES[p], **options)
    for p in range(2):
        np.testing.assert_array_equal(read_image(tmp_path / f"{p}.ome.tif"), PLANES[p])
        with open_image(tmp_path / f"{p}.ome.tif") as image:
            assert image.pixel_size["X"] == (p + 1, "µm")
    assert len(plan_results([tmp_path], tmp_path / "out")) == 2
    assert not caplog.records


def test_the_fingerprint_of_a_folder_follows_links(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "elsewhere").mkdir()
    chunk = tmp_path / "elsewhere" / "0"
    chunk.write_bytes(b"1")
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "folder" / "up").symlink_to(tmp_path)  # must not be walked endlessly
    before = fingerprint(tmp_path / "folder")
    chunk.write_bytes(b"22")
    assert fingerprint(tmp_path / "folder") != before


@pytest.mark.parametrize("subfiletype", [1, 4])  # a thumbnail, a transparency mask
def test_thumbnails_and_masks_are_not_read_as_the_image(
    tmp_path: Path, subfiletype: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "image.tif"
    options: dict[str, Any] = {"metadata": None, "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(PLANES[0, ::4, ::4], subfiletype=1, resolution=(10, 10), **options)
        tiff.write(PLANES[0], resolution=(1000, 1000), **options)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["NewSubfileType"].overwrite(subfiletype)
    np.testing.assert_array_equal(read_image(path), PLANES[0])
    with open_image(path) as image:
        assert image.pixel_size == {"Y": (10.0, "µm"), "X": (10.0, "µm")}
    assert not caplog.records


def test_a_second_image_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "image.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(PLANES[0], metadata=None)
        tiff.write(PLANES[1, 1:], metadata=None)
    np.testing.assert_array_equal(read_image(path), PLANES[0])
    assert "2 images, of which only the first is used, page 1 (40x50), not page 2 (39x50)" in (
        caplog.text
    )


def test_the_pages_of_the_first_image_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "image.tif"
    with tifffile.TiffWriter(path) as tiff:
        for number, compression in enumerate([None, "zlib", None, None, None]):
            page = PLANES[number % 3]
            tiff.write(page, metadata=None, compression=compression, contiguous=False)
    assert len(read_image(path)) == 4
    assert "pages 1, 3, 4, ... (40x50), not page 2 (40x50)" in caplog.text


@pytest.mark.parametrize("imagej", [False, True])
def test_a_white_zero_is_warned_about(
    tmp_path: Path, imagej: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, PLANES[0], photometric="miniswhite", imagej=imagej, metadata=None)
    np.testing.assert_array_equal(read_image(path), PLANES[0])
    assert ("0 to be white" in caplog.text) == (not imagej)  # ImageJ often stores masks so


def test_an_unknown_compression_is_refused_when_opening(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, PLANES[0], metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["Compression"].overwrite(32809)
    with pytest.raises(InputError, match=r"32809\): save it uncompressed"):
        open_image(path)


def test_further_images_of_an_ome_zarr_are_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scale = {"type": "scale", "scale": [1, 1]}
    moved = {"type": "translation", "translation": [100, 0]}
    level = {"path": "0", "coordinateTransformations": [scale, moved]}
    multiscales = [{"axes": ["y", "x"], "datasets": [level]}]
    group = zarr.create_group(str(tmp_path / "a.zarr"), zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    for number in "01":
        image = group.create_group(number)
        image.attrs["multiscales"] = multiscales
        image.create_array("0", data=PLANES[int(number)])
    np.testing.assert_array_equal(read_image(tmp_path / "a.zarr"), PLANES[0])
    several, offset = caplog.messages
    assert "several images, of which only the first" in several
    assert "offset" in offset
