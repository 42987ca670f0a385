import os
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image as pillow
from scipy import ndimage

from unet2015 import annotated_frame, border_weight_map, separate_touching
from unet2015.cli import main
from unet2015.commands import weightmap as weightmap_command
from unet2015.images import open_image, read_image, stream_image, write_image
from unet2015.instances import label_cells
from unet2015.labelfiles.ctcnames import find_image
from unet2015.labelfiles.labelimages import open_labels, read_plane
from unet2015.samples import prepare
from unet2015.schedule import TrainingConfig
from unet2015.weightmap import ClassWeights, WeightMapConfig, balanced_class_weights
from unet2015.weightmapfiles import regions
from unet2015.weightmapfiles.regions import CellRows, LabelReading, WeightRegions


def cells(height=60, width=80, count=14, seed=0, dtype=np.uint16):
    """Rectangles that touch and overlap."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((height, width), dtype)
    for name in range(1, count + 1):
        top, left = rng.integers(0, height), rng.integers(0, width)
        labels[top : top + rng.integers(3, 25), left : left + rng.integers(3, 25)] = name
    return labels


def run(*words):
    return main(["weightmap", *map(str, words)])


@pytest.fixture
def small_bands(monkeypatch):
    """Treat all images as large, and many bands high."""
    monkeypatch.setattr(regions, "BAND", 16)
    monkeypatch.setattr("unet2015.images.streaming.STREAMED_FROM", 0)


def test_one_image_gives_a_weight_map_and_a_target(tmp_path):
    labels = cells()
    source, out, target = tmp_path / "labels.tif", tmp_path / "out.tif", tmp_path / "target.tif"
    write_image(source, labels, pixel_size={"X": (0.5, "µm"), "Y": (0.25, "µm")})
    assert run(source, "-o", out, "--target", target) == 0
    np.testing.assert_array_equal(read_image(out), border_weight_map(labels))
    assert read_image(target).dtype == np.uint8
    np.testing.assert_array_equal(read_image(target), separate_touching(labels) > 0)
    for path in (out, target):
        with open_image(path) as image:
            assert image.axes == "YX"
            assert image.pixel_size == {"X": (0.5, "µm"), "Y": (0.25, "µm")}


def test_a_folder_of_one_image_is_handled_like_the_image(tmp_path):
    write_image(tmp_path / "labels/a.tif", cells())
    (tmp_path / "targets").mkdir()
    words = ("-o", tmp_path / "out.tif", "--target", tmp_path / "targets")
    for labels in (tmp_path / "labels/a.tif", tmp_path / "labels"):
        assert run(labels, *words) == 0
        (tmp_path / "targets/a.tif").unlink()


@pytest.mark.usefixtures("small_bands")
def test_wide_ridges_span_bands(tmp_path):
    labels = cells(70, 90, 30)
    write_image(tmp_path / "labels.tif", labels)
    expected = separate_touching(labels, 5)
    with open_image(tmp_path / "labels.tif") as image:
        for height in (1, 3, 16, 40):
            rows = CellRows(image, (), LabelReading(ridge=5))
            found = [rows.read(slice(top, min(top + height, 70))) for top in range(0, 70, height)]
            np.testing.assert_array_equal(np.concatenate(found), expected)


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
@pytest.mark.usefixtures("small_bands")
def test_large_images_get_the_same_weights(tmp_path, suffix):
    labels = cells(150, 1100, 200)
    source, out = tmp_path / "labels.tif", tmp_path / f"out{suffix}"
    write_image(source, labels, pixel_size={"X": (0.5, "µm"), "Y": (0.5, "µm")})
    assert run(source, "-o", out) == 0
    with open_image(out) as image:
        assert (image.axes, image.shape, image.dtype) == ("YX", (150, 1100), np.float32)
        assert image.pixel_size["X"] == (0.5, "µm")
        np.testing.assert_array_equal(image.read()[0], border_weight_map(labels))
    if suffix == ".tif":
        with tifffile.TiffFile(out) as tiff:
            assert tiff.pages[0].is_tiled
            assert tiff.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE


@pytest.mark.parametrize("ridge", [0, 1, 3, 7])
@pytest.mark.usefixtures("small_bands")
def test_regions_may_be_read_in_any_order(tmp_path, ridge):
    labels = np.stack([cells(70, 90, 30, seed) for seed in range(2)])
    write_image(tmp_path / "labels.tif", labels, "ZYX")
    pair = balanced_class_weights([separate_touching(labels, ridge)])
    whole = border_weight_map(labels, ridge=ridge)
    with open_image(tmp_path / "labels.tif") as image:
        regions = WeightRegions(image, LabelReading(ridge=ridge), WeightMapConfig(), pair)
        for plane, rows, columns in [
            (0, slice(0, 40), slice(10, 60)),
            (0, slice(40, 70), slice(0, 90)),
            (0, slice(3, 9), slice(80, 90)),
            (1, slice(50, 51), slice(0, 1)),
            (0, slice(69, 70), slice(0, 90)),
        ]:
            part = regions[plane, rows, columns]
            np.testing.assert_array_equal(part, whole[plane, rows, columns])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("large", [False, True])
def test_a_stack_keeps_its_axes(tmp_path, monkeypatch, large, dtype):
    if large:
        monkeypatch.setattr("unet2015.images.streaming.STREAMED_FROM", 0)
    labels = np.stack([cells(seed=seed) for seed in range(6)]).reshape(2, 3, 60, 80)
    source, out = tmp_path / "labels.tif", tmp_path / "out.tif"
    sizes = {"T": (60.0, "s"), "Z": (2.0, "µm"), "Y": (0.5, "µm"), "X": (0.5, "µm")}
    write_image(source, labels, "TZYX", sizes)
    assert run(source, "-o", out, "--dtype", dtype) == 0
    with open_image(out) as image:
        assert (image.axes, image.shape, image.dtype) == ("TZYX", (2, 3, 60, 80), dtype)
        # OME has no float16, so its TIFF keeps only the sizes of Y and X.
        kept = "TZYX" if dtype == "float32" else "YX"
        assert image.pixel_size == {axis: sizes[axis] for axis in kept}
    np.testing.assert_array_equal(read_image(out), border_weight_map(labels).astype(dtype))


@pytest.mark.parametrize("given", ["01_GT", "01_GT/SEG"])
def test_frames_of_a_ctc_folder_share_class_weights(tmp_path, given):
    folder = tmp_path / "01_GT" / "SEG"
    folder.mkdir(parents=True)
    labels = {f"man_seg{n:03d}": cells(seed=n, count=3 * n) for n in (2, 5)}
    for name, frame in labels.items():
        write_image(folder / f"{name}.tif", frame)
    out, target = tmp_path / "new" / "weights", tmp_path / "targets"
    assert run(tmp_path / given, "-o", out, "--target", target) == 0
    pair = balanced_class_weights([separate_touching(frame) for frame in labels.values()])
    assert sorted(path.stem for path in out.iterdir()) == sorted(labels)
    for name, frame in labels.items():
        weights = border_weight_map(frame, class_weights=pair)
        np.testing.assert_array_equal(read_image(out / f"{name}.tif"), weights)
        separated = separate_touching(frame) > 0
        np.testing.assert_array_equal(read_image(target / f"{name}.tif"), separated)


def test_foreign_files_are_not_replaced_under_derived_names(tmp_path, capsys):
    write_image(tmp_path / "labels/a.tif", cells())
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images/a.tif", cells())
    for labels in ("labels", "labels/a.tif"):
        for flags in (["-o", tmp_path / "images"], ["-o", tmp_path / "new"]):
            flags += ["--target", tmp_path / "images"] if "new" in str(flags[1]) else []
            (tmp_path / "new").mkdir(exist_ok=True)
            assert run(tmp_path / labels, *flags) == 2
            assert_one_sentence(capsys, "images/a.tif exists and was not written by unet2015")
    np.testing.assert_array_equal(read_image(tmp_path / "images/a.tif"), cells())
    for _ in range(2):
        assert run(tmp_path / "labels", "-o", tmp_path / "new") == 0
    assert run(tmp_path / "labels", "-o", tmp_path / "images/a.tif") == 0


@pytest.mark.usefixtures("small_bands")
def test_connected_components_span_bands(tmp_path):
    y, x = np.mgrid[:120, :90]
    mask = 255 * (np.hypot(y - 60, x - 45).astype(int) // 4 % 2 == 1).astype(np.uint8)
    mask[::7, :20] = 255  # a comb joins some of the rings
    mask[40:60, 60:90] &= np.random.default_rng(0).integers(0, 2, (20, 30), np.uint8) * 255
    source, out = tmp_path / "mask.tif", tmp_path / "out.tif"
    write_image(source, mask)
    with open_image(source) as image:
        rows = CellRows(image, (), LabelReading(connected_components=True))
        found = np.concatenate(
            [rows.read(slice(top, min(top + 25, 120))) for top in range(0, 120, 25)]
        )
    expected = label_cells(mask > 0)
    pairs = np.unique(np.stack([found, expected]).reshape(2, -1), axis=1)
    assert pairs.shape[1] == expected.max() + 1
    assert run(source, "-o", out, "--connected-components") == 0
    np.testing.assert_array_equal(read_image(out), border_weight_map(expected))


def test_a_mask_without_connected_components_is_pointed_out(tmp_path, caplog):
    write_image(tmp_path / "mask.tif", 255 * (cells() > 0).astype(np.uint8))
    with caplog.at_level("INFO"):
        assert run(tmp_path / "mask.tif", "-o", tmp_path / "out.tif") == 0
    assert "most numbers have several separate pieces" in caplog.text
    assert "--connected-components" in caplog.text
    assert sum(record.levelname == "WARNING" for record in caplog.records) == 1


def soft_mask():
    """Discs of 255 whose edges are smoothed."""
    rows, columns = np.mgrid[:60, :80]
    hard = np.hypot(rows - 25, columns - 20) < 15
    hard |= np.hypot(rows - 32, columns - 60) < 16
    return np.rint(ndimage.gaussian_filter(np.where(hard, 255.0, 0.0), 0.7)).astype(np.uint8)


def with_void(dtype):
    """Numbered cells within borders of 255, as in the VOC data."""
    labels = np.kron(np.arange(1, 13).reshape(3, 4), np.ones((20, 20), int)).astype(dtype)
    return np.where((np.indices(labels.shape) % 20 < 4).any(axis=0), dtype(255), labels)


@pytest.mark.parametrize(
    ("labels", "options", "refused"),
    [
        (soft_mask(), [], True),
        (np.where(soft_mask() > 127, np.uint8(255), np.uint8(0)), [], False),
        (np.where(soft_mask() > 127, np.uint8(255), np.uint8(3)), [], False),
        (soft_mask().astype(np.float32), [], True),
        (with_void(np.uint8), [], False),
        (np.where(soft_mask() > 127, np.uint8(255), 0), ["--connected-components"], False),
    ],
)
def test_a_mask_with_soft_edges_is_refused(tmp_path, capsys, labels, options, refused):
    write_image(tmp_path / "labels.tif", labels)
    words = [str(tmp_path / "labels.tif"), "-o", str(tmp_path / "w.tif")]
    assert main(["weightmap", *words, *options]) == (2 if refused else 0)
    assert ("a mask with soft edges" in capsys.readouterr().err) == refused
    assert (tmp_path / "w.tif").exists() != refused


def test_the_first_plane_with_cells_is_judged(tmp_path, caplog):
    mask = (cells() > 0).astype(np.uint8)
    write_image(tmp_path / "labels.tif", np.stack([0 * mask, mask]), "ZYX")
    assert run(tmp_path / "labels.tif", "-o", tmp_path / "w.tif") == 0
    assert "most numbers have several separate pieces" in caplog.text


@pytest.mark.parametrize("numbered", [True, False])
def test_numbers_that_connected_components_ignore_are_pointed_out(tmp_path, caplog, numbered):
    write_image(tmp_path / "labels.tif", cells() if numbered else (cells() > 0).astype(np.uint8))
    assert run(tmp_path / "labels.tif", "-o", tmp_path / "w.tif", "--connected-components") == 0
    assert ("cells have numbers, which" in caplog.text) == numbered


@pytest.mark.parametrize("picture", [True, False])
def test_a_microscope_image_instead_of_labels_is_refused(tmp_path, capsys, picture):
    labels = np.kron(np.arange(16).reshape(4, 4), np.ones((10, 10), int)).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 9, labels.shape, dtype=np.uint8)
    write_image(tmp_path / "labels.tif", labels + noise * picture)
    words = ["weightmap", str(tmp_path / "labels.tif"), "-o", str(tmp_path / "w.tif")]
    assert main(words) == (2 if picture else 0)
    assert ("as in a microscope image" in capsys.readouterr().err) == picture


@pytest.mark.parametrize(("value", "told"), [(1, False), (77, True)])
def test_an_absent_ignore_value_is_pointed_out(tmp_path, caplog, value, told):
    write_image(tmp_path / "labels.tif", cells())
    assert run(tmp_path / "labels.tif", "-o", tmp_path / "w.tif", "--ignore", value) == 0
    assert (f"no pixel has the value {value}" in caplog.text) == told


def test_flags_reach_the_computation(tmp_path):
    labels = cells()
    labels[:9, :9] = 99
    source, out = tmp_path / "labels.png", tmp_path / "out.tif"
    write_image(source, labels)
    flags = ["--w0", 3, "--sigma", 2, "--class-weights", 1, 0.25, "--ignore", 99]
    for ridge in (0, 3):
        assert run(source, "-o", out, *flags, "--ridge", ridge, "--spacing", 1, 0.5) == 0
        expected = border_weight_map(
            labels, 3, 2, class_weights=(1, 0.25), ignore=99, ridge=ridge, spacing=(1, 0.5)
        )
        np.testing.assert_array_equal(read_image(out), expected)
    assert run(source, "-o", out, "--class-weights", "none") == 0
    np.testing.assert_array_equal(read_image(out), border_weight_map(labels, class_weights=None))
    assert run(source, "-o", out, "--ignore", 99) == 0
    np.testing.assert_array_equal(read_image(out), border_weight_map(labels, ignore=99))


def test_the_options_of_training_give_its_target_and_weights(tmp_path):
    config = TrainingConfig()
    labels = {name: cells(count=count) for name, count in [("a", 5), ("b", 30)]}
    for name, label in labels.items():
        write_image(tmp_path / f"labels/{name}.tif", label)
    flags = ["--ridge", config.ridge, "--class-balance", config.class_balance]
    assert run(tmp_path / "labels", "-o", tmp_path, "--target", tmp_path / "targets", *flags) == 0
    frames = [annotated_frame(label, label, name) for name, label in labels.items()]
    prepared, _ = prepare(frames, config, WeightMapConfig())
    for name, frame in zip(labels, prepared, strict=True):
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.tif"), frame.weight)
        np.testing.assert_array_equal(read_image(tmp_path / f"targets/{name}.tif"), frame.target)


def test_a_class_balance_that_would_be_ignored_is_refused(tmp_path, capsys):
    write_image(tmp_path / "labels.tif", cells())
    words = (tmp_path / "labels.tif", "-o", tmp_path / "out.tif", "--class-balance", 0.1)
    assert run(*words, "--class-weights", "freiburg") == 2
    assert_one_sentence(capsys, "--class-balance applies to --class-weights balanced only")
    assert not (tmp_path / "out.tif").exists()


def test_float_images_and_zarrs_are_accepted_as_labels(tmp_path):
    labels = cells()
    write_image(tmp_path / "float.tif", labels.astype(np.float32))
    stream_image(tmp_path / "labels.zarr", labels, "YX", labels=True)
    for name in ("float.tif", "labels.zarr"):
        assert run(tmp_path / name, "-o", tmp_path / "out.tif") == 0
        np.testing.assert_array_equal(read_image(tmp_path / "out.tif"), border_weight_map(labels))


@pytest.mark.parametrize("with_image", [False, True])
def test_the_preview_shows_the_image_if_given(tmp_path, monkeypatch, with_image):
    monkeypatch.setattr("unet2015.weightmapfiles.preview.WINDOW", 100)
    labels = cells(150, 170, 40)
    write_image(tmp_path / "labels.tif", labels)
    write_image(tmp_path / "image.tif", ndimage.gaussian_filter(labels.astype(np.float32), 2))
    flags = ["--image", tmp_path / "image.tif"] if with_image else []
    preview = tmp_path / "preview.png"
    assert run(tmp_path / "labels.tif", "-o", tmp_path / "o.tif", "--preview", preview, *flags) == 0
    picture = imagecodecs.png_decode(preview.read_bytes())
    assert picture.shape[1] > picture.shape[0] * (2.5 if with_image else 2)
    assert len(np.unique(picture[..., :3] @ [1, 256, 65536])) > 100


def test_the_preview_is_of_the_image_with_the_largest_weight(tmp_path, monkeypatch):
    apart = np.zeros((40, 50), np.uint8)
    apart[5:9, 5:9], apart[30:34, 40:44] = 1, 2
    touching = apart.copy()
    touching[5:9, 9:13] = 3
    for name, labels in {"a": apart, "b": touching, "c": apart}.items():
        write_image(tmp_path / "labels" / f"{name}.tif", labels)
    drawn = []
    monkeypatch.setattr(weightmap_command, "draw_peak", lambda *words: drawn.append(words[1]))
    words = ("-o", tmp_path / "out", "--preview", tmp_path / "preview.png")
    assert run(tmp_path / "labels", *words, "--class-weights", 1, 1) == 0
    assert drawn == [tmp_path / "labels" / "b.tif"]


def test_pyramids_average_weights_and_pick_targets(tmp_path):
    write_image(tmp_path / "a.tif", cells(600, 700, 40))
    words = ("-o", tmp_path / "w.zarr", "--target", tmp_path / "t.zarr")
    assert run(tmp_path / "a.tif", *words) == 0
    weights, target = (zarr.open(tmp_path / f"{name}.zarr") for name in "wt")
    averaged = weights["0"][:].reshape(300, 2, 350, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(weights["1"][:], averaged, rtol=1e-6)
    np.testing.assert_array_equal(target["1"][:], target["0"][::2, ::2])


def test_labels_may_be_palette_indices(tmp_path):
    write_image(tmp_path / "a.tif", cells())
    picture = pillow.fromarray(cells().astype(np.uint8)).convert("P")
    picture.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
    picture.save(tmp_path / "a.png")
    for suffix in ("tif", "png"):
        words = ("-o", tmp_path / f"{suffix}.tif", "--preview", tmp_path / f"{suffix}.png")
        assert run(tmp_path / f"a.{suffix}", *words) == 0
    for name in ("{}.tif", "{}.png"):
        found, expected = (read_image(tmp_path / name.format(kind)) for kind in ("png", "tif"))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_labels_may_be_a_png_with_few_bits(tmp_path, bits):
    labels = np.kron(np.arange(8).reshape(2, 4) % 2**bits, np.ones((8, 8), int)).astype(np.uint8)
    each = 8 // bits
    shifts = np.arange(each)[::-1] * bits
    packed = (labels.reshape(len(labels), -1, each) << shifts).sum(axis=2).astype(np.uint8)
    rows = np.pad(packed, [(0, 0), (1, 0)])  # filter 0 before each row
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", *labels.shape[::-1], bits, 0, 0, 0, 0),
        b"IDAT": zlib.compress(rows.tobytes()),
        b"IEND": b"",
    }
    (tmp_path / "few.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks.items()
        )
    )
    with open_labels(tmp_path / "few.png") as image:
        np.testing.assert_array_equal(read_plane(image, ()), labels)
    assert read_image(tmp_path / "few.png").max() == int(labels.max()) * 255 // (2**bits - 1)


def test_the_frame_of_a_mask_is_not_replaced(tmp_path, capsys):
    mask, frame = tmp_path / "01_GT" / "SEG" / "man_seg000.tif", tmp_path / "01" / "t000.tif"
    write_image(mask, cells())
    write_image(frame, cells())
    before = frame.read_bytes()
    assert run(mask, "-o", frame) == 2
    assert_one_sentence(capsys, "t000.tif is the input")
    assert frame.read_bytes() == before


def test_labels_that_change_after_counting_are_refused(tmp_path, monkeypatch, capsys):
    write_image(tmp_path / "a.tif", cells())
    weights_of = weightmap_command._class_weights

    def change(*arguments):
        write_image(tmp_path / "a.tif", cells(seed=1))
        return weights_of(*arguments)

    monkeypatch.setattr(weightmap_command, "_class_weights", change)
    assert run(tmp_path / "a.tif", "-o", tmp_path / "w.tif") == 2
    assert "changed while it was read" in capsys.readouterr().err
    assert not (tmp_path / "w.tif").exists()


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    left, now = tmp_path / ".0123abcd.partial.w.tif", tmp_path / ".4567abcd.partial.w.tif"
    left.touch()
    now.touch()
    os.utime(left, (0, 0))
    write_image(tmp_path / "a.tif", cells())
    assert run(tmp_path / "a.tif", "-o", tmp_path / "w.tif") == 0
    assert (left.exists(), now.exists()) == (False, True)


@pytest.mark.parametrize(
    ("size", "given", "told"),
    [
        (10, (), True),
        (10, ("--class-weights", 1, 1), False),
        (10, ("--class-balance", 0.1), False),
        (60, (), False),
        (60, ("--ridge", 9), True),
        (70, ("--ridge", 9), True),
        (70, ("--spacing", 1, 5), False),
    ],
)
def test_cells_that_outweigh_their_border_are_pointed_out(tmp_path, caplog, size, given, told):
    labels = np.zeros((200, 200), np.uint8)
    labels[:size, :size], labels[:size, size : 2 * size] = 1, 2
    write_image(tmp_path / "a.tif", labels)
    assert run(tmp_path / "a.tif", "-o", tmp_path / "w.tif", *given) == 0
    assert ("lower --class-balance" in caplog.text) == told


def test_an_image_without_a_preview_is_refused(tmp_path, capsys):
    write_image(tmp_path / "labels.tif", cells())
    words = (tmp_path / "labels.tif", "-o", tmp_path / "o.tif")
    assert run(*words, "--image", tmp_path / "labels.tif") == 2
    assert "--preview" in capsys.readouterr().err


def test_one_image_for_several_label_images_is_refused(tmp_path, capsys):
    for name in ("a", "b"):
        write_image(tmp_path / "labels" / f"{name}.tif", cells())
    words = (tmp_path / "labels", "-o", tmp_path / "out", "--preview", tmp_path / "p.png")
    assert run(*words, "--image", tmp_path / "labels" / "a.tif") == 2
    assert_one_sentence(capsys, "--image is for one label image")
    assert not (tmp_path / "out").exists()


def test_preview_finds_the_frame_of_the_challenge(tmp_path):
    for folder in ("02", "02_GT/SEG"):
        (tmp_path / folder).mkdir(parents=True)
    write_image(tmp_path / "02_GT/SEG/man_seg007.tif", cells())
    write_image(tmp_path / "02/t007.tif", cells(20, 20))
    assert run(tmp_path / "02_GT", "-o", tmp_path / "o.tif", "--preview", tmp_path / "p.png") == 2
    write_image(tmp_path / "02/t007.tif", cells())
    assert run(tmp_path / "02_GT", "-o", tmp_path / "o.tif", "--preview", tmp_path / "p.png") == 0
    assert find_image(tmp_path / "02", "0007") == tmp_path / "02/t007.tif"
    (tmp_path / "02/t007.tif").rename(tmp_path / "02/t007.TIF")
    assert find_image(tmp_path / "02", "007").samefile(tmp_path / "02/t007.TIF")
    (tmp_path / "02/t007.TIF").rename(tmp_path / "02/t00007.Tif")
    assert find_image(tmp_path / "02", "007").samefile(tmp_path / "02/t00007.Tif")


def fractions(path):
    write_image(path, np.array([[0.5, 1]], np.float32))


def not_a_number(path):
    write_image(path, np.array([[np.nan, 1]], np.float32))


def negative(path):
    write_image(path, np.array([[-3, 1]], np.int32))


def colours(path):
    tifffile.imwrite(path, np.zeros((9, 9, 3), np.uint8), photometric="rgb")


def empty(path):
    path.touch()


def truncated(path):
    write_image(path, np.arange(40000, dtype=np.uint16).reshape(200, 200))
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (fractions, "fractions"),
        (not_a_number, "NaN"),
        (negative, "negative value -3"),
        (colours, "3 channels"),
        (empty, ""),
        (truncated, ""),
        (lambda _: None, "does not exist"),
    ],
)
def test_unusable_labels_get_one_sentence(tmp_path, capsys, make, what):
    source, out = tmp_path / "labels.tif", tmp_path / "out.tif"
    make(source)
    out.write_text("precious")
    assert run(source, "-o", out, "--target", tmp_path / "target.tif") == 2
    assert_one_sentence(capsys, what, source)
    assert out.read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} <= {"labels.tif", "out.tif"}


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (["--sigma", "0"], "sigma is 0"),
        (["--sigma", "nan"], "sigma is nan"),
        (["--w0", "-1"], "w0 is -1"),
        (["--spacing", "0", "1"], "spacing is"),
        (["--ignore", "0"], "--ignore is 0, the background"),
        (["--class-weights", "1", "-1"], "class weights are"),
        (["-o", "labels.tif"], "labels.tif is the input"),
        (["-o", "weights.png"], "weights.png cannot hold a weight map"),
        (["--target", "target.png"], "target.png cannot hold a weight map or target: end it in "),
        (["-o", "labels.tif/new/out.tif"], "labels.tif is not a writable folder"),
        (["--dtype", "float16", "--w0", "1e6"], "up to 1e+06"),
        (["--target", "labels.tif"], "labels.tif is the input"),
        (["--target", "out.tif"], "same file"),
        (["--preview", "preview.jpg"], "preview.jpg"),
        (["--preview", "preview.png", "--image", "small.tif"], "same size"),
        (["--preview", "preview.png", "--image", "stack.tif"], "same size"),
    ],
)
def test_unusable_options_get_one_sentence(tmp_path, monkeypatch, capsys, flags, what):
    monkeypatch.chdir(tmp_path)
    write_image("labels.tif", cells())
    write_image("small.tif", cells(5, 5))
    write_image("stack.tif", np.stack([cells()] * 2), "TYX")
    before = Path("labels.tif").read_bytes()
    assert run("labels.tif", "-o", "out.tif", *flags) == 2
    assert_one_sentence(capsys, what)
    assert Path("labels.tif").read_bytes() == before
    assert not Path("out.tif").exists()


def test_a_folder_receives_the_results_of_one_image(tmp_path, capsys):
    write_image(tmp_path / "a.png", cells())
    (tmp_path / "targets.2").mkdir()
    words = (tmp_path / "a.png", "-o", tmp_path / "maps")
    assert run(*words, "--target", tmp_path / "targets.2") == 0
    np.testing.assert_array_equal(read_image(tmp_path / "maps/a.tif"), border_weight_map(cells()))
    assert (tmp_path / "targets.2/a.tif").is_file()
    capsys.readouterr()
    assert run(*words, "--target", tmp_path) == 2
    assert_one_sentence(capsys, "is where the labels are")


def test_result_folders_are_created(tmp_path):
    write_image(tmp_path / "a.png", cells())
    names = [tmp_path / "new" / name for name in ("1/out.tif", "2/target.zarr", "3/preview.png")]
    flags = [
        word for pair in zip(("-o", "--target", "--preview"), names, strict=True) for word in pair
    ]
    assert run(tmp_path / "a.png", *flags) == 0
    assert all(name.exists() for name in names)


def test_unusable_folders_get_one_sentence(tmp_path, capsys):
    folder = tmp_path / "labels"
    folder.mkdir()
    assert run(folder, "-o", tmp_path / "out") == 2
    assert_one_sentence(capsys, "no label image")
    write_image(folder / "a.tif", cells())
    assert run(folder, "-o", folder) == 2
    assert_one_sentence(capsys, "is where the labels are")
    assert run(folder, "-o", tmp_path / "one") == 0
    assert (tmp_path / "one" / "a.tif").is_file()
    capsys.readouterr()
    write_image(folder / "b.tif", cells())
    assert run(folder, "-o", folder) == 2
    assert_one_sentence(capsys, "is where the labels are")
    assert run(folder, "-o", tmp_path / "out.tif") == 2
    assert_one_sentence(capsys, "2 label images cannot become one file")
    assert run(folder, "-o", tmp_path / "out", "--target", tmp_path / "t.png") == 2
    assert_one_sentence(capsys, "2 label images cannot become one file")
    assert run(folder, "-o", tmp_path / "out", "--target", tmp_path / "out") == 2
    assert_one_sentence(capsys, "same file")


def test_the_unusable_plane_of_a_stack_is_named(tmp_path, capsys):
    stack = np.stack([cells(), cells()]).astype(np.int16)
    stack[1, 0, 0] = -3
    write_image(tmp_path / "stack.tif", stack, axes="TYX")
    assert run(tmp_path / "stack.tif", "-o", tmp_path / "w.tif") == 2
    assert_one_sentence(capsys, "stack.tif (T 1): labels hold the negative value -3")


def assert_one_sentence(capsys, *parts):
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    for part in parts:
        assert str(part) in message


def test_weights_of_a_region_reach_as_far_as_the_spacing_says(tmp_path):
    labels = np.zeros((20, 230), np.uint8)
    labels[:, :10], labels[:, 220:] = 1, 2
    write_image(tmp_path / "a.tif", labels)
    config, spacing = WeightMapConfig(sigma=10.0), (1.0, 0.1)
    with open_labels(tmp_path / "a.tif") as image:
        reading = LabelReading(ridge=0)
        weights = WeightRegions(image, reading, config, ClassWeights(1.0, 1.0), spacing)
        found = weights[slice(0, 20), slice(110, 120)]
    whole = border_weight_map(
        labels, config.w0, config.sigma, class_weights=(1, 1), ridge=0, spacing=spacing
    )
    assert whole[10, 115] > 1.5
    np.testing.assert_allclose(found, whole[:, 110:120], rtol=1e-5)
