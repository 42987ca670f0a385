"""Large results: pixels, pyramid levels, metadata, equal bytes, nothing half written."""

from __future__ import annotations

import os
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from unet2015 import InputError
from unet2015.images import omezarr_writing, open_image, read_image, stream_image, streaming
from unet2015.images.pyramid import halve, level_shapes

SIZES = {"T": (60.0, "s"), "Z": (2.0, "µm"), "Y": (0.25, "µm"), "X": (0.5, "µm")}
RNG = np.random.default_rng(0)


def tiff_levels(path: Path) -> list[np.ndarray]:
    with tifffile.TiffFile(path) as tiff:
        return [level.asarray() for level in tiff.series[0].levels]


def zarr_levels(path: Path) -> list[np.ndarray]:
    group = zarr.open_group(str(path), mode="r")
    return [group[str(number)][...] for number in range(len(list(group.arrays())))]


def halved(array: np.ndarray, labels: bool) -> np.ndarray:
    """Naive version of `halve`, pixel by pixel, for the last two axes."""
    planes = array.reshape(-1, *array.shape[-2:])
    height, width = (-(-length // 2) for length in array.shape[-2:])
    result = np.empty((len(planes), height, width), array.dtype)
    for p, plane in enumerate(planes):
        for y in range(height):
            for x in range(width):
                four = [
                    plane[min(2 * y + dy, plane.shape[0] - 1), min(2 * x + dx, plane.shape[1] - 1)]
                    for dy in (0, 1)
                    for dx in (0, 1)
                ]
                mean = np.mean(np.array(four, np.float64))
                result[p, y, x] = (
                    four[0] if labels else np.rint(mean) if array.dtype.kind in "iu" else mean
                )
    return result.reshape(*array.shape[:-2], height, width)


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float16", "float32"])
@pytest.mark.parametrize("shape", [(1, 1), (7, 6), (8, 5)])
def test_halve_equals_the_reference_implementation(
    dtype: str, labels: bool, shape: tuple[int, int]
) -> None:
    limits = np.iinfo("uint8" if dtype.startswith("float") else dtype)
    pixels = RNG.integers(limits.min, limits.max, shape).astype(dtype)
    half = halve(pixels, labels)
    assert half.dtype == pixels.dtype
    np.testing.assert_array_equal(half, halved(pixels, labels))


def test_level_shapes_halve_until_one_tile_suffices() -> None:
    assert level_shapes(512, 3) == [(512, 3)]
    assert level_shapes(513, 3) == [(513, 3), (257, 2)]
    assert level_shapes(1, 2049)[-1] == (1, 257)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.ome.zarr"])
@pytest.mark.parametrize(
    ("shape", "axes", "dtype", "labels"),
    [
        ((1101, 1031), "YX", "uint32", True),
        ((2, 600, 40), "ZYX", "float32", False),
        ((2, 3, 20, 530), "TZYX", "uint8", False),
        ((1, 1), "YX", "uint16", True),
        ((3, 530, 20), "TYX", "float16", False),
    ],
)
def test_round_trip(
    tmp_path: Path, name: str, shape: tuple[int, ...], axes: str, dtype: str, labels: bool
) -> None:
    array = RNG.integers(0, 200, shape).astype(dtype)
    path = tmp_path / name
    stream_image(path, array, axes, SIZES, labels)
    with open_image(path) as image:
        assert (image.axes, image.shape, image.dtype) == (axes, shape, np.dtype(dtype))
        kept = "YX" if dtype == "float16" and path.suffix == ".tif" else axes
        assert image.pixel_size == {k: v for k, v in SIZES.items() if k in kept}
    np.testing.assert_array_equal(read_image(path), array)
    assert [file.name for file in tmp_path.iterdir()] == [name]

    levels = zarr_levels(path) if path.suffix == ".zarr" else tiff_levels(path)
    assert [level.shape[-2:] for level in levels] == level_shapes(*shape[-2:])
    for fine, coarse in pairwise(levels):
        small = np.array([halve(p, labels) for p in fine.reshape(-1, *fine.shape[-2:])])
        np.testing.assert_array_equal(coarse, small.reshape(coarse.shape))


def test_tiffs_suit_other_programs(tmp_path: Path) -> None:
    array = RNG.integers(0, 200, (2, 600, 700)).astype(np.uint8)
    stream_image(tmp_path / "a.tif", array, "ZYX", SIZES)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.is_bigtiff
        assert tiff.is_ome
        assert tiff.series[0].axes == "ZYX"
        page = tiff.pages.first
        assert (page.tilelength, page.tilewidth, page.compression) == (512, 512, 8)
        assert len(page.subifds) == 1
        assert page.tags["XResolution"].value == (20000, 1)
        half = tiff.series[0].levels[1].keyframe
        assert half.is_reduced
        assert half.tags["XResolution"].value == (10000, 1)


def test_stacks_of_small_planes_have_small_tiles(tmp_path: Path) -> None:
    stream_image(tmp_path / "a.tif", np.zeros((3, 40, 600), np.uint8), "ZYX")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.pages.first.tile == (48, 512)


@pytest.mark.parametrize("name", ["2024.05.01 test.zarr", "2024.05.01 test.ome.zarr"])
def test_the_name_in_an_ome_zarr_is_that_of_the_file(tmp_path: Path, name: str) -> None:
    stream_image(tmp_path / name, np.zeros((40, 60), np.uint8), "YX")
    attributes = zarr.open_group(tmp_path / name, mode="r").attrs
    assert attributes["multiscales"][0]["name"] == "2024.05.01 test"


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_paths_with_two_colons_are_not_addresses(tmp_path: Path, name: str) -> None:
    path, array = tmp_path / "x::y" / name, RNG.integers(0, 200, (600, 40)).astype(np.uint8)
    path.parent.mkdir()
    stream_image(path, array, "YX")
    np.testing.assert_array_equal(read_image(path), array)


def test_a_zarr_takes_the_place_of_a_broken_link(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").symlink_to("nowhere")
    stream_image(tmp_path / "a.zarr", np.ones((40, 60), np.uint8), "YX")
    assert read_image(tmp_path / "a.zarr").all()


def test_ome_zarrs_suit_other_programs(tmp_path: Path) -> None:
    array = RNG.integers(0, 200, (2, 3, 10, 600)).astype(np.uint8)
    stream_image(tmp_path / "a.ome.zarr", array, "TZYX", SIZES, labels=True)
    group = zarr.open_group(str(tmp_path / "a.ome.zarr"), mode="r")
    assert group.metadata.zarr_format == 2
    multiscales = group.attrs["multiscales"][0]
    assert multiscales["version"] == "0.4"
    assert [axis["name"] for axis in multiscales["axes"]] == list("tzyx")
    assert multiscales["axes"][3] == {"name": "x", "type": "space", "unit": "micrometer"}
    scale, shift = multiscales["datasets"][1]["coordinateTransformations"]
    assert scale == {"type": "scale", "scale": [60.0, 2.0, 0.5, 1.0]}
    assert shift == {"type": "translation", "translation": [0.0, 0.0, 0.125, 0.25]}
    assert "image-label" in group.attrs
    assert (tmp_path / "a.ome.zarr" / "0" / "1" / "2" / "0" / "1").is_file()


def content(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.mark.parametrize("suffix", [".tif", ".ome.zarr"])
def test_equal_images_give_equal_bytes_and_replace_old_files(tmp_path: Path, suffix: str) -> None:
    array = RNG.integers(0, 200, (2, 700, 800)).astype(np.float32)
    first, second = tmp_path / f"a{suffix}", tmp_path / "b" / f"a{suffix}"
    second.parent.mkdir()
    stream_image(first, array, "ZYX", SIZES)
    stream_image(second, array * 0, "ZYX", SIZES)
    stream_image(second, array, "ZYX", SIZES)
    assert content(first) == content(second)
    assert [file.name for file in second.parent.iterdir()] == [second.name]


class Generated:
    """An image computed on access, which may fail at some row."""

    dtype = np.dtype(np.uint8)

    def __init__(self, side: int, fails_at: int | None = None) -> None:
        self.shape = side, side
        self._fails_at = fails_at

    def __getitem__(self, index: tuple[slice, slice]) -> np.ndarray:
        rows, columns = index
        if self._fails_at is not None and rows.stop > self._fails_at:
            raise OSError(28, os.strerror(28))
        return np.full((rows.stop - rows.start, columns.stop - columns.start), 7, np.uint8)


@pytest.mark.parametrize("suffix", [".tif", ".ome.zarr"])
def test_a_failure_leaves_the_old_file_unchanged(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    stream_image(path, Generated(20), "YX")
    before = content(path)
    with pytest.raises(OSError, match=f"No space left.*{path}"):
        stream_image(path, Generated(2000, fails_at=1000), "YX")
    assert content(path) == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_zarr_that_cannot_be_replaced_stays_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zarr"
    stream_image(path, Generated(20), "YX")
    before, real = content(path), os.replace

    def replace(source: Path, target: Path) -> None:
        if source.name == "result.zarr":
            raise PermissionError(13, "another program has it open")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(PermissionError):
        stream_image(path, Generated(30), "YX")
    assert content(path) == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]

    refused = ["result.zarr", "replaced"]  # restoring fails, too: the next run does it

    def replace_neither(source: Path, target: Path) -> None:
        if source.name in refused:
            raise PermissionError(13, "another program has it open")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace_neither)
    with pytest.raises(PermissionError):
        stream_image(path, Generated(30), "YX")
    assert not path.exists()
    refused.remove("replaced")
    with pytest.raises(PermissionError):
        stream_image(path, Generated(30), "YX")
    assert content(path) == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".a.tif.partial" / "level1").mkdir(parents=True)
    (tmp_path / ".a.tif.partial" / "a.tif").write_text("half")
    stream_image(tmp_path / "a.tif", Generated(600), "YX")
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("suffix", [".tif", ".ome.zarr"])
def test_two_processes_do_not_write_the_same_output(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    refused = []

    class Contested(Generated):
        def __getitem__(self, index: Any) -> np.ndarray:
            with pytest.raises(InputError, match="another process") as told:
                stream_image(path, Generated(30), "YX")
            refused.append(told)
            return super().__getitem__(index)

    stream_image(path, Contested(600), "YX")
    assert refused
    assert read_image(path).shape == (600, 600)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".tif", ".ome.zarr"])
def test_memory_does_not_grow_with_the_image(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "PIECE", (512, 1024))
    monkeypatch.setattr(streaming, "_BUFFER_BYTES", 1 << 20)
    monkeypatch.setattr(omezarr_writing, "_PIECE", (1024, 1024))
    stream_image(tmp_path / f"warm{suffix}", Generated(600), "YX")
    peaks = []
    for side in (2048, 5120):
        tracemalloc.start()
        stream_image(tmp_path / f"{side}{suffix}", Generated(side), "YX")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 5120**2 / 2


@pytest.mark.parametrize(
    ("name", "array", "axes", "message"),
    [
        ("a.png", np.zeros((5, 6), np.uint8), "YX", "large results"),
        ("a.tif", np.zeros((5, 6), np.int64), "YX", "int64"),
        ("a.tif", np.zeros((2, 5, 6), np.uint8), "CYX", "CYX"),
        ("a.zarr", np.zeros((2, 5, 6), np.uint8), "PYX", "PYX"),
    ],
)
def test_unsupported_output_is_refused(
    tmp_path: Path, name: str, array: Any, axes: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        stream_image(tmp_path / name, array, axes)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_a_zarr_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "thesis.doc").touch()
    with pytest.raises(InputError, match="is not a Zarr"):
        stream_image(tmp_path / "a.zarr", np.zeros((5, 6), np.uint8), "YX")
    assert (tmp_path / "a.zarr" / "thesis.doc").exists()
