"""Every kind of TIFF gives the pixels that were written, region by region."""

from __future__ import annotations

import struct
import tempfile
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from unet2015.blockcache import BlockCache
from unet2015.images import open_image, read_image

DTYPES = ("u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8")
KINDS = ("shaped", "ome", "imagej")


class Written(NamedTuple):
    """An array with its axes in the file's order, and how to write it."""

    array: np.ndarray
    axes: str
    name: str
    options: dict[str, Any]


def pixels(draw: st.DrawFn, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return rng.integers(0, 100, shape).astype(dtype)


@st.composite
def tiffs(draw: st.DrawFn, samples: str) -> Written:
    kind = draw(st.sampled_from(["shaped", "ome"] if samples == "apart" else KINDS))
    dtype = draw(st.sampled_from(["u1", "u2", "f4"] if kind == "imagej" else DTYPES))
    if samples != "none":
        dtype = "u1" if kind == "imagej" else draw(st.sampled_from(["u1", "u2"]))
    if kind == "ome" and dtype == "f2":
        dtype = "f4"
    letters = draw(st.permutations("TZC" if samples == "none" else "TZ"))
    outer = "".join(letters[: draw(st.integers(0, 3))])
    if kind == "imagej":
        outer = "".join(sorted(outer, key="TZC".index))
    shape = [draw(st.integers(2, 3)) for _ in outer]
    # tifffile reads a stack that is one pixel wide as a single page.
    shape += [draw(st.integers(1, 70)), draw(st.integers(2 if outer else 1, 70))]
    axes = outer + "YX"
    options: dict[str, Any] = {
        "byteorder": draw(st.sampled_from("<>")),
        "bigtiff": kind != "imagej" and draw(st.booleans()),
        "photometric": "minisblack",
        "imagej": kind == "imagej",
        "metadata": {"axes": axes},
    }
    if samples != "none":
        apart = samples == "apart"
        options["photometric"] = "rgb"
        options["planarconfig"] = "separate" if apart else "contig"
        axes = outer + ("SYX" if apart else "YXS")
        shape.insert(len(outer) if apart else len(shape), draw(st.integers(3, 4)))
        options["metadata"] = {"axes": axes}
    options["compression"] = draw(
        st.sampled_from([None, "zlib", "lzw", "zstd", "packbits", "lzma"])
    )
    if options["compression"] in ("zlib", "lzw", "zstd"):
        options["predictor"] = draw(st.booleans())
    layout = draw(st.sampled_from(["default", "tile", "strips"]))
    if layout == "tile" and kind != "imagej":
        options["tile"] = draw(st.sampled_from([(16, 16), (32, 16), (16, 48)]))
    elif layout == "strips":
        options["rowsperstrip"] = draw(st.integers(1, 80))
    name = "image.ome.tif" if kind == "ome" else "image.tif"
    return Written(pixels(draw, tuple(shape), dtype), axes, name, options)


def presented(array: np.ndarray, axes: str) -> tuple[np.ndarray, str]:
    """The array as `Image` shows it: axes of length 1 dropped, T, Z, C, Y, X, samples in C."""
    axes = axes.replace("S", "C")
    kept = [i for i, axis in enumerate(axes) if array.shape[i] > 1 or axis in "YX"]
    order = sorted(kept, key=lambda i: "TZCYX".index(axes[i]))
    return np.squeeze(
        array.transpose(order + [i for i in range(array.ndim) if i not in kept]),
        axis=tuple(range(len(order), array.ndim)),
    ), "".join(axes[i] for i in order)


def check_regions(path: Path, expected: np.ndarray, axes: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with open_image(path) as image:
        assert (image.axes, image.shape) == (axes, expected.shape)
        assert image.dtype == expected.dtype
        assert image.dtype.isnative
        stack = expected.reshape(*image.plane_shape, image.channels, *expected.shape[-2:])
        for plane in image.planes:
            top, bottom = sorted(rng.integers(0, expected.shape[-2] + 1, 2))
            left, right = sorted(rng.integers(0, expected.shape[-1] + 1, 2))
            region = image.read(plane, slice(top, bottom), slice(left, right))
            np.testing.assert_array_equal(region, stack[plane][:, top:bottom, left:right])
            channel = int(rng.integers(image.channels))
            np.testing.assert_array_equal(
                image.read(plane, channels=[channel])[0], stack[plane][channel]
            )


@pytest.mark.parametrize("samples", ["none", "together", "apart"])
@settings(max_examples=50)
@given(st.data(), st.integers(0, 1000))
def test_regions_of_any_tiff(samples: str, data: st.DataObject, seed: int) -> None:
    written = data.draw(tiffs(samples))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, written.name)
        tifffile.imwrite(path, written.array, **written.options)
        check_regions(path, *presented(written.array, written.axes), seed)


@pytest.mark.parametrize("tile", [None, (32, 32)])
@pytest.mark.parametrize("samples", [(), (3,)])
def test_jpeg_compressed_tiffs_are_read(
    tmp_path: Path, tile: tuple[int, int] | None, samples: tuple[int, ...]
) -> None:
    smooth = np.add.outer(np.arange(70), np.arange(90)).astype(np.uint8)
    array = np.broadcast_to(smooth.reshape(70, 90, *[1] * len(samples)), (70, 90, *samples))
    photometric = "rgb" if samples else "minisblack"
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, array, compression="jpeg", tile=tile, photometric=photometric)
    decoded = tifffile.imread(path)
    check_regions(path, *presented(decoded, "YXS" if samples else "YX"), 0)


def test_binary_masks_are_read(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((33, 41)) > 0.5
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    np.testing.assert_array_equal(read_image(tmp_path / "mask.tif"), mask)


def test_pages_without_metadata_are_slices(tmp_path: Path) -> None:
    stack = np.arange(4 * 5 * 6, dtype=np.uint16).reshape(4, 5, 6)
    with tifffile.TiffWriter(tmp_path / "stack.tif") as tiff:
        for page in stack:
            tiff.write(page, metadata=None)
    with open_image(tmp_path / "stack.tif") as image:
        assert image.axes == "ZYX"
        np.testing.assert_array_equal(image.read((2,))[0], stack[2])


def test_imagej_stack_with_all_planes_under_one_directory(tmp_path: Path) -> None:
    """ImageJ writes stacks of more than 4 GiB this way."""
    stack = np.arange(3 * 2 * 50 * 60, dtype=">u2").reshape(3, 2, 50, 60)
    tifffile.imwrite(
        tmp_path / "s.tif", stack, imagej=True, truncate=True, metadata={"axes": "TCYX"}
    )
    check_regions(tmp_path / "s.tif", stack.astype("u2"), "TCYX", 0)


@pytest.mark.parametrize("order", ["czt", "ctz", "zct", "ztc", "tcz", "tzc"])
def test_imagej_dimension_orders(tmp_path: Path, order: str) -> None:
    length = {"t": 2, "z": 3, "c": 4}
    file_axes = order[::-1]  # the first letter of ImageJ's order changes fastest
    array = np.arange(24 * 30).reshape([length[axis] for axis in file_axes] + [5, 6])
    lengths = "images=24\nchannels=4\nslices=3\nframes=2"
    description = f"ImageJ=1.53t\n{lengths}\nhyperstack=true\norder={order}\n"
    with tifffile.TiffWriter(tmp_path / "s.tif") as tiff:
        for index in product(*map(range, array.shape[:3])):
            tiff.write(array[index].astype(np.uint16), description=description, metadata=None)
            description = None
    check_regions(
        tmp_path / "s.tif", *presented(array.astype(np.uint16), file_axes.upper() + "YX"), 0
    )


def test_an_aperio_slide_is_read_at_full_resolution(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 99, (64, 96, 3)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "slide.svs") as tiff:
        options = {"photometric": "rgb", "compression": "zlib", "metadata": None}
        tiff.write(array, tile=(16, 16), description="Aperio Image Library|MPP = 0.5", **options)
        tiff.write(array[::4, ::4], description="Aperio thumbnail", **options)
        tiff.write(array[::2, ::2], tile=(16, 16), description="Aperio level", **options)
    with tifffile.TiffFile(tmp_path / "slide.svs") as tiff:
        assert tiff.is_svs
    with open_image(tmp_path / "slide.svs") as image:
        assert image.axes == "CYX"
        assert image.pixel_size == {"X": (0.5, "µm"), "Y": (0.5, "µm")}
    check_regions(tmp_path / "slide.svs", np.moveaxis(array, -1, 0), "CYX", 0)


def test_a_hamamatsu_slide_beyond_4_gib_is_read(tmp_path: Path) -> None:
    """NDPI keeps the high halves of offsets and values behind a directory of classic TIFF."""
    array = np.random.default_rng(0).integers(0, 99, (64, 96)).astype(np.uint8)
    end = 1 << 32
    entries = [
        (256, 4, 1, 96), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, 1, 0), (277, 3, 1, 1), (278, 4, 1, 64), (279, 4, 1, array.size), (65420, 4, 1, 1),
    ]  # fmt: skip
    with open(tmp_path / "slide.ndpi", "wb") as file:  # sparse, so that it takes no space
        file.write(b"II*\0" + struct.pack("<Q", end + array.size))
        file.seek(array.size)  # where half of this offset leads: pixels like a damaged directory
        file.write(struct.pack("<HHHIII", 1, 273, 4, 1 << 31, 1 << 31, 0))
        file.seek(end)
        file.write(array.tobytes() + struct.pack("<H", len(entries)))
        file.writelines(struct.pack("<HHII", *entry) for entry in entries)
        file.write(bytes(8) + struct.pack("<10I", *(tag == 273 for tag, *_ in entries)))
    check_regions(tmp_path / "slide.ndpi", array, "YX", 0)


@pytest.mark.parametrize(("axis", "length"), [("Z", "DimensionZ"), ("T", "DimensionTime")])
def test_an_lsm_stack_is_read_without_its_thumbnails(
    tmp_path: Path, axis: str, length: str
) -> None:
    stack = np.random.default_rng(0).integers(0, 99, (3, 64, 96)).astype(np.uint8)
    info = np.zeros((), tifffile.TIFF.CZ_LSMINFO)
    lengths = {"DimensionX": 96, "DimensionY": 64, "DimensionZ": 1, "DimensionChannels": 1}
    sizes = {"VoxelSizeX": 2e-7, "VoxelSizeY": 2e-7, "VoxelSizeZ": 1e-6, "TimeIntervall": 2.5}
    header = {"MagicNumber": 67127628, "StructureSize": info.nbytes, "DimensionTime": 1}
    scan = {"ScanType": 3 if axis == "T" else 0}
    for name, value in (header | lengths | sizes | scan | {length: 3}).items():
        info[name] = value
    tag = [(34412, "B", info.nbytes, info.tobytes(), True)]
    options: dict[str, Any] = {"metadata": None, "compression": "lzw", "contiguous": False}
    with tifffile.TiffWriter(tmp_path / "stack.lsm") as tiff:
        for number, page in enumerate(stack):
            tiff.write(page, extratags=[] if number else tag, **options)
            tiff.write(page[::4, ::4], subfiletype=1, **options)
    with tifffile.TiffFile(tmp_path / "stack.lsm") as tiff:
        assert tiff.is_lsm
    with open_image(tmp_path / "stack.lsm") as image:
        step = (1.0, "µm") if axis == "Z" else (2.5, "s")
        assert image.pixel_size == {axis: step, "Y": (0.2, "µm"), "X": (0.2, "µm")}
    check_regions(tmp_path / "stack.lsm", stack, f"{axis}YX", 0)


def test_pixel_size_comes_from_the_tags_if_ome_has_none(tmp_path: Path) -> None:
    array, tags = np.zeros((20, 30), np.uint8), {"resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "a.ome.tif", array, resolution=(20000, 10000), **tags)
    with open_image(tmp_path / "a.ome.tif") as image:
        assert image.pixel_size == {"X": (0.5, "µm"), "Y": (1.0, "µm")}
    metadata = {"PhysicalSizeX": 2.0, "PhysicalSizeY": 2.0}
    path = tmp_path / "b.ome.tif"
    tifffile.imwrite(path, array, resolution=(20000, 10000), metadata=metadata, **tags)
    with open_image(path) as image:
        assert image.pixel_size == {"X": (2.0, "µm"), "Y": (2.0, "µm")}
    metadata = {"axes": "ZYX", "PhysicalSizeZ": 3.0}
    tifffile.imwrite(
        path, array[None].repeat(2, 0), resolution=(20000, 10000), metadata=metadata, **tags
    )
    with open_image(path) as image:
        assert image.pixel_size == {"Z": (3.0, "µm"), "X": (0.5, "µm"), "Y": (1.0, "µm")}


def test_an_axis_in_a_unit_of_time_has_no_pixel_size(tmp_path: Path) -> None:
    metadata = {"unit": "micron", "yunit": "sec"}  # a kymograph: Y is time
    array = np.zeros((20, 30), np.uint8)
    tifffile.imwrite(tmp_path / "k.tif", array, imagej=True, resolution=(2, 0.5), metadata=metadata)
    with open_image(tmp_path / "k.tif") as image:
        assert image.pixel_size == {"X": (0.5, "µm")}


def test_a_pyramid_is_read_at_full_resolution(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 99, (3, 64, 64)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "p.ome.tif") as tiff:
        tiff.write(array, subifds=1, tile=(16, 16), metadata={"axes": "CYX"})
        tiff.write(array[:, ::2, ::2], subfiletype=1, tile=(16, 16))
    check_regions(tmp_path / "p.ome.tif", array, "CYX", 0)


@pytest.mark.parametrize("capacity", [1 << 20, 1])
@pytest.mark.parametrize("axes", ["YX", "YXS", "CYX"])
@pytest.mark.parametrize(
    ("layout", "height"), [({"rowsperstrip": 16}, 32), ({"tile": (32, 32)}, 16)]
)
def test_each_block_is_decoded_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capacity: int,
    axes: str,
    layout: dict[str, Any],
    height: int,
) -> None:
    shape = [3 if axis in "SC" else 64 for axis in axes]
    array = np.random.default_rng(0).integers(0, 99, shape).astype(np.uint8)
    options: dict[str, Any] = {"compression": "zlib", **layout}
    options["photometric"] = "rgb" if "S" in axes else "minisblack"
    tifffile.imwrite(tmp_path / "s.tif", array, metadata={"axes": axes}, **options)
    monkeypatch.setattr("unet2015.images.tiff.BlockCache", lambda: BlockCache(capacity))
    with open_image(tmp_path / "s.tif") as image:
        decoded = []
        decode = type(image)._decode

        def counting(self: Any, page: Any, segment: int) -> np.ndarray:
            decoded.append((page.index, segment))
            return decode(self, page, segment)

        monkeypatch.setattr(type(image), "_decode", counting)
        for top, left in product(range(0, 64, height), range(0, 64, 16)):
            image.read((), slice(top, top + height), slice(left, left + 16))
    assert sorted(decoded) == list(product(range(3 if "C" in axes else 1), range(4)))


def test_uncompressed_image_is_read_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.random.default_rng(0).integers(0, 99, (500, 1000)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "s.tif", array)
    with open_image(tmp_path / "s.tif") as image:
        read = []
        original = type(image)._bytes

        def counting(self: Any, where: str, offset: int, count: int) -> bytes:
            read.append(count)
            return original(self, where, offset, count)

        monkeypatch.setattr(type(image), "_bytes", counting)
        region = image.read((), slice(100, 110), slice(20, 40))[0]
    np.testing.assert_array_equal(region, array[100:110, 20:40])
    assert sum(read) == 10 * 20 * 2
