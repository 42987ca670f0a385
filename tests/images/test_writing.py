"""Small results: the pixels, what Fiji, QuPath and napari read of them, and refusals."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from unet2015 import InputError
from unet2015.images import check_output, open_image, read_image, write_image, writing
from unet2015.images.source import warn_once

SIZES = {"T": (60.0, "s"), "Z": (2.0, "µm"), "Y": (0.25, "µm"), "X": (0.5, "µm")}
DTYPES = ("u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8")


@settings(max_examples=60)
@given(
    axes=st.sampled_from(["YX", "TYX", "ZYX", "TZYX"]),
    dtype=st.sampled_from(DTYPES),
    name=st.sampled_from(["a.tif", "a.ome.tif"]),
    seed=st.integers(0, 1000),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, axes: str, dtype: str, name: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shape = [int(rng.integers(1, 40)) if axis in "YX" else int(rng.integers(2, 4)) for axis in axes]
    array = rng.integers(0, 100, shape).astype(dtype)
    path = tmp_path_factory.mktemp("round") / name
    kept = "YX" if dtype == "f2" else axes  # OME has no name for float16
    sizes = {axis: size for axis, size in SIZES.items() if axis in kept}
    write_image(path, array, axes, SIZES)
    with open_image(path) as image:
        assert (image.axes, image.dtype) == (axes, np.dtype(dtype))
        assert image.pixel_size == sizes
    np.testing.assert_array_equal(read_image(path), array)


def test_imagej_metadata_is_written(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", np.zeros((3, 2, 8, 9), np.float32), "TZYX", SIZES)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.series[0].axes == "TZYX"
        expected = {"unit": "um", "spacing": 2.0, "finterval": 60.0, "frames": 3, "slices": 2}
        assert expected.items() <= tiff.imagej_metadata.items()
        assert tiff.pages.first.tags["XResolution"].value == (2, 1)
        assert tiff.pages.first.tags["YResolution"].value == (4, 1)


@pytest.mark.parametrize("known", ["X", "Y", "Z", "T", "ZX", "ZT"])
def test_pixel_sizes_of_some_axes_are_kept(tmp_path: Path, known: str) -> None:
    sizes = {axis: SIZES[axis] for axis in known}
    write_image(tmp_path / "a.tif", np.zeros((3, 2, 8, 9), np.uint8), "TZYX", sizes)
    with open_image(tmp_path / "a.tif") as image:
        assert image.pixel_size == sizes


def test_ome_metadata_is_written(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", np.zeros((2, 8, 9), np.uint32), "ZYX", SIZES)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.is_ome
        assert tiff.series[0].axes == "ZYX"
        assert "&#" not in tiff.ome_metadata  # Bio-Formats stumbles over &#181;
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
        assert pixels["PhysicalSizeX"] == 0.5
        assert pixels["PhysicalSizeYUnit"] == "µm"
        assert tiff.pages.first.tags["XResolution"].value == (20000, 1)


def test_pixel_sizes_keep_their_digits_in_ome_metadata(tmp_path: Path) -> None:
    sizes = {"Z": (0.123456789, "µm"), "Y": (0.6499, "µm"), "X": (0.324987, "µm")}
    write_image(tmp_path / "a.ome.tif", np.zeros((2, 8, 9), np.uint8), "ZYX", sizes)
    with open_image(tmp_path / "a.ome.tif") as image:
        assert image.pixel_size == sizes


def test_float16_tiffs_are_said_to_lose_the_sizes_along_t_and_z(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    warn_once.cache_clear()
    for axes, shape in (("YX", (8, 9)), ("ZYX", (2, 8, 9))):
        sizes = {axis: SIZES[axis] for axis in axes}
        write_image(tmp_path / "a.tif", np.zeros(shape, np.float16), axes, sizes)
        assert ("a float16 TIFF holds no pixel sizes" in caplog.text) == (axes == "ZYX")


def test_a_pixel_size_too_small_for_tags_is_only_in_the_description(tmp_path: Path) -> None:
    sizes = {"X": (6.5e-7, "µm"), "Y": (6.5e-7, "µm")}  # metres taken for micrometres
    for name in ("a.ome.tif", "a.tif"):
        write_image(tmp_path / name, np.zeros((8, 9), np.uint32), "YX", sizes)
        with open_image(tmp_path / name) as image:
            assert image.pixel_size == sizes
    write_image(tmp_path / "imagej.tif", np.zeros((8, 9), np.uint8), "YX", sizes)
    assert read_image(tmp_path / "imagej.tif").shape == (8, 9)


@pytest.mark.parametrize("name", ["A.TIF", "A.OME.TIF", "A.PNG"])
def test_suffixes_may_be_in_capitals(tmp_path: Path, name: str) -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    write_image(tmp_path / name, array.T)
    np.testing.assert_array_equal(read_image(tmp_path / name), array.T)
    if name != "A.PNG":
        with tifffile.TiffFile(tmp_path / name) as tiff:
            assert (tiff.is_ome, tiff.is_imagej) == (name == "A.OME.TIF", name == "A.TIF")


def test_a_stack_one_pixel_wide_stays_a_stack(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(3, 8, 1)
    write_image(tmp_path / "a.tif", array, "TYX")
    with open_image(tmp_path / "a.tif") as image:
        assert (image.axes, image.shape) == ("TYX", (3, 8, 1))


def test_only_sizes_of_axes_that_exist_are_written(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", np.zeros((8, 9), np.uint8), "YX", SIZES)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert not {"spacing", "finterval"} & tiff.imagej_metadata.keys()


def test_images_beyond_4_gib_are_bigtiffs_and_not_for_imagej(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big: list[bool] = []
    monkeypatch.setattr(tifffile, "imwrite", lambda *_, bigtiff, **__: big.append(bigtiff))
    image = np.broadcast_to(np.uint8(0), (1 << 16, 1 << 16))
    for part in (image, image[1:]):
        assert writing._imagej_can(part, {}) == (part is not image)
        writing._write_ome(tmp_path / "a.ome.tif", part, "YX", {})
    assert big == [True, False]


def test_axes_must_fit_the_array(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"axes ZYX do not fit an array of shape \(8, 9\)"):
        write_image(tmp_path / "a.tif", np.zeros((8, 9), np.uint8), "ZYX")


def test_a_mask_is_written_as_zeros_and_ones(tmp_path: Path) -> None:
    mask = np.eye(9, dtype=bool)
    write_image(tmp_path / "a.tif", mask)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), mask.astype(np.uint8))


def test_equal_images_give_equal_bytes(tmp_path: Path) -> None:
    array = np.arange(200, dtype=np.uint16).reshape(2, 10, 10)
    for name in ("a.tif", "b.tif", "a.ome.tif", "b.ome.tif"):
        write_image(tmp_path / name, array, "ZYX", SIZES)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    assert (tmp_path / "a.ome.tif").read_bytes() == (tmp_path / "b.ome.tif").read_bytes()


@pytest.mark.parametrize(
    ("name", "array", "axes", "message"),
    [
        ("a.jpg", np.zeros((5, 6), np.uint8), "YX", "results end in .tif"),
        ("a.btf", np.zeros((5, 6), np.uint8), "YX", "results end in .tif"),
        ("a.png", np.zeros((5, 6), np.float32), "YX", "uint8 or uint16"),
        ("a.png", np.zeros((2, 5, 6), np.uint8), "TYX", "one plane"),
        ("a.tif", np.zeros((5, 6), np.int64), "YX", "int64"),
        ("a.tif", np.zeros((2, 5, 6), np.uint8), "CYX", "CYX"),
        ("a.zarr", np.zeros((5, 6), np.uint8), "YX", ".tif"),
    ],
)
def test_unsupported_output_is_refused(
    tmp_path: Path, name: str, array: np.ndarray, axes: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_image(tmp_path / name, array, axes)
    assert list(tmp_path.iterdir()) == []


def test_names_too_long_for_a_temporary_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="more than 240 bytes"):
        check_output(tmp_path / f"{'n' * 237}.tif")
    check_output(tmp_path / f"{'n' * 236}.tif")
    with pytest.raises(InputError, match="more than 240 bytes"):
        check_output(tmp_path / f"{'é' * 119}.tif")


def test_missing_folders_are_created(tmp_path: Path) -> None:
    write_image(tmp_path / "new" / "folder" / "a.png", np.zeros((5, 6), np.uint8))
    path = tmp_path / "new" / "folder" / "a.png"
    assert path.is_file()
    with pytest.raises(InputError, match=r"a\.png is not a writable folder"):
        write_image(path / "new" / "a.tif", np.zeros((5, 6), np.uint8))


def test_output_over_or_inside_the_input_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "in.tif"
    write_image(source, np.zeros((5, 6), np.uint8))
    assert check_output(tmp_path / "out.tif", [source]) == tmp_path / "out.tif"
    with pytest.raises(InputError, match="is the input"):
        check_output(tmp_path / "." / "in.tif", [source])
    zarr.create_array(str(tmp_path / "in.zarr"), shape=(5, 6), dtype="uint8")
    (tmp_path / "in.zarr" / "labels").mkdir()
    with pytest.raises(InputError, match="lies in the Zarr"):
        check_output(tmp_path / "in.zarr" / "labels" / "out.zarr", [tmp_path / "in.zarr"])
    zarr.create_group(str(tmp_path / "group.zarr"))
    with pytest.raises(InputError, match="lies in the Zarr"):
        check_output(tmp_path / "group.zarr" / "0-predicted.tif", [tmp_path / "group.zarr" / "0"])
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        check_output(tmp_path / "folder.tif")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="not a writable folder"):
        check_output(tmp_path / "out.tif")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = np.ones((5, 6), np.uint8)
    write_image(tmp_path / "a.tif", old)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tifffile.FileHandle, "write", full)
    with pytest.raises(OSError, match=r"No space left.*a\.tif"):
        write_image(tmp_path / "a.tif", old * 2)
    monkeypatch.undo()
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), old)
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]
