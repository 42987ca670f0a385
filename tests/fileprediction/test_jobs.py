"""Many images in one prediction: finished ones are kept, damaged ones do not stop the others."""

import errno
import shutil

import numpy as np
import pytest
import tifffile
import zarr

from unet2015 import save_model
from unet2015.checkpoint import Model
from unet2015.cli import main
from unet2015.fileprediction.imagefile import predict_file
from unet2015.fileprediction.scratch import Scratch
from unet2015.images import read_image, write_image
from unet2015.images.tiff import TiffImage
from unet2015.unet import UNet

CELL = np.eye(25, dtype=np.uint8)


@pytest.fixture
def model(tmp_path):
    return saved_model(tmp_path / "small.safetensors")


@pytest.fixture
def images(tmp_path):
    for name in ("a.tif", "b.tif", "c.tif"):
        write_image(tmp_path / "images" / name, CELL)
    return tmp_path / "images"


def saved_model(path, normalisation="standard", **config):
    save_model(path, Model(UNet(base_channels=2, depth=2, **config), normalisation))
    return path


def cli(*words):
    return main([str(word) for word in words])


def refused(capsys, *words):
    assert cli(*words) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def zeroed(path):
    """Write a TIFF and overwrite some of its compressed pixels."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    tifffile.imwrite(path, pixels, compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages.first.dataoffsets[0]
    damaged = bytearray(path.read_bytes())
    damaged[place + 100 : place + 200] = bytes(100)
    path.write_bytes(damaged)


def with_missing_file(path):
    """Write an OME-TIFF whose second page is in a missing file."""
    pixels = np.zeros((2, 25, 25), np.uint8)
    tifffile.imwrite(path, pixels, ome=True, metadata={"axes": "ZYX"})
    described = tifffile.tiffcomment(path)
    uuid = '<UUID FileName="elsewhere.ome.tif">urn:uuid:0</UUID>'
    parts = (
        f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1">{uuid if z else ""}</TiffData>'
        for z in (0, 1)
    )
    start, end = described.index("<TiffData"), described.rindex("</Pixels>")
    tifffile.tiffcomment(path, described[:start] + "".join(parts) + described[end:])


def giant(path, name, length, **options):
    """Write a TIFF that claims to hold more pixels, in one piece, than memory has bytes."""
    tifffile.imwrite(path, CELL, compression="zlib", metadata=None, **options)
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags[name]
    damaged = bytearray(path.read_bytes())
    damaged[tag.offset + 2 : tag.offset + 4] = (4).to_bytes(2, "little")  # LONG
    damaged[tag.offset + 8 : tag.offset + 12] = length.to_bytes(4, "little")
    path.write_bytes(damaged)


DAMAGES = {
    "NaN": lambda path: write_image(path, np.full((25, 25), np.nan, np.float32)),
    "zeroed": zeroed,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no image"),
    "half": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "link": lambda path: (path.unlink(), path.symlink_to("nowhere.tif")),
    "missing file": with_missing_file,
    "complex": lambda path: tifffile.imwrite(path, CELL.astype(np.complex64)),
    "RGB": lambda path: tifffile.imwrite(path, np.stack([CELL] * 3, axis=-1), photometric="rgb"),
    "positions": lambda path: tifffile.imwrite(
        path, np.stack([CELL] * 2), metadata={"axes": "PYX"}
    ),
    "giant tiles": lambda path: giant(path, "TileWidth", 0xFEFEFEFE, tile=(16, 16)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_unreadable_image_does_not_stop_the_others(
    model, images, tmp_path, capsys, caplog, damage
):
    out, bad = tmp_path / "out", images / "b.tif"
    DAMAGES[damage](bad)
    words = ("predict", images, "-m", model, "-o", out, "--labels")
    assert "1 of 3 images could not be predicted" in refused(capsys, *words)
    assert str(bad) in caplog.text
    assert names(out) == [".unet2015", "a.tif", "c.tif"]
    before = (out / "c.tif").stat().st_mtime_ns
    bad.unlink()
    write_image(bad, CELL)
    assert cli(*words) == 0
    assert names(out) == ["a.tif", "b.tif", "c.tif"]
    assert (out / "c.tif").stat().st_mtime_ns == before


def test_the_current_folder_gives_the_result_its_name(model, tmp_path, monkeypatch):
    zarr.save_array(tmp_path / "cells.zarr", CELL)
    monkeypatch.chdir(tmp_path / "cells.zarr")
    assert main(["predict", ".", "-m", str(model), "-o", str(tmp_path / "out")]) == 0
    assert "cells.tif" in names(tmp_path / "out")


def test_an_oversized_image_does_not_stop_the_others(model, images, tmp_path, capsys, caplog):
    giant(images / "b.tif", "ImageWidth", 0x7FFFFFF0)
    words = ("predict", images, "-m", model, "-o", tmp_path / "out")
    assert "1 of 3 images" in refused(capsys, *words)
    assert "b.tif" in caplog.text
    assert {"a.tif", "c.tif"} < set(names(tmp_path / "out"))


def test_an_out_of_range_image_does_not_stop_the_others(images, tmp_path, capsys):
    model = saved_model(tmp_path / "range.safetensors", "range")
    write_image(images / "b.tif", np.float32(CELL) * 7)
    words = ("predict", images, "-m", model, "-o", tmp_path / "out")
    assert "1 of 3 images" in refused(capsys, *words)
    assert names(tmp_path / "out") == [".unet2015", "a.tif", "c.tif"]


def test_a_vanished_image_does_not_stop_the_others(
    model, images, tmp_path, capsys, caplog, monkeypatch
):
    def going(source, *arguments, **options):
        (images / "b.tif").unlink(missing_ok=True)
        return predict_file(source, *arguments, **options)

    monkeypatch.setattr("unet2015.commands.predict.predict_file", going)
    words = ("predict", images, "-m", model, "-o", tmp_path / "out")
    assert "1 of 3 images" in refused(capsys, *words)
    assert "b.tif no longer exists" in caplog.text
    assert names(tmp_path / "out") == [".unet2015", "a.tif", "c.tif"]


def test_an_image_in_a_missing_folder_does_not_stop_the_others(model, images, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    words = ("predict", tmp_path / "absent/b.tif", images / "a.tif", "-m", model)
    assert "1 of 2 images" in refused(capsys, *words, "-o", tmp_path / "out")
    assert names(tmp_path / "out") == [".unet2015", "a.tif"]


def test_an_image_without_read_permission_does_not_stop_the_others(
    model, images, tmp_path, capsys, caplog, monkeypatch
):
    def withheld(path):
        if path.name == "b.tif":
            raise PermissionError(errno.EACCES, "Permission denied")
        return TiffImage(path)

    monkeypatch.setattr("unet2015.images.opening.TiffImage", withheld)
    words = ("predict", images, "-m", model, "-o", tmp_path / "out")
    assert "1 of 3 images" in refused(capsys, *words)
    assert "b.tif cannot be read (Permission denied): make it readable, or" in caplog.text


def test_nothing_is_created_if_no_image_is_readable(model, images, tmp_path, capsys):
    for image in images.iterdir():
        image.write_bytes(b"")
    words = ("predict", images, "-m", model, "-o", tmp_path / "out")
    assert "3 of 3 images" in refused(capsys, *words)
    assert not (tmp_path / "out").exists()


def test_a_single_bad_image_is_refused_with_the_reason(model, images, tmp_path, capsys):
    DAMAGES["NaN"](images / "b.tif")
    words = ("predict", images / "b.tif", "-m", model, "-o", tmp_path / "b.tif")
    assert "b.tif has pixels that are NaN" in refused(capsys, *words)


def test_single_images_ignore_the_lock_of_the_output_folder(model, images, tmp_path):
    with Scratch(tmp_path / "out/.unet2015", {"model": "another"}):
        for name in ("a.tif", "b.tif"):
            assert cli("predict", images / name, "-m", model, "-o", tmp_path / "out") == 0


def test_failures_are_logged_at_once(model, images, tmp_path, caplog, monkeypatch):
    def interrupted(source, *arguments, **options):
        if source.name == "c.tif":
            raise KeyboardInterrupt
        return predict_file(source, *arguments, **options)

    DAMAGES["NaN"](images / "b.tif")
    monkeypatch.setattr("unet2015.commands.predict.predict_file", interrupted)
    assert cli("predict", images, "-m", model, "-o", tmp_path / "out") == 130
    assert "b.tif has pixels that are NaN" in caplog.text


def test_an_earlier_result_of_a_failed_image_is_reported(model, images, tmp_path, capsys, caplog):
    words = ("predict", images, "-m", model, "-o", tmp_path / "out")
    assert cli(*words) == 0
    DAMAGES["NaN"](images / "b.tif")
    refused(capsys, *words)
    assert f"{tmp_path / 'out' / 'b.tif'} is left unchanged." in caplog.text


def test_a_result_replaced_in_the_meantime_is_recomputed(model, images, tmp_path):
    out = tmp_path / "out"
    words = ("predict", images, "-m", model, "-o", out)
    DAMAGES["NaN"](images / "b.tif")
    assert cli(*words) == 2
    expected = read_image(out / "a.tif")
    other = saved_model(tmp_path / "other.safetensors")
    assert cli("predict", images / "a.tif", "-m", other, "-o", out) == 0
    assert not np.array_equal(read_image(out / "a.tif"), expected)
    write_image(images / "b.tif", CELL)
    assert cli(*words) == 0
    np.testing.assert_array_equal(read_image(out / "a.tif"), expected)


def test_removing_a_failed_image_frees_the_output_folder(model, images, tmp_path):
    DAMAGES["NaN"](images / "b.tif")
    assert cli("predict", images, "-m", model, "-o", tmp_path / "out") == 2
    (images / "b.tif").unlink()
    other = saved_model(tmp_path / "other.safetensors")
    assert cli("predict", images, "-m", other, "-o", tmp_path / "out") == 0
    assert names(tmp_path / "out") == ["a.tif", "c.tif"]


@pytest.fixture
def tracked(model, tmp_path):
    """The result folder of a predicted sequence of three frames, with tracks."""
    for frame in range(3):
        write_image(tmp_path / f"01/t{frame:03d}.tif", CELL)
    assert cli("predict", tmp_path / "01", "-m", model, "-o", tmp_path / "01_RES") == 0
    (tmp_path / "01_RES/res_track.txt").write_text("1 0 0 0\n")
    return tmp_path / "01_RES"


def test_replacing_the_masks_removes_their_track_file(model, tracked, tmp_path):
    assert cli("predict", tmp_path / "01", "-m", model, "-o", tracked) == 0
    assert names(tracked) == ["mask000.tif", "mask001.tif", "mask002.tif"]


def test_replacing_a_single_mask_removes_the_track_file(model, tracked, tmp_path):
    frame, mask = tmp_path / "01/t001.tif", tracked / "mask001.tif"
    assert cli("predict", frame, "-m", model, "-o", mask, "--labels") == 0
    assert not (tracked / "res_track.txt").exists()


def test_the_track_file_stays_if_no_mask_is_replaced(model, tracked, tmp_path):
    for frame in (tmp_path / "01").iterdir():
        DAMAGES["NaN"](frame)
    assert cli("predict", tmp_path / "01", "-m", model, "-o", tracked) == 2
    assert (tracked / "res_track.txt").exists()
    shutil.copy(tracked / "mask000.tif", tracked / "other.tif")
    assert cli("predict", tmp_path / "small.tif", "-m", model, "-o", tracked / "other.tif") == 2
    write_image(tmp_path / "small.tif", CELL)
    assert cli("predict", tmp_path / "small.tif", "-m", model, "-o", tracked / "other.tif") == 0
    assert (tracked / "res_track.txt").exists()


def test_the_track_file_stays_if_a_missing_mask_is_added(model, tracked, tmp_path):
    (tracked / "mask001.tif").unlink()
    words = ("predict", tmp_path / "01/t001.tif", "-m", model, "--labels")
    assert cli(*words, "-o", tracked / "mask001.tif") == 0
    assert (tracked / "res_track.txt").exists()


def test_masks_of_other_frames_are_reported(model, tracked, tmp_path, caplog):
    (tmp_path / "01/t002.tif").unlink()
    write_image(tracked / "mask_of_dust.tif", CELL)
    write_image(tracked / "mask007.png", CELL)
    assert cli("predict", tmp_path / "01", "-m", model, "-o", tracked) == 0
    assert "holds masks of other frames, too: mask002.tif, mask007.png." in caplog.text


def test_masks_of_failed_frames_are_not_reported_as_other_frames(model, tracked, tmp_path, caplog):
    DAMAGES["empty"](tmp_path / "01/t001.tif")
    assert cli("predict", tmp_path / "01", "-m", model, "-o", tracked) == 2
    assert "other frames" not in caplog.text


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ((), "interrupted."),
        (("--overwrite",), "interrupted."),
        (("--keep-scratch",), "interrupted: the same command resumes where it stopped."),
        (
            ("--keep-scratch", "--overwrite"),
            "interrupted: the same command without --overwrite resumes where it stopped.",
        ),
    ],
)
def test_ctrl_c_promises_resumption_only_of_work_that_is_kept(
    model, images, tmp_path, capsys, monkeypatch, extra, told
):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("unet2015.commands.predict.predict_file", interrupted)
    words = ("predict", images / "a.tif", "-m", model, "-o", tmp_path / "out.tif", *extra)
    assert cli(*words) == 130
    assert capsys.readouterr().err.splitlines()[-1] == f"unet2015: {told}"


def test_overwrite_discards_the_record_of_an_interrupted_folder(
    model, images, tmp_path, capsys, monkeypatch
):
    def interrupted(source, *arguments, **options):
        if source.name == "c.tif":
            raise KeyboardInterrupt
        return predict_file(source, *arguments, **options)

    words = ("predict", images, "-m", model, "-o", tmp_path / "out", "--labels")
    with monkeypatch.context() as patched:
        patched.setattr("unet2015.commands.predict.predict_file", interrupted)
        assert cli(*words) == 130
    assert "min_size 0 instead of 2" in refused(capsys, *words, "--min-size", 2)
    assert cli(*words, "--min-size", 2, "--overwrite") == 0
    assert names(tmp_path / "out") == ["a.tif", "b.tif", "c.tif"]


def test_other_results_beside_masks_are_written_without_a_warning(model, tracked, images, caplog):
    assert cli("predict", images, "-m", model, "-o", tracked) == 0
    assert "other frames" not in caplog.text
