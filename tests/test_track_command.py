"""``unet2015 track``: files in, a valid result folder of the challenge out, or nothing."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from unet2015 import cli
from unet2015.commands import track as command
from unet2015.images import open_image, read_image, write_image
from unet2015.labelfiles.trackfile import read_tracks


def write_masks(folder, frames, prefix="mask", suffix=".tif"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        tifffile.imwrite(folder / f"{prefix}{number:03d}{suffix}", np.asarray(frame))
    return folder


def sequence(rng, frames=6):
    """Wandering discs, renumbered in each frame; one divides, one is lost for a frame."""
    rows, columns = np.mgrid[:60, :80]
    for frame in range(frames):
        places = [(15, 15 + 2 * frame, 8), (45, 60 - frame, 9)]
        if frame != 3:
            places.append((15, 60, 6))
        if frame < 2:
            places.append((45, 20, 10))
        else:
            places += [(45, 13 - frame, 6), (45, 27 + frame, 6)]
        image = np.zeros(rows.shape, np.uint16)
        for label, (y, x, radius) in zip(rng.permutation(50) + 1, places, strict=False):
            image[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = label
        yield image


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fails(capsys, *arguments):
    assert cli.main(["track", *map(str, arguments)]) == 2
    message = capsys.readouterr().err.strip()
    assert message.count("\n") == 0
    return message


def test_a_sequence_is_tracked_in_place(tmp_path, caplog):
    result = write_masks(tmp_path / "01_RES", sequence(np.random.default_rng(0)))
    (result / "notes.txt").write_text("mine")
    before = [tifffile.imread(path) for path in sorted(result.glob("mask*"))]
    assert cli.main(["track", str(result)]) == 0
    masks = [tifffile.imread(path) for path in sorted(result.glob("mask*"))]
    assert all(mask.dtype == np.uint16 for mask in masks)
    assert all(((a > 0) == (b > 0)).all() for a, b in zip(before, masks, strict=True))
    assert "frames: 6, tracks: 7, divisions: 1, reappearances after a gap: 1;" in caplog.text
    tracks = read_tracks(result / "res_track.txt")
    # Two wanderers, one lost in frame 3 and found again, one mother and two daughters.
    assert sorted(row[1:3] for row in tracks.tolist()) == [
        [0, 1],
        [0, 2],
        [0, 5],
        [0, 5],
        [2, 5],
        [2, 5],
        [4, 5],
    ]
    assert sorted(os.listdir(result)) == sorted(
        [*(f"mask{n:03d}.tif" for n in range(6)), "notes.txt", "res_track.txt"]
    )


def test_the_output_passes_py_ctcmetrics(tmp_path):
    validate = pytest.importorskip("ctc_metrics.scripts.validate")
    result = write_masks(tmp_path / "masks", sequence(np.random.default_rng(1)))
    before = snapshot(result)
    command.run(command.Options(result, tmp_path / "new" / "01_RES"))
    assert snapshot(result) == before
    with contextlib.redirect_stdout(io.StringIO()):
        found = validate.validate_sequence(str(tmp_path / "new" / "01_RES"), threads=1)
    assert found == {"Valid": 1}


def test_tracking_twice_changes_nothing(tmp_path):
    result = write_masks(tmp_path / "01_RES", sequence(np.random.default_rng(2)))
    command.run(command.Options(result))
    tracks = (result / "res_track.txt").read_text()
    masks = [tifffile.imread(path) for path in sorted(result.glob("mask*"))]
    command.run(command.Options(result))
    assert (result / "res_track.txt").read_text() == tracks
    for path, mask in zip(sorted(result.glob("mask*")), masks, strict=True):
        np.testing.assert_array_equal(tifffile.imread(path), mask)


def test_whole_floats_are_accepted_as_labels(tmp_path):
    frames = list(sequence(np.random.default_rng(3), 4))
    expected = write_masks(tmp_path / "01_RES", frames)
    floats = write_masks(tmp_path / "02_RES", [frame.astype(np.float64) for frame in frames])
    stack = tmp_path / "stack.tif"
    write_image(stack, np.stack(frames).astype(np.float32), "TYX")
    for path in (expected, floats):
        command.run(command.Options(path))
    command.run(command.Options(stack, tmp_path / "03_RES"))
    for path in expected.iterdir():
        for other in (floats, tmp_path / "03_RES"):
            assert (other / path.name).read_bytes() == path.read_bytes()


def test_names_keep_their_digits_and_get_the_suffix_tif(tmp_path):
    result = tmp_path / "01_RES"
    result.mkdir()
    for number in range(2):
        tifffile.imwrite(result / f"mask{number:04d}.tiff", np.ones((3, 3), np.uint8))
    command.run(command.Options(result))
    assert sorted(os.listdir(result)) == ["mask0000.tif", "mask0001.tif", "res_track.txt"]


def test_no_mask_is_lost_on_a_case_insensitive_disk(tmp_path, monkeypatch):
    result = tmp_path / "01_RES"
    result.mkdir()
    tifffile.imwrite(result / "mask000.TIF", np.ones((3, 3), np.uint8))
    # On macOS and Windows, both names are one file.
    monkeypatch.setattr(Path, "samefile", lambda a, b: a.name.lower() == Path(b).name.lower())
    command.run(command.Options(result))
    assert (result / "mask000.TIF").exists()


def test_the_pixel_size_is_kept(tmp_path):
    result = tmp_path / "01_RES"
    result.mkdir()
    size = {"Y": (0.65, "µm"), "X": (0.65, "µm")}
    write_image(result / "mask000.tif", np.ones((3, 3), np.uint16), pixel_size=size)
    command.run(command.Options(result))
    with open_image(result / "mask000.tif") as image:
        assert image.pixel_size["X"] == pytest.approx((0.65, "µm"))


def test_a_stack_is_tracked_like_its_frames(tmp_path, capsys):
    frames = list(sequence(np.random.default_rng(7)))
    command.run(command.Options(write_masks(tmp_path / "01_RES", frames)))
    size = {"T": (60.0, "s"), "Y": (0.65, "µm"), "X": (0.65, "µm")}
    write_image(tmp_path / "cells.tif", np.stack(frames), "TYX", pixel_size=size)
    zarr.save_array(tmp_path / "cells.zarr", np.stack(frames))
    for number, stack in enumerate(("cells.tif", "cells.zarr")):
        tracked = tmp_path / str(number)
        assert "give one with --out" in fails(capsys, tmp_path / stack)
        assert cli.main(["track", str(tmp_path / stack), "-o", str(tracked)]) == 0
        assert sorted(os.listdir(tracked)) == sorted(os.listdir(tmp_path / "01_RES"))
        for file in tracked.glob("mask*"):
            np.testing.assert_array_equal(
                read_image(file), read_image(tmp_path / "01_RES" / file.name)
            )
        assert snapshot(tracked)["res_track.txt"] == snapshot(tmp_path / "01_RES")["res_track.txt"]
    with open_image(tmp_path / "0" / "mask005.tif") as image:
        assert image.pixel_size["X"] == pytest.approx((0.65, "µm"))


def test_unusable_stacks_are_refused(tmp_path, capsys):
    frame, stack, out = np.ones((4, 5), np.uint8), tmp_path / "cells.tif", tmp_path / "out"
    for image, axes in ((frame, "YX"), (np.stack([[frame] * 2] * 3), "TZYX")):
        write_image(stack, image, axes)
        assert "needs one axis besides height and width" in fails(capsys, stack, "-o", out / "new")
    write_image(stack, np.stack([frame] * 2), "TYX")
    assert "tracks need a folder" in fails(capsys, stack, "-o", stack)
    write_image(stack, np.stack([0 * frame] * 2), "TYX")
    assert "no cell in any of its 2 frames" in fails(capsys, stack, "-o", out)
    zarr.save_array(tmp_path / "cells.zarr", np.stack([frame] * 2))
    inside = tmp_path / "cells.zarr" / "tracks"
    assert "lies in the input" in fails(capsys, tmp_path / "cells.zarr", "-o", inside)
    assert "choose another place" in fails(capsys, tmp_path / "cells.zarr", "-o", stack / "x")
    assert sorted(os.listdir(tmp_path)) == ["cells.tif", "cells.zarr"]
    assert not inside.exists()


def test_an_empty_folder_may_be_the_output_on_windows_too(tmp_path, monkeypatch):
    result = write_masks(tmp_path / "01_RES", [np.ones((4, 4), np.uint8)])
    (tmp_path / "out").mkdir()
    real = os.replace

    def replace(source, target):
        assert not Path(target).is_dir()  # Windows refuses to
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    command.run(command.Options(result, tmp_path / "out"))
    assert sorted(os.listdir(tmp_path / "out")) == ["mask000.tif", "res_track.txt"]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    command.run(command.Options(result, Path(".")))
    assert sorted(os.listdir(tmp_path / "here")) == ["mask000.tif", "res_track.txt"]


@pytest.mark.parametrize(("frames", "first"), [(2, "000"), (1000, "000"), (1001, "0000")])
def test_frames_of_a_stack_are_numbered_with_equal_digits(tmp_path, frames, first):
    zarr.save_array(tmp_path / "cells.zarr", np.ones((frames, 1, 1), np.uint8))
    assert next(command._read_stack(tmp_path / "cells.zarr")).digits == first


def test_settings_reach_the_tracker(tmp_path, caplog):
    frame, empty = np.ones((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    result = write_masks(tmp_path / "01_RES", [frame, empty, frame])
    assert cli.main(["track", str(result), "-o", str(tmp_path / "joined")]) == 0
    assert "tracks: 2, divisions: 0, reappearances after a gap: 1;" in caplog.text
    assert cli.main(["track", str(result), "--max-gap", "0", "-o", str(tmp_path / "out")]) == 0
    assert read_tracks(tmp_path / "out" / "res_track.txt")[1].tolist() == [2, 2, 2, 0]


def test_pictures_instead_of_labels_are_refused(tmp_path, capsys):
    noise = np.random.default_rng(0).integers(1, 9, (2, 40, 50), dtype=np.uint16)
    result = write_masks(tmp_path / "01_RES", noise)
    before = snapshot(result)
    assert "mask000.tif: most pixels differ from the pixel beside them" in fails(capsys, result)
    assert snapshot(result) == before


def test_masks_instead_of_labels_are_pointed_out(tmp_path, caplog):
    masks = np.array(list(sequence(np.random.default_rng(3), 3))) > 0
    masks[0] = False  # the first frame with cells is looked at
    result = write_masks(tmp_path / "02_RES", masks.astype(np.uint8))
    assert cli.main(["track", str(result)]) == 0
    assert "mask001.tif: most numbers have several separate pieces" in caplog.text


def test_bad_input_gets_one_sentence_and_changes_nothing(tmp_path, capsys):
    frames = list(sequence(np.random.default_rng(3), 3))
    result = write_masks(tmp_path / "01_RES", frames)
    assert "absent does not exist" in fails(capsys, tmp_path / "absent")
    assert "no maskNNN.tif" in fails(capsys, tmp_path)
    assert "max_gap is -1" in fails(capsys, result, "--max-gap", "-1")

    assert "not a folder" in fails(capsys, result, "-o", str(tmp_path / "tracks.tif"))

    before = snapshot(result)
    assert "exists and is not empty" in fails(capsys, result, "-o", result.parent)
    (result / "mask001.tif").rename(result / "aside")
    assert "no mask for 1 of 3 frames, the first is frame 1" in fails(capsys, result)
    (result / "aside").rename(result / "mask001.tif")
    (result / "mask000.tif").rename(result / "aside")
    assert "no mask for 1 of 3 frames, the first is frame 0" in fails(capsys, result)
    (result / "aside").rename(result / "mask000.tif")
    assert snapshot(result) == before


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((60, 80), 0.5, np.float32), "mask002.tif: labels hold fractions"),
        (np.ones((60, 81), np.uint16), "frame 2 has shape (60, 81)"),
        (np.ones((60, 80, 3), np.uint8), "convert colours to labels"),
        (np.ones((5, 60, 80), np.uint8), "one file for each frame"),
        (None, "mask002.tif"),
    ],
)
def test_a_bad_frame_leaves_the_folder_unchanged(tmp_path, capsys, bad, message):
    result = write_masks(tmp_path / "01_RES", sequence(np.random.default_rng(4), 3))
    if bad is None:
        content = (result / "mask002.tif").read_bytes()
        (result / "mask002.tif").write_bytes(content[: len(content) // 2])
    else:
        tifffile.imwrite(result / "mask002.tif", bad)
    before = snapshot(result)
    assert message in fails(capsys, result)
    assert message in fails(capsys, result, "--out", tmp_path / "out")
    assert snapshot(result) == before
    assert os.listdir(tmp_path) == ["01_RES"]


def test_a_sequence_without_cells_is_refused(tmp_path, capsys):
    result = write_masks(tmp_path / "01_RES", [np.zeros((4, 4), np.uint8)] * 2)
    assert "no cell in any of its 2 frames" in fails(capsys, result)


def test_a_reference_is_never_renumbered(tmp_path, capsys):
    truth = tmp_path / "01_GT" / "SEG"
    write_masks(truth, [np.ones((4, 4), np.uint8)] * 2, prefix="man_seg")
    before = snapshot(truth)
    assert "must not be renumbered" in fails(capsys, truth)
    assert "must not be renumbered" in fails(capsys, truth.parent)
    assert "must not be renumbered" in fails(capsys, truth.parent, "--out", truth)
    assert snapshot(truth) == before
    command.run(command.Options(truth.parent, tmp_path / "01_RES"))
    assert (tmp_path / "01_RES" / "mask001.tif").is_file()


def test_partly_replaced_masks_have_no_track_file(tmp_path, monkeypatch):
    result = write_masks(tmp_path / "01_RES", sequence(np.random.default_rng(6)))
    command.run(command.Options(result))
    replace = os.replace

    def stop(source, target):
        if Path(target) == result / "mask003.tif":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop)
    assert cli.main(["track", str(result)]) == cli.EXIT_INTERRUPTED
    assert sorted(os.listdir(result)) == [f"mask{n:03d}.tif" for n in range(6)]


def test_an_interrupted_run_leaves_the_masks_unchanged(tmp_path, monkeypatch):
    result = write_masks(tmp_path / "01_RES", sequence(np.random.default_rng(5)))
    before = snapshot(result)
    count = 0

    def stop(path, image, **_):
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        tifffile.imwrite(path, image)

    monkeypatch.setattr(command, "write_image", stop)
    assert cli.main(["track", str(result)]) == cli.EXIT_INTERRUPTED
    assert snapshot(result) == before
    assert Path(tmp_path, "01_RES").is_dir()
