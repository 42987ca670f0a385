"""Zarr arrays and OME-Zarr of all versions."""

from __future__ import annotations

import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from unet2015 import InputError
from unet2015.blockcache import BlockCache
from unet2015.images import omezarr, open_image, read_image


@settings(max_examples=40)
@given(
    st.permutations("TZCYX"),
    st.integers(0, 3),
    st.sampled_from([2, 3]),
    st.sampled_from(["uint8", ">u2", "float32"]),
    st.integers(0, 1000),
)
def test_regions_with_axes_in_any_order(
    letters: list[str], extra: int, version: int, dtype: str, seed: int
) -> None:
    outer = [axis for axis in letters if axis not in "YX"][:extra]
    axes = "".join(axis for axis in letters if axis in (*outer, "Y", "X"))
    rng = np.random.default_rng(seed)
    shape = [int(rng.integers(1, 80)) if axis in "YX" else int(rng.integers(1, 4)) for axis in axes]
    array = rng.integers(0, 99, shape).astype(dtype)
    chunks = [int(rng.integers(1, length + 1)) for length in shape]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.zarr")
        named: dict[str, Any] = (
            {"dimension_names": [axis.lower() for axis in axes]}
            if version == 3
            else {"attributes": {"_ARRAY_DIMENSIONS": [axis.lower() for axis in axes]}}
        )
        stored = zarr.create_array(
            str(path), shape=shape, chunks=chunks, dtype=dtype, zarr_format=version, **named
        )
        stored[...] = array
        order = sorted(range(len(axes)), key=lambda i: "TZCYX".index(axes[i]))
        expected = array.transpose(order)
        with open_image(path) as image:
            kept = [axes[i] for i in order if axes[i] in "YX" or shape[i] > 1]
            assert image.axes == "".join(kept)
            assert image.dtype == np.dtype(dtype).newbyteorder("=")
            top, bottom = sorted(rng.integers(0, expected.shape[-2] + 1, 2))
            left, right = sorted(rng.integers(0, expected.shape[-1] + 1, 2))
            stack = expected.reshape(*image.plane_shape, image.channels, *expected.shape[-2:])
            for plane in image.planes:
                np.testing.assert_array_equal(
                    image.read(plane, slice(top, bottom), slice(left, right)),
                    stack[plane][:, top:bottom, left:right],
                )


@pytest.mark.parametrize(
    ("axes", "chunks", "boxes"),
    [
        ("zyx", (3, 16, 16), 4),  # several planes deep
        ("zyx", (1, 64, 32), 6),  # taller than the regions
        ("cyx", (1, 64, 32), 6),
    ],
)
def test_each_box_is_decoded_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    axes: str,
    chunks: tuple[int, ...],
    boxes: int,
) -> None:
    monkeypatch.setattr(omezarr, "_BLOCK", 32)
    monkeypatch.setattr(omezarr, "BlockCache", lambda: BlockCache(1))
    array = np.random.default_rng(0).integers(0, 99, (3, 64, 64)).astype(np.uint8)
    path = tmp_path / "a.zarr"
    stored = zarr.create_array(
        str(path), shape=array.shape, chunks=chunks, dtype=array.dtype, dimension_names=list(axes)
    )
    stored[...] = array
    with open_image(path) as image:
        decoded = []
        load = type(image)._load
        monkeypatch.setattr(
            type(image), "_load", lambda self, number: decoded.append(number) or load(self, number)
        )
        for plane, top, left in product(image.planes, range(0, 64, 32), range(0, 64, 32)):
            image.read(plane, slice(top, top + 32), slice(left, left + 32))
    assert len(decoded) == boxes


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((20, 30), "YX"), ((5, 20, 30), "ZYX"), ((2, 5, 20, 30), "CZYX"), ((20, 30, 3), "YXC"),
        ((20, 30, 4), "YXC"), ((20, 3), "YX"),
        ((2, 5, 4, 20, 30), "TCZYX"),
    ],
)  # fmt: skip
def test_unnamed_axes_are_inferred_from_the_shape(
    tmp_path: Path, shape: tuple[int, ...], axes: str
) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(np.uint16)
    zarr.create_array(str(tmp_path / "a.zarr"), data=array, zarr_format=3)
    order = sorted(range(len(axes)), key=lambda i: "TZCYX".index(axes[i]))
    np.testing.assert_array_equal(read_image(tmp_path / "a.zarr"), array.transpose(order))


def test_sharded_arrays_are_read(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 99, (200, 300)).astype(np.uint8)
    zarr.create_array(str(tmp_path / "a.zarr"), data=array, chunks=(16, 16), shards=(64, 64))
    np.testing.assert_array_equal(read_image(tmp_path / "a.zarr"), array)


def multiscales(version: str) -> dict[str, Any]:
    scale = {"type": "scale", "scale": [60.0, 1.0, 2.0, 0.5, 0.5]}
    axes = [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "c", "type": "channel"},
        {"name": "z", "type": "space", "unit": "micrometer"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    attributes = {
        "multiscales": [
            {
                "axes": axes,
                "datasets": [
                    {"path": "s0", "coordinateTransformations": [scale]},
                    {"path": "s1", "coordinateTransformations": [scale]},
                ],
            }
        ],
        "omero": {"channels": [{"label": "DAPI"}, {"label": "GFP"}]},
    }
    return attributes if version == "0.4" else {"ome": {"version": "0.5", **attributes}}


@pytest.mark.parametrize(("version", "zarr_format"), [("0.4", 2), ("0.5", 3)])
@pytest.mark.parametrize("series", ["", "0", "first"])
def test_ome_zarrs_are_read(tmp_path: Path, version: str, zarr_format: Any, series: str) -> None:
    array = np.random.default_rng(0).integers(0, 99, (2, 2, 3, 20, 30)).astype(np.uint8)
    path = tmp_path / "cells.ome.zarr"
    group = zarr.create_group(str(path), zarr_format=zarr_format)
    if series:  # the layout of bioformats2raw
        layout = {"bioformats2raw.layout": 3}
        group.attrs.update(layout if version == "0.4" else {"ome": layout})
        if series != "0":
            listed = {"series": [series]}
            ome = group.create_group("OME")
            ome.attrs.update(listed if version == "0.4" else {"ome": listed})
        group = group.create_group(series)
    group.attrs.update(multiscales(version))
    group.create_array("s0", data=array)
    group.create_array("s1", data=array[..., ::2, ::2])
    with open_image(path) as image:
        assert image.axes == "TZCYX"
        assert image.pixel_size == {
            "T": (60.0, "s"), "Z": (2.0, "µm"), "Y": (0.5, "µm"), "X": (0.5, "µm"),
        }  # fmt: skip
        assert image.channel_names == ("DAPI", "GFP")
    np.testing.assert_array_equal(read_image(path), array.transpose(0, 2, 1, 3, 4))


def test_scales_of_level_and_image_are_multiplied(tmp_path: Path) -> None:
    attributes = multiscales("0.4")
    image_scale = {"type": "scale", "scale": [0.5, 1.0, 1.5, 3.0, 4.0]}
    attributes["multiscales"][0]["coordinateTransformations"] = [image_scale]
    attributes["omero"]["channels"][1] = {"color": "00FF00"}
    group = zarr.create_group(str(tmp_path / "a.zarr"), zarr_format=2)
    group.attrs.update(attributes)
    group.create_array("s0", data=np.zeros((2, 2, 3, 20, 30), np.uint8))
    with open_image(tmp_path / "a.zarr") as image:
        assert image.pixel_size == {
            "T": (30.0, "s"), "Z": (3.0, "µm"), "Y": (1.5, "µm"), "X": (2.0, "µm"),
        }  # fmt: skip
        assert image.channel_names == ()  # the second has none


SHORT = [{"type": "scale", "scale": [1]}]


@pytest.mark.parametrize(
    "wrong",
    [
        {"multiscales": []},
        {"multiscales": [{"datasets": []}]},
        {"multiscales": [{"datasets": [{"path": "9"}]}]},
        {"multiscales": [{"datasets": [{"path": "s0", "coordinateTransformations": SHORT}]}]},
        {"bioformats2raw.layout": 3},
    ],
)
def test_ome_zarrs_with_metadata_that_do_not_fit_are_refused(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    group = zarr.create_group(str(tmp_path / "a.zarr"), zarr_format=2)
    group.attrs.update(wrong)
    group.create_array("s0", data=np.ones((5, 6), np.uint8))
    with pytest.raises(InputError, match=r"a\.zarr has OME-Zarr metadata that is incomplete"):
        open_image(tmp_path / "a.zarr")


def test_axes_of_length_one_are_dropped_as_in_a_tiff(tmp_path: Path) -> None:
    array = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 1, 1, 5, 6)
    stored = zarr.create_array(
        str(tmp_path / "a.zarr"),
        shape=array.shape,
        dtype=array.dtype,
        dimension_names=["t", "c", "z", "y", "x"],
    )
    stored[...] = array
    assert read_image(tmp_path / "a.zarr").shape == (4, 5, 6)
    with open_image(tmp_path / "a.zarr") as image:
        assert (image.axes, image.channels) == ("TYX", 1)


def test_old_ome_zarrs_without_axes_are_read(tmp_path: Path) -> None:
    group = zarr.create_group(str(tmp_path / "old.zarr"), zarr_format=2)
    multiscales = [{"version": "0.1", "datasets": [{"path": "0"}]}]
    group.attrs.update({"multiscales": multiscales, "omero": None})
    group.create_array("0", data=np.ones((1, 2, 3, 5, 6), np.uint8))
    with open_image(tmp_path / "old.zarr") as image:
        assert image.describe() == "Z 3, C 2, Y 5, X 6"


def test_a_group_must_hold_exactly_one_image(tmp_path: Path) -> None:
    group = zarr.create_group(str(tmp_path / "group.zarr"))
    with pytest.raises(InputError, match="empty Zarr group"):
        open_image(tmp_path / "group.zarr")
    group.create_array("raw", data=np.ones((5, 6), np.uint8))
    assert read_image(tmp_path / "group.zarr").shape == (5, 6)
    group.create_array("labels", data=np.ones((5, 6), np.uint8))
    with pytest.raises(InputError, match="labels, raw"):
        open_image(tmp_path / "group.zarr")


def test_damaged_zarrs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(str(path), data=np.random.default_rng(0).random((50, 60)), chunks=(50, 60))
    chunk = path / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    with open_image(path) as image, pytest.raises(InputError, match=r"a\.zarr"):
        image.read()
    (path / "zarr.json").write_text("{")
    with pytest.raises(InputError, match=r"a\.zarr"):
        open_image(path)


def test_the_only_array_of_a_group_is_known_by_the_path_that_was_opened(tmp_path: Path) -> None:
    group = zarr.create_group(str(tmp_path / "group.zarr"))
    group.create_array("only", data=np.arange(30, dtype=np.uint8).reshape(5, 6))
    with open_image(tmp_path / "group.zarr") as image:
        assert image.path == tmp_path / "group.zarr"  # by which a worker opens and checks it
        assert image.read().tolist() == [np.arange(30).reshape(5, 6).tolist()]


def test_a_one_dimensional_array_is_refused(tmp_path: Path) -> None:
    zarr.create_array(str(tmp_path / "a.zarr"), data=np.ones(5))
    with pytest.raises(InputError, match="has Y, X"):
        open_image(tmp_path / "a.zarr")


def test_an_array_without_pixels_is_refused(tmp_path: Path) -> None:
    zarr.create_array(str(tmp_path / "a.zarr"), shape=(0, 5), dtype="uint8")
    with pytest.raises(InputError, match=r"a\.zarr is empty \(Y 0, X 5\)"):
        open_image(tmp_path / "a.zarr")
