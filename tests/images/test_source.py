"""Folders of frames, axes, channels, names, fingerprints."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unet2015 import InputError
from unet2015.blockcache import BlockCache
from unet2015.images import open_image, read_image, select_channels, write_image
from unet2015.images.fingerprint import fingerprint
from unet2015.images.source import canonical_axes, plane_order
from unet2015.images.units import physical_size
from unet2015.labelfiles.labelimages import open_labels

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 99, (12, 20, 30)).astype(np.uint8)
SIZES = {"Y": (0.5, "µm"), "X": (0.25, "µm")}


def write_frames(folder: Path, suffix: str = ".tif") -> Path:
    folder.mkdir()
    for number, frame in enumerate(FRAMES):
        write_image(folder / f"t{number}{suffix}", frame, "YX", SIZES)
    (folder / "res_track.txt").write_text("not an image")
    (folder / ".t3.tif").write_text("hidden")
    return folder


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_folder_frames_are_in_natural_order(tmp_path: Path, suffix: str) -> None:
    folder = write_frames(tmp_path / "01", suffix)
    with open_image(folder) as image:
        assert (image.axes, image.shape) == ("TYX", FRAMES.shape)
        assert [frame.stem for frame in image.frames] == [f"t{n}" for n in range(12)]
        assert image.pixel_size == (SIZES if suffix == ".tif" else {})
        for plane in reversed(image.planes):
            region = image.read(plane, slice(3, 9), slice(2, 30))
            np.testing.assert_array_equal(region[0], FRAMES[plane][3:9, 2:30])


def test_a_folder_of_volumes_gets_a_time_axis(tmp_path: Path) -> None:
    volumes = RNG.integers(0, 99, (2, 3, 2, 20, 30)).astype(np.uint16)
    for number, volume in enumerate(volumes):
        tifffile.imwrite(tmp_path / f"{number}.tif", volume, imagej=True, metadata={"axes": "ZCYX"})
    with open_image(tmp_path) as image:
        assert image.axes == "TZCYX"
    np.testing.assert_array_equal(read_image(tmp_path), volumes)


def test_time_follows_the_positions_of_the_frames(tmp_path: Path) -> None:
    frames = RNG.integers(0, 99, (3, 2, 4, 20, 30)).astype(np.uint8)
    axes = {"axes": "PZYX"}
    for number, frame in enumerate(frames):
        tifffile.imwrite(tmp_path / f"{number}.tif", frame, photometric="minisblack", metadata=axes)
    with open_image(tmp_path) as image:
        assert image.axes == "PTZYX"
    np.testing.assert_array_equal(read_image(tmp_path), frames.transpose(1, 0, 2, 3, 4))


def test_frames_of_different_types_are_refused(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "01")
    write_image(folder / "t12.tif", FRAMES[0].astype(np.uint16))
    with pytest.raises(InputError, match=r"t12\.tif.*uint16.*t0\.tif.*uint8"):
        open_image(folder)


def test_frames_of_different_sizes_are_refused(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "01")
    write_image(folder / "t12.tif", FRAMES[0][:-1])
    with pytest.raises(InputError, match=r"t12\.tif.*Y 19"):
        open_image(folder)


def test_a_frame_resized_after_opening_is_refused(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "01")
    with open_image(folder) as image:
        write_image(folder / "t3.tif", FRAMES[0][:-1])
        with pytest.raises(InputError, match=r"t3\.tif.*Y 19"):
            image.read((3,))


def test_a_folder_of_time_lapses_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", FRAMES, "TYX")
    with pytest.raises(InputError, match="time axis"):
        open_image(tmp_path)


def test_threads_read_the_same_pixels(tmp_path: Path) -> None:
    array = RNG.integers(0, 9999, (300, 400)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, compression="lzw", tile=(32, 32))
    corners = [(int(y), int(x)) for y, x in RNG.integers(0, 200, (60, 2))]
    with open_image(tmp_path / "a.tif") as image, ThreadPoolExecutor(4) as pool:
        regions = pool.map(
            lambda c: image.read((), slice(c[0], c[0] + 90), slice(c[1], c[1] + 90))[0], corners
        )
        for (y, x), region in zip(corners, regions, strict=True):
            np.testing.assert_array_equal(region, array[y : y + 90, x : x + 90])


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", FRAMES, "TYX")
    with open_image(tmp_path / "a.tif") as image:
        for plane, channels in [((), [0]), ((12,), [0]), ((-1,), [0]), ((0,), [1]), ((0,), [-1])]:
            with pytest.raises(IndexError):
                image.read(plane, channels=channels)
        assert image.read((0,), rows=slice(9, 3)).shape == (1, 0, 30)
        with pytest.raises(ValueError, match="step"):
            image.read((0,), rows=slice(0, 10, 2))


def test_unnamed_axes_get_names() -> None:
    assert canonical_axes("Q") == ["Z"]
    assert canonical_axes("IQ") == ["T", "Z"]
    assert canonical_axes("TQ") == ["T", "Z"]
    assert canonical_axes("ZQ") == ["Z", "T"]
    assert canonical_axes("PTZ") == ["P", "T", "Z"]
    assert canonical_axes("TT") == ["T", "Z"]
    assert plane_order("ZTP") == [2, 1, 0]


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (650, "nm", (0.65, "µm")), (0.5, "\\u00B5m", (0.5, "µm")), ("0.5", "micron", (0.5, "µm")),
        (2, "MM", (2000.0, "µm")), (1, "μm", (1.0, "µm")), (5, "min", (300.0, "s")),
        (100, "ms", (0.1, "s")), (1, "pixel", None), (0, "µm", None), ("nan", "µm", None),
        (None, "µm", None), (-1, "µm", None), (1, None, None), ("4e-13", "µm", None),
        (1, "kilometre", (1e9, "µm")), (2, "decimeters", (2e5, "µm")), (1, "day", (86400.0, "s")),
        (72, "inch", None), (1, "hm", (1e8, "µm")), (3, "m", (3e6, "µm")), (1, "cm", (1e4, "µm")),
        (1, "picometers", (1e-6, "µm")), (1, "Å", (1e-4, "µm")), (1, "Angstrom", (1e-4, "µm")),
        (1, "h", (3600.0, "s")), (1, "us", (1e-6, "s")), (1, "nanoseconds", (1e-9, "s")),
        (1, "sec", (1.0, "s")), (1, "microseconds", (1e-6, "s")), (1, "msec", (1e-3, "s")),
    ],
)  # fmt: skip
def test_units_are_converted(
    value: object, unit: object, expected: tuple[float, str] | None
) -> None:
    assert physical_size(value, unit) == expected


def write_channels(path: Path, names: list[str]) -> None:
    metadata = {"axes": "CYX", "Channel": {"Name": names}}
    tifffile.imwrite(path, FRAMES[: len(names)], photometric="minisblack", metadata=metadata)


def test_channels_are_selected_by_name_or_index(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_channels(tmp_path / "a.ome.tif", ["DAPI", "µ&<G>", "7"])
    with open_image(tmp_path / "a.ome.tif") as image:
        assert select_channels(image, [], 3) == (0, 1, 2)
        assert select_channels(image, [2, 0], 2) == (2, 0)
        assert select_channels(image, ["µ&<G>", "0"], 2) == (1, 0)
        assert select_channels(image, ["7"], 1) == (2,)
        for requested, wanted in [([], 1), ([], 4), ([0, 1], 1), ([3], 1), (["RFP"], 1)]:
            with pytest.raises(InputError, match=r"3 channels \(DAPI, µ&<G>, 7\), axes C 3, Y 20"):
                select_channels(image, requested, wanted)
    write_channels(tmp_path / "numbered.ome.tif", ["1", "2", "3"])
    with open_image(tmp_path / "numbered.ome.tif") as image:
        caplog.clear()
        assert select_channels(image, ["0", "3"], 2) == (0, 2)
        assert not caplog.messages
        assert select_channels(image, ["1"], 1) == (1,)
        assert select_channels(image, ["1"], 1) == (1,)
        (message,) = caplog.messages
        assert 'which is named "2"; the one named "1" is channel 0' in message
    write_channels(tmp_path / "from 0.ome.tif", ["0", "1", "2"])
    with open_image(tmp_path / "from 0.ome.tif") as image:
        caplog.clear()
        assert select_channels(image, ["1"], 1) == (1,)
        assert not caplog.messages
    write_channels(tmp_path / "unnamed.ome.tif", ["DAPI", ""])
    with open_image(tmp_path / "unnamed.ome.tif") as image:
        assert image.channel_names == ()
    colours = np.stack([FRAMES[0]] * 3, axis=-1)
    metadata = {"Channel": {"Name": "RGB"}}
    tifffile.imwrite(tmp_path / "rgb.ome.tif", colours, photometric="rgb", metadata=metadata)
    with open_image(tmp_path / "rgb.ome.tif") as image:
        assert (image.channels, image.channel_names) == (3, ())
    write_image(tmp_path / "grey.tif", FRAMES[0])
    with open_image(tmp_path / "grey.tif") as image:
        assert select_channels(image, [], 1) == (0,)
        with pytest.raises(InputError, match="1 channel, axes Y 20, X 30, but the model takes 3"):
            select_channels(image, [], 3)


def test_only_channels_that_may_be_planes_are_called_so(tmp_path: Path) -> None:
    stack, hint = np.zeros((3, 20, 30), np.uint8), "if these are planes of a stack"
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="rgb")
    tifffile.imwrite(tmp_path / "colours.tif", np.moveaxis(stack, 0, -1), photometric="rgb")
    write_channels(tmp_path / "channels.ome.tif", ["a", "b", "c"])
    for name in ("stack.tif", "colours.tif", "channels.ome.tif"):
        with open_image(tmp_path / name) as image:
            with pytest.raises(InputError) as refusal:
                select_channels(image, [], 1)
            assert (hint in str(refusal.value)) == (name == "stack.tif")
    with pytest.raises(InputError, match=hint):
        open_labels(tmp_path / "stack.tif")


def test_fingerprint_notices_changes(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "01")
    file = folder / "t3.tif"
    before = fingerprint(file), fingerprint(folder)
    assert (fingerprint(file), fingerprint(folder)) == before
    state = file.stat()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert fingerprint(folder) != before[1]
    before = before[0], fingerprint(folder)
    os.close(os.open(os.fsencode(folder) + b"/caf\xe9.tif", os.O_CREAT))  # Latin-1
    assert fingerprint(folder) != before[1]
    before = before[0], fingerprint(folder)
    for name in (".DS_Store", "Thumbs.db", "._t000.tif"):  # left by file managers
        (folder / name).touch()
    assert fingerprint(folder) == before[1]
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert fingerprint(file) != before[0]


def test_fingerprint_covers_ends_size_and_date_of_a_large_file(tmp_path: Path) -> None:
    file = tmp_path / "large.tif"
    prints = []
    zeros = bytes(200_000)
    for content, date in [
        (zeros, 0), (b"a" + zeros[1:], 0), (zeros[1:] + b"a", 0), (zeros + b"\0", 0), (zeros, 1),
    ]:  # fmt: skip
        file.write_bytes(content)
        os.utime(file, ns=(0, date))
        prints.append(fingerprint(file))
    assert len(set(prints)) == 5


def test_fingerprint_covers_the_places_of_files_in_a_folder(tmp_path: Path) -> None:
    for name in ("image/0", "image/1"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "image/0/0").touch()
    before = fingerprint(tmp_path / "image")
    (tmp_path / "image/0/0").rename(tmp_path / "image/1/0")
    assert fingerprint(tmp_path / "image") != before


def test_cache_drops_the_least_recently_used_block() -> None:
    made = []

    def get(key: str) -> None:
        cache.get(key, lambda: made.append(key) or np.zeros(10, np.uint8))

    cache = BlockCache(25)
    for key in "abacabd":
        get(key)
    assert "".join(made) == "abcbd"
    cache = BlockCache(5)
    get("x")
    get("x")
    assert "".join(made) == "abcbdx"


def test_the_repr_of_an_image_names_its_file(tmp_path: Path) -> None:
    for name in ("cells.ome.tif", "cells.tif", "cells.png"):
        write_image(tmp_path / name, FRAMES[0])
        with open_image(tmp_path / name) as image:
            assert "cells" in repr(image)
