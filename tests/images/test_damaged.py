"""Truncated files, empty ones, other kinds of files: one sentence, never wrong pixels."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image as pillow

from unet2015 import InputError
from unet2015.errors import UnreachableError
from unet2015.images import open_image, read_image, write_image
from unet2015.labelfiles.labelimages import read_labels

STACK = np.random.default_rng(0).integers(0, 99, (5, 40, 50)).astype(np.uint16)
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"metadata": None},
    "one directory": {"imagej": True, "truncate": True, "metadata": {"axes": "TYX"}},
    "shaped": {},
    "imagej": {"imagej": True, "compression": "zlib", "metadata": {"axes": "TYX"}},
    "ome": {"ome": True, "compression": "zlib", "metadata": {"axes": "TYX"}},
    "lzw strips": {"compression": "lzw", "rowsperstrip": 7},
    "big tiles": {"bigtiff": True, "tile": (16, 16), "compression": "zstd"},
    "uncompressed tiles": {"byteorder": ">", "tile": (16, 16)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_truncation_anywhere_gives_an_error_or_all_pixels(tmp_path: Path, kind: str) -> None:
    whole = tmp_path / "whole.tif"
    tifffile.imwrite(whole, STACK, photometric="minisblack", **KINDS[kind])
    data = whole.read_bytes()
    cut = tmp_path / "cut.tif"
    rng = np.random.default_rng(0)
    messages = []
    sizes = [*range(0, 20), *rng.integers(20, len(data), 60), len(data) - 1]
    for size in sizes:
        cut.write_bytes(data[:size])
        try:
            pixels = read_image(cut)
        except InputError as error:
            messages.append(str(error))
        else:
            np.testing.assert_array_equal(pixels, STACK)
    assert len(messages) > 0.9 * len(sizes)
    assert all(str(cut) in message and "\n" not in message for message in messages)


@pytest.mark.parametrize("kind", KINDS)
def test_corrupt_directories_give_one_sentence_or_pixels(tmp_path: Path, kind: str) -> None:
    """Whatever the libraries make of them, users get one sentence, or pixels."""
    whole = tmp_path / "whole.tif"
    tifffile.imwrite(whole, STACK, photometric="minisblack", **KINDS[kind])
    spots: list[int] = [*range(16)]
    with tifffile.TiffFile(whole) as tiff:
        for page in tiff.pages:
            tags = page.aspage().tags.values()
            spots += range(page.offset, page.offset + 30 * len(tags))
            for tag in tags:
                spots += range(tag.valueoffset, tag.valueoffset + min(tag.valuebytecount, 100))
    rng = np.random.default_rng(0)
    messages = []
    for _ in range(150):
        data = bytearray(whole.read_bytes())
        for spot in rng.choice([spot for spot in spots if spot < len(data)], 2):
            data[spot] = rng.choice([0, 1, 2, 255, rng.integers(256)])
        (tmp_path / "wrong.tif").write_bytes(data)
        try:
            with open_image(tmp_path / "wrong.tif") as image:
                image.read(image.planes[-1], slice(0, 50), slice(0, 50))
        except OSError:
            pass  # reported as it is
        except InputError as error:
            messages.append(str(error))
    assert len(messages) > 10
    assert all("wrong.tif" in message and "\n" not in message for message in messages)


def test_strips_without_rows_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "strips.tif"
    tifffile.imwrite(path, STACK[0], compression="zlib", rowsperstrip=8)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["RowsPerStrip"].overwrite(0)
    with pytest.raises(InputError, match=r"strips\.tif cannot be read"):
        read_image(path)


@pytest.mark.parametrize(
    ("never_written", "description", "blank"),
    [(True, "", True), (False, "", False), (False, "Aperio Image Library v11", True)],
)
def test_a_tile_without_bytes_is_blank_only_if_it_was_never_written(
    tmp_path: Path, never_written: bool, description: str, blank: bool
) -> None:
    path = tmp_path / "tiles.tif"
    options = {"description": description, "metadata": None} if description else {}
    tifffile.imwrite(path, STACK[0], compression="zlib", tile=(48, 64), **options)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tags = tiff.pages.first.tags
        tags["TileByteCounts"].overwrite(0)
        if never_written:
            tags["TileOffsets"].overwrite(0)
    if blank:
        assert not read_image(path).any()
    else:
        with pytest.raises(InputError, match=r"tiles\.tif has a strip or tile without bytes"):
            read_image(path)


@pytest.mark.parametrize("block", [{"tile": (48, 64)}, {}])
def test_a_page_that_was_never_written_is_blank(tmp_path: Path, block: dict[str, Any]) -> None:
    path = tmp_path / "sparse.tif"
    with tifffile.TiffWriter(path) as writer:
        for plane in STACK[:2]:
            writer.write(plane, metadata=None, **block)
    kind = "Tile" if block else "Strip"
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for name in (f"{kind}Offsets", f"{kind}ByteCounts"):
            tiff.pages[1].tags[name].overwrite(0)
    with open_image(path) as image:
        first, second = (image.read(plane)[0] for plane in image.planes)
    np.testing.assert_array_equal(first, STACK[0])
    assert not second.any()


def test_lack_of_memory_is_not_reported_as_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], compression="zlib")

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(tifffile.TiffPage, "decode", property(lambda _: fail))
    with pytest.raises(UnreachableError, match=r"a\.tif needs more memory"):
        read_image(tmp_path / "a.tif")


def test_sizes_beyond_memory_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "huge.zarr"
    zarr.create_array(str(path), shape=(10**7, 10**7), chunks=(512, 512), dtype="uint8")
    with pytest.raises(UnreachableError, match=r"huge\.zarr needs more memory"):
        read_image(path)
    with open_image(path) as image, pytest.raises(UnreachableError, match="needs more memory"):
        image.read()


def test_a_directory_beyond_the_end_of_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "beyond.tif"
    tifffile.imwrite(path, STACK[0], bigtiff=True)
    data = bytearray(path.read_bytes())
    data[15] = 255  # the highest byte of the first directory's offset
    path.write_bytes(data)
    with pytest.raises(InputError, match="truncated"):
        open_image(path)


@pytest.mark.parametrize("left", [0, 1, 10, 100])
def test_a_lost_directory_is_detected(tmp_path: Path, left: int) -> None:
    """libtiff writes directories after the pixels; if one is lost, tifffile finds fewer pages."""
    whole = tmp_path / "whole.tif"
    tifffile.imwrite(whole, STACK, photometric="minisblack", metadata=None)
    with tifffile.TiffFile(whole) as tiff:
        end = tiff.pages[3].offset + left
    (tmp_path / "cut.tif").write_bytes(whole.read_bytes()[:end])
    with pytest.raises(InputError, match="truncated"):
        open_image(tmp_path / "cut.tif")


def test_truncation_is_detected_when_opening(tmp_path: Path) -> None:
    for name, options in KINDS.items():
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, STACK, photometric="minisblack", **options)
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(InputError, match="truncated"):
            open_image(path)


def test_shrinking_of_an_open_file_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "shrinking.tif"
    tifffile.imwrite(path, STACK)
    with open_image(path) as image:
        image.read((0,))
        with open(path, "r+b") as file:
            file.truncate(1000)
        with pytest.raises(InputError, match="truncated"):
            image.read((3,))


def test_a_damaged_strip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.tif"
    tifffile.imwrite(path, STACK[0], compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages.first.dataoffsets[0], tiff.pages.first.databytecounts[0]
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * count)
    with open_image(path) as image, pytest.raises(InputError, match="cannot be read"):
        image.read()


def test_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "codec.tif"
    tifffile.imwrite(path, STACK[0], compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["Compression"].overwrite(4711)
    with pytest.raises(InputError, match=r"codec\.tif"):
        read_image(path)


def test_pngs_are_read_and_truncated_ones_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", STACK[0])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), STACK[0])
    data = (tmp_path / "a.png").read_bytes()
    for size in (0, 5, 20, 60, len(data) // 2, len(data) - 20):
        (tmp_path / "cut.png").write_bytes(data[:size])
        with pytest.raises(InputError, match=r"cut\.png"):
            open_image(tmp_path / "cut.png")
    colour = np.random.default_rng(0).integers(0, 99, (5, 6, 3)).astype(np.uint8)
    (tmp_path / "rgb.png").write_bytes(imagecodecs.png_encode(colour))
    with open_image(tmp_path / "rgb.png") as image:
        assert image.axes == "CYX"
        np.testing.assert_array_equal(
            image.read((), slice(1, 3)), colour.transpose(2, 0, 1)[:, 1:3]
        )


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_png_gives_colours_or_for_labels_indices(tmp_path: Path, bits: int) -> None:
    labels = np.random.default_rng(0).integers(0, 2**bits, (5, 6)).astype(np.uint8)
    image = pillow.fromarray(labels).convert("P")
    palette = np.random.default_rng(1).integers(0, 256, (256, 3)).astype(np.uint8)
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "a.png", bits=bits)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), labels)
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.png"), palette[labels].transpose(2, 0, 1)
    )
    with open_image(tmp_path, indices=True) as folder:
        np.testing.assert_array_equal(folder.read((0,))[0], labels)


@pytest.mark.parametrize(
    ("mode", "transparent"), [("1", 0), ("L", 0), ("RGB", (0, 0, 0)), ("P", 0)]
)
def test_a_transparent_colour_of_a_png_is_no_channel(
    tmp_path: Path, mode: str, transparent: Any
) -> None:
    image = pillow.fromarray(np.eye(5, dtype=np.uint8) * 255).convert(mode)
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "transparent.png", transparency=transparent)
    for indices in (False, True):
        with (
            open_image(tmp_path / "plain.png", indices) as plain,
            open_image(tmp_path / "transparent.png", indices) as same,
        ):
            assert same.axes == plain.axes
            np.testing.assert_array_equal(same.read(), plain.read())


def test_a_damaged_palette_png_is_refused(tmp_path: Path) -> None:
    pillow.fromarray(STACK[0].astype(np.uint8)).convert("P").save(tmp_path / "a.png", gamma=0.5)
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[data.index(b"IDAT") + 20] ^= 255
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.png"):
        read_labels(tmp_path / "a.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders")
def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tif")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        open_image(tmp_path / "a.tif")


def test_a_broken_link_in_a_folder_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", STACK[0])
    (tmp_path / "b.tif").symlink_to("gone.tif")
    with pytest.raises(InputError, match=r"b\.tif does not exist: it is a broken link to gone"):
        open_image(tmp_path)


@pytest.mark.parametrize("name", ["notes.txt", "absent.tif", "text.tif", "empty.tif", "folder"])
def test_paths_that_are_not_images_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "text.tif").write_text("not an image")
    (tmp_path / "empty.tif").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=name) as caught:
        open_image(tmp_path / name)
    assert str(caught.value).count("\n") == 0


@pytest.mark.filterwarnings("ignore:.*zero-size:UserWarning")
def test_an_image_without_pixels_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "zero.tif", np.zeros((0, 5), np.uint8))
    with pytest.raises(InputError, match=r"zero\.tif"):
        open_image(tmp_path / "zero.tif")


def test_complex_values_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "complex.tif", STACK[0].astype(np.complex64))
    with pytest.raises(InputError, match="complex64"):
        open_image(tmp_path / "complex.tif")


def test_tifffile_is_silent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True)
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:9000])
    with caplog.at_level(logging.DEBUG), pytest.raises(InputError):
        read_image(tmp_path / "a.tif")
    assert not caplog.records
