"""``unet2015 evaluate``: from folders to tables, JSON, CSV and pictures; and the real data sets."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from unet2015 import InputError, annotated_frame, cli
from unet2015.commands import evaluate as evaluate_command
from unet2015.commands import track
from unet2015.evaluation import picture, score_annotated, score_frame, score_sequence
from unet2015.evaluation.em import score_stack
from unet2015.evaluation.picture import COLOURS, paint_mistakes
from unet2015.evaluation.worst import microscope_image, read_frames
from unet2015.images import read_image
from unet2015.images.source import warn_once
from unet2015.instances import label_cells
from unet2015.labelfiles.labelfolder import folder_of_images, pair_frames
from unet2015.labelfiles.trackfile import read_tracks, write_tracks
from unet2015.metrics import det, overlap_table, tra
from unet2015.report.content import ScoredFrame

CELLS = np.zeros((40, 60), np.uint16)
CELLS[5:15, 5:15] = 1
CELLS[5:15, 15:25] = 2
CELLS[25:35, 5:25] = 3
CELLS[20:30, 40:55] = 4


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    # By default, tifffile stores three planes as colours.
    tifffile.imwrite(path, image, photometric="rgb" if image.shape[-1] == 3 else "minisblack")


def write_result(folder, frames):
    for number, frame in enumerate(frames):
        write(folder / f"mask{number:03d}.tif", frame)
    return folder


def test_pictures_instead_of_labels_are_pointed_out(tmp_path, caplog):
    noise = np.random.default_rng(0).integers(1, 9, CELLS.shape, dtype=np.uint16)
    write_result(tmp_path / "labels", [CELLS, CELLS])
    write_result(tmp_path / "images", [noise, noise])
    score_sequence(tmp_path / "labels", tmp_path / "images")
    (record,) = caplog.records
    assert "images" in record.message
    assert "most pixels differ" in record.message
    with pytest.raises(InputError, match=r"images.mask000.tif: most pixels differ"):
        score_sequence(tmp_path / "images", tmp_path / "labels")


def test_a_data_set_folder_is_refused_with_the_choices(tmp_path):
    for name in ("01", "01_GT", "02_GT", "02_ST"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="choose 01_GT or 02_GT or 02_ST in it"):
        pair_frames(tmp_path, tmp_path)
    (tmp_path / "pairs/labels").mkdir(parents=True)
    with pytest.raises(InputError, match="choose labels in it"):
        pair_frames(tmp_path / "pairs", tmp_path / "pairs")


@pytest.fixture
def truth(tmp_path):
    """Four identical frames of four cells; masks in frame 1, and in frame 3 except of cell 3."""
    folder = tmp_path / "data" / "01_GT"
    markers = np.where(CELLS > 0, CELLS, 0)
    for number in range(4):
        write(folder / "TRA" / f"man_track{number:03d}.tif", markers)
    (folder / "TRA" / "man_track.txt").write_text("".join(f"{n} 0 3 0\n" for n in range(1, 5)))
    write(folder / "SEG" / "man_seg001.tif", CELLS)
    write(folder / "SEG" / "man_seg003.tif", np.where(CELLS == 3, 0, CELLS))
    return folder


@pytest.fixture
def result(tmp_path):
    """The truth under other numbers, tracked."""
    folder = write_result(tmp_path / "01_RES", [np.array([0, 2, 1, 4, 3], np.uint16)[CELLS]] * 4)
    (folder / "res_track.txt").write_text("".join(f"{n} 0 3 0\n" for n in range(1, 5)))
    return folder


def evaluate(capsys, *arguments):
    assert cli.main(["evaluate", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def evaluate_json(capsys, *arguments):
    return json.loads(evaluate(capsys, *arguments, "--json"))


def fails(capsys, *arguments):
    assert cli.main(["evaluate", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    message = captured.err.strip()
    assert message.count("\n") == 0
    return message


# --- What is printed -----------------------------------------------------------------------------


def test_a_perfect_result_has_perfect_scores(truth, result, capsys):
    found = evaluate_json(capsys, truth, result)
    for name in (
        "SEG",
        "DET",
        "TRA",
        "mean_average_precision",
        "panoptic_quality",
        "foreground_iou",
    ):
        assert found[name] == 1
    assert [frame["frame"] for frame in found["frames"]] == ["001", "003"]
    assert [frame["cells"] for frame in found["frames"]] == [4, 3]
    # In frame 003, the object on the cell without a mask is not spurious.
    assert [frame["objects"] for frame in found["frames"]] == [4, 3]
    assert found["notes"] == [
        "AP, PQ and IoU leave out, as neither right nor wrong, objects on cells that have a marker "
        "but no reference mask: 1."
    ]


def test_whole_floats_are_accepted_as_labels(truth, result, capsys):
    expected = evaluate(capsys, truth, result)
    for path in (truth / "SEG" / "man_seg001.tif", result / "mask001.tif", result / "mask003.tif"):
        write(path, tifffile.imread(path).astype(np.float32))
    assert evaluate(capsys, truth, result) == expected


def test_the_printed_table(truth, result, capsys):
    text = evaluate(capsys, truth, result, "--cells")
    lines = text.splitlines()
    assert " ".join(lines[0].split()) == (
        "frame cells objects SEG AP50 mean AP PQ IoU missed split merged spurious"
    )
    assert lines[1].split()[:4] == ["001", "4", "4", "1.0000"]
    assert lines[3].split()[:4] == ["all", "7", "7", "1.0000"]
    cell = ["003", "4", "1.0000", "3"]
    assert any(line.split()[:4] == cell for line in lines)
    without = evaluate(capsys, truth, result).splitlines()
    assert not any(line.split()[:4] == cell for line in without)
    assert any(line.split()[:4] == ["TRA", "1.0000", "tracking", "accuracy"] for line in lines)
    assert "Field of interest: the whole image." in lines


def test_measures_that_differ_are_printed_under_their_names(tmp_path, capsys):
    reference, found = np.zeros((2, 20, 30), np.uint8)
    reference[2:12, 2:12] = 1
    found[2:9, 2:12] = found[9, 2:4] = 1  # an IoU of 0.72, above five of ten thresholds
    found[15, 2:30] = 2
    write(tmp_path / "a.tif", reference)
    write(tmp_path / "b.tif", found)
    scores = evaluate_json(capsys, tmp_path / "a.tif", tmp_path / "b.tif")
    expected = {"SEG": 0.72, "mean AP": 0.25, "PQ": 0.72 / 1.5, "IoU": 72 / 128}
    keys = ("SEG", "mean_average_precision", "panoptic_quality", "foreground_iou")
    assert [scores[key] for key in keys] == pytest.approx(list(expected.values()))
    lines = evaluate(capsys, tmp_path / "a.tif", tmp_path / "b.tif").splitlines()
    for name, value in expected.items():
        assert any(line.startswith(name) and f"  {value:.4f}  " in line for line in lines)
    row = [0.72, 0.5, 0.25, 0.72 / 1.5, 72 / 128]
    assert lines[1].split() == ["a", "1", "2", *(f"{value:.4f}" for value in row), *"0001"]


def test_an_empty_result_scores_zero(truth, tmp_path, capsys):
    found = evaluate_json(capsys, truth, write_result(tmp_path / "RES", [np.zeros_like(CELLS)] * 4))
    assert found["SEG"] == found["DET"] == found["panoptic_quality"] == 0
    assert "TRA" not in found
    assert [frame["missed"] for frame in found["frames"]] == [4, 3]


def test_known_damage_has_known_scores(truth, tmp_path, capsys):
    # In frame 001 cells 1 and 2 are merged (IoU 1/2 each), cell 3 is dropped, cell 4 shifted by a
    # pixel (9 of 11 rows shared), and a spot is added.
    damaged = np.where(CELLS == 2, 1, np.where(CELLS >= 3, 0, CELLS))
    damaged[21:31, 40:55] = 4
    damaged[0, 59] = 9
    result = write_result(tmp_path / "RES", [CELLS, damaged, CELLS, CELLS])
    found = evaluate_json(capsys, truth, result)
    assert found["SEG"] == pytest.approx((1 / 2 + 1 / 2 + 0 + 9 / 11 + 3) / 7)
    frame = found["frames"][0]
    assert (frame["missed"], frame["split"], frame["merged"], frame["spurious"]) == (1, 0, 2, 1)
    # Only cell 4 has an IoU above 0.5, and a merged pair of equal halves counts once at 0.5.
    assert frame["AP50"] == pytest.approx(2 / (4 + 3 - 2))
    assert frame["PQ"] == pytest.approx(9 / 11 / ((4 + 3) / 2))
    # 16 vertices: one missed (10), one extra (1), one to split (5).
    assert found["DET"] == pytest.approx(1 - 16 / 160)
    assert found["cells"][:4] == [
        {"frame": "001", "cell": 1, "SEG": 0.5, "object": 1, "mistake": "merged"},
        {"frame": "001", "cell": 2, "SEG": 0.5, "object": 1, "mistake": "merged"},
        {"frame": "001", "cell": 3, "SEG": 0, "object": 0, "mistake": "missed"},
        {"frame": "001", "cell": 4, "SEG": pytest.approx(9 / 11), "object": 4, "mistake": ""},
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--thresholds", "0.5"), "--thresholds are for probabilities: give --em too"),
        (("--images", "."), "--images is used by --picture"),
        (("--picture", "a.xyz"), "no picture suffix"),
        (("--picture", f"{__file__}/a.png"), "is not a writable folder"),
        (("--csv", __file__), "is not a writable folder"),
        (("--csv", "frames.csv"), "leave the .csv out"),
    ],
)
def test_bad_options_are_refused_before_scoring(
    arguments, sentence, truth, result, capsys, monkeypatch
):
    monkeypatch.setattr(evaluate_command, "score_sequence", None)
    assert sentence in fails(capsys, truth, result, *arguments)


@pytest.mark.parametrize("end", [4, 999999999])
def test_a_reference_track_beyond_the_last_frame_is_refused(truth, result, capsys, end):
    track_file = truth / "TRA" / "man_track.txt"
    track_file.write_text(track_file.read_text().replace("4 0 3", f"4 0 {end}"))
    message = fails(capsys, truth, result)
    assert f"until frame {end}, but the last frame with markers is 3" in message


def test_reference_tracks_are_needed_for_tra_only(truth, result, capsys):
    (truth / "TRA" / "man_track.txt").write_text("1 0 99 0\n")  # of a longer sequence
    (result / "res_track.txt").unlink()
    found = evaluate_json(capsys, truth, result)
    assert found["SEG"] == found["DET"] == 1


def test_the_folders_of_masks_themselves_give_the_same_scores(truth, result, capsys):
    expected = evaluate_json(capsys, truth, result)
    (result / "SEG").mkdir()
    for path in result.glob("*.t*"):
        path.rename(result / "SEG" / path.name)
    given = [(truth / "SEG", result / "SEG"), (truth, result), (truth / "SEG", result)]
    for reference, found in given:
        assert evaluate_json(capsys, reference, found) == expected


@pytest.mark.parametrize("frame", [2, 3], ids=["without a mask", "with a mask"])
def test_markers_of_another_size_are_refused(truth, result, capsys, frame):
    write(truth / f"TRA/man_track00{frame}.tif", CELLS[:, :20])
    message = fails(capsys, truth, result)
    assert f"mask00{frame}.tif has the shape 40x60, but its reference" in message
    assert f"man_track00{frame}.tif 40x20" in message


def test_a_frame_without_markers_is_reported(truth, result, capsys):
    (truth / "TRA" / "man_track002.tif").unlink()
    found = evaluate(capsys, truth, result)
    assert "SEG      1.0000" in found
    assert "TRA has 3, the last of frame 3: not scored." in " ".join(found.split())
    assert "DET  " not in found


@pytest.mark.parametrize("side", ["reference", "result"])
def test_a_mask_is_pointed_out_with_the_option_for_it(tmp_path, capsys, caplog, side):
    empty = np.zeros_like(CELLS)
    for name, cells in ("mask", (CELLS > 0).astype(np.uint8)), ("cells", CELLS):
        write_result(tmp_path / name, [empty, cells, cells])
    mask, cells = tmp_path / "mask", tmp_path / "cells"
    folders = (mask, cells) if side == "reference" else (cells, mask)
    evaluate(capsys, *folders)
    (message,) = caplog.messages
    assert message.startswith(f"{mask / 'mask001.tif'}: most numbers have several separate pieces")
    assert message.endswith(f"add --connected-components {side}.")
    caplog.clear()
    evaluate(capsys, *folders, "--connected-components", side)
    evaluate(capsys, cells, cells)
    assert not caplog.messages


def test_components_of_masks_are_scored_as_cells(tmp_path, capsys):
    apart = np.where(CELLS == 2, 0, CELLS)  # 1 and 2 touch
    write(tmp_path / "mask" / "a.tif", np.uint8(255) * (apart > 0))
    write(tmp_path / "cells" / "a.tif", apart)
    mask, cells = tmp_path / "mask", tmp_path / "cells"
    for reference, result, which in (
        (mask, cells, "reference"), (cells, mask, "result"), (mask, mask, "both")
    ):  # fmt: skip
        told = evaluate(capsys, reference, result, "--connected-components", which)
        assert "a          3        3  1.0000" in told
        assert "counts as a cell" in told
        assert "a          3        3  1.0000" not in evaluate(capsys, reference, result)


def test_images_whose_components_count_are_checked_as_they_are(tmp_path, caplog):
    soft = np.rint(np.clip(np.hypot(*np.ogrid[-20:20, -30:30]) * -120 + 1500, 0, 255))
    for name, image in ("cells", CELLS), ("soft", soft.astype(np.uint8)):
        write(tmp_path / name / "a.tif", image)
    with pytest.raises(InputError, match="a mask with soft edges"):
        score_sequence(tmp_path / "soft", tmp_path / "cells", components="reference")
    assert not caplog.messages
    score_sequence(tmp_path / "cells", tmp_path / "cells", components="result")
    assert "cells have numbers, which --connected-components ignores" in caplog.text


def test_pictures_and_pages_show_the_components(tmp_path, capsys, monkeypatch):
    write(tmp_path / "mask" / "a.tif", np.uint8(255) * (CELLS > 0))
    write(tmp_path / "cells" / "a.tif", CELLS)
    shown = []
    for module in ("unet2015.evaluation.picture", "unet2015.report.gathering"):

        def seen(*arguments):
            shown.append(read_frames(*arguments))
            return shown[-1]

        monkeypatch.setattr(f"{module}.read_frames", seen)
    folders = (tmp_path / "mask", tmp_path / "cells")
    words = ("--connected-components", "reference")
    picture, page, other = (str(tmp_path / name) for name in ("p.png", "a.html", "b.html"))
    evaluate(capsys, *folders, *words, "--picture", picture, "--report", page)
    assert (
        cli.main(["report", str(folders[1]), "--reference", str(folders[0]), *words, "-o", other])
        == 0
    )
    assert [int(frames["a"][0].max()) for frames in shown] == [3, 3, 3]
    assert Path(other).read_text().count("connected component of the reference") == 1
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.safetensors").touch()
    assert cli.main(["report", str(tmp_path / "run"), "-o", other, *words]) == 2
    assert "are for a result: give the result, too" in capsys.readouterr().err


def test_only_the_wanted_frames_are_read_with_the_components_of_the_result(tmp_path):
    stack = np.stack([CELLS, CELLS * 0])
    for folder in ("labels", "found"):
        write(tmp_path / folder / "s.tif", stack)
        write(tmp_path / folder / "t.tif", stack)
    frames = read_frames(tmp_path / "labels", tmp_path / "found", {"s[0]", "t[1]"}, "result")
    assert sorted(frames) == ["s[0]", "t[1]"]
    assert [int(labels.max()) for labels in frames["s[0]"]] == [4, 3]  # 1 and 2 touch


def test_the_image_of_a_frame_has_its_shape_and_is_one_plane(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (*CELLS.shape, 3), dtype=np.uint8)
    write(tmp_path / "rgb.tif", rgb)
    write(tmp_path / "s.tif", np.stack([CELLS, CELLS + 1]))
    write(tmp_path / "t[0].tif", CELLS)
    write(tmp_path / "t.tif", np.stack([CELLS + 1, CELLS + 2]))

    def found(name, shape=CELLS.shape):
        return microscope_image(tmp_path, name, shape)

    np.testing.assert_allclose(found("rgb"), rgb.mean(axis=-1))
    np.testing.assert_array_equal(found("s[1]"), CELLS + 1)
    np.testing.assert_array_equal(found("t[0]"), CELLS)
    assert [found("s"), found("s[2]"), found("rgb", (40, 59))] == [None] * 3


def test_planes_of_stacks_are_shown_with_their_images(tmp_path, capsys, monkeypatch):
    stack, image = np.stack([CELLS, CELLS * 0]), np.arange(2 * CELLS.size, dtype=np.float32)
    for folder in ("labels", "found"):
        write(tmp_path / folder / "s.tif", stack)
    write(tmp_path / "images" / "s.tif", image.reshape(stack.shape))
    shown = []

    def seen(frame, plane, *labels):
        shown.append((frame.name, plane))
        return ScoredFrame(frame, plane, *labels)

    monkeypatch.setattr("unet2015.report.gathering.ScoredFrame", seen)
    page = ("--report", str(tmp_path / "a.html"))
    for one in ("", "s.tif"):
        evaluate(capsys, tmp_path / "labels" / one, tmp_path / "found" / one, *page)
    write(tmp_path / "images" / "s.tif", image.reshape(stack.shape)[:1])
    evaluate(capsys, tmp_path / "labels", tmp_path / "found", *page)
    assert [plane is None for _, plane in shown[4:]] == [False, True]
    del shown[4:]
    assert [name for name, _ in shown] == ["s[0]", "s[1]"] * 2
    for (_, plane), expected in zip(shown, [*image.reshape(stack.shape)] * 2, strict=True):
        np.testing.assert_array_equal(plane, expected)


def test_tracking_markers_instead_of_masks_are_pointed_out(truth, result, capsys, caplog):
    evaluate(capsys, truth / "TRA", result)
    assert "TRA holds tracking markers, not masks" in caplog.text


def test_components_are_not_scored_as_tracks(truth, result):
    for components in ("result", "both"):
        with pytest.raises(InputError, match=r"res_track.txt refers to numbers of cells"):
            score_sequence(truth, result, components=components)
    (result / "res_track.txt").unlink()
    numbered = det(score_sequence(truth, result).graph)
    for path in result.glob("mask*.tif"):
        write(path, (read_image(path) > 0).astype(np.uint8))
    assert det(score_sequence(truth, result).graph) < numbered
    parts, same = (
        det(score_sequence(truth, result, components=components).graph)
        for components in ("result", "both")
    )
    assert same == parts
    for path in result.glob("mask*.tif"):
        write(path, label_cells(read_image(path) > 0))
    assert det(score_sequence(truth, result).graph) == parts


def test_an_unfinished_prediction_is_noted(tmp_path, capsys):
    write_result(tmp_path / "a", [CELLS])
    assert "unfinished" not in evaluate(capsys, tmp_path / "a", tmp_path / "a")
    (tmp_path / "a" / ".unet2015").mkdir()
    assert "holds an unfinished prediction" in evaluate(capsys, tmp_path / "a", tmp_path / "a")


def test_without_a_reference_lineage_all_but_tra_is_scored(truth, result, capsys):
    expected = score_sequence(truth, result)
    (truth / "TRA" / "man_track.txt").unlink()
    score = score_sequence(truth, result)
    assert (score.seg, det(score.graph)) == (expected.seg, det(expected.graph))
    assert not score.tracked
    assert [note for note in score.notes if "TRA needs" in note and "man_track.txt" in note]
    assert "TRA needs" in evaluate(capsys, truth, result)


def test_csv_holds_the_tables(truth, result, tmp_path, capsys):
    evaluate(capsys, truth, result, "--csv", tmp_path / "new" / "tables")
    with (tmp_path / "new" / "tables" / "frames.csv").open() as file:
        frames = list(csv.DictReader(file))
    assert [(row["frame"], float(row["SEG"])) for row in frames] == [("001", 1), ("003", 1)]
    with (tmp_path / "new" / "tables" / "cells.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 7


def test_foreign_tables_are_not_replaced(truth, result, tmp_path, capsys):
    (tmp_path / "cells.csv").write_text("mine\n")
    assert cli.main(["evaluate", str(truth), str(result), "--csv", str(tmp_path)]) == 2
    assert "cells.csv exists and is not a table" in capsys.readouterr().err
    (tmp_path / "cells.csv").unlink()
    for _ in range(2):  # our own tables are
        evaluate(capsys, truth, result, "--csv", tmp_path)


def test_scores_are_printed_even_if_a_table_is_unwritable(
    truth, result, tmp_path, capsys, monkeypatch
):
    def write_csv(*_):
        raise PermissionError(13, "Permission denied", "frames.csv")

    monkeypatch.setattr("unet2015.evaluation.tables.write_csv", write_csv)
    assert cli.main(["evaluate", str(truth), str(result), "--csv", str(tmp_path / "csv")]) == 2
    shown = capsys.readouterr()
    assert "SEG      1.0000" in shown.out
    assert shown.err == "unet2015: frames.csv: Permission denied.\n"


def test_a_closed_stdout_does_not_hide_that_a_table_is_missing(
    truth, result, tmp_path, capsys, monkeypatch
):
    def failing(error):
        def fail(*_):
            raise error

        return fail

    denied = PermissionError(13, "Permission denied", "frames.csv")
    monkeypatch.setattr("unet2015.evaluation.tables.write_csv", failing(denied))
    monkeypatch.setattr(evaluate_command, "_print", failing(BrokenPipeError()))
    words = (truth, result, "--csv", tmp_path / "csv")
    assert fails(capsys, *words) == "unet2015: frames.csv: Permission denied."


def test_tables_are_written_even_if_stdout_is_closed(truth, result, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    words = ("evaluate", truth, result, "--csv", tmp_path / "csv")
    ended = subprocess.run([sys.executable, "-m", "unet2015", *words], stdout=writing)
    os.close(writing)
    assert ended.returncode == 0
    assert sorted(os.listdir(tmp_path / "csv")) == ["cells.csv", "frames.csv"]


def test_the_margin_drops_cells_at_the_edge(truth, result, capsys):
    # Cells 1, 2 and 3 begin in column 5 and reach columns 15, 25 and 25; the image is 40 high.
    found = evaluate_json(capsys, truth, result, "--margin", "16")
    assert found["margin"] == 16
    assert [cell["cell"] for cell in found["cells"]] == [4, 4]
    assert "all but the outer 16 pixels" in evaluate(capsys, truth, result, "--margin", "16")
    assert "no field of interest" in fails(capsys, truth, result, "--margin", "20")


def test_objects_in_the_margin_are_not_detections(truth, tmp_path, capsys):
    spotted = CELLS.copy()
    spotted[:3, :3] = 9
    result = write_result(tmp_path / "RES", [spotted] * 4)
    assert evaluate_json(capsys, truth, result)["DET"] == pytest.approx(1 - 4 / 160)
    found = evaluate_json(capsys, truth, result, "--margin", "3")
    assert found["DET"] == found["panoptic_quality"] == 1


def test_a_marker_in_the_margin_counts_if_its_cell_reaches_the_field(truth, tmp_path, capsys):
    markers = np.zeros_like(CELLS)
    markers[6:8, 6:8] = 1
    for path in (truth / "TRA").glob("*.tif"):
        write(path, markers)
    (truth / "TRA" / "man_track.txt").write_text("1 0 3 0\n")
    result = write_result(tmp_path / "RES", [np.where(CELLS == 1, 1, 0).astype(np.uint16)] * 4)
    assert evaluate_json(capsys, truth, result, "--margin", "9")["DET"] == 1
    assert evaluate_json(capsys, truth, result, "--margin", "16")["DET"] == 0


def test_a_reference_without_cells_is_reported(tmp_path, capsys):
    for folder in ("a", "b"):
        write_result(tmp_path / folder, [0 * CELLS])
    found = evaluate_json(capsys, tmp_path / "a", tmp_path / "b")
    assert found["notes"][0] == "No reference image has a cell: SEG is not defined."


def test_a_frame_without_cells_is_null_in_json(tmp_path, capsys):
    write(tmp_path / "a.tif", np.zeros((4, 4), np.uint8))
    found = evaluate_json(capsys, tmp_path / "a.tif", tmp_path / "a.tif")
    assert found["SEG"] is None
    assert found["frames"][0]["IoU"] is None
    assert "  -" in evaluate(capsys, tmp_path / "a.tif", tmp_path / "a.tif")


def test_a_picture_distinguishes_drawn_from_judged_objects():
    reference, result = np.zeros((9, 20), np.uint8), np.zeros((9, 20), np.uint8)
    reference[2:6, 2:6] = result[2:6, 2:6] = 1
    result[2:6, 10:16] = 2
    table = overlap_table(reference, result)
    for unknown, title in ([], "result: 2 objects"), ([2], "result: 2 objects, 1 judged"):
        frame = score_frame("0", table, np.array(unknown, int))
        assert title in picture._panels(frame, reference, result, None)


def test_an_object_that_holds_a_cell_is_judged_even_if_it_covers_an_unknown_one():
    frame = score_frame("a", overlap_table(CELLS, CELLS), np.array([3]))
    assert (frame.counts.objects, frame.unjudged) == (4, 0)
    frame = score_frame("a", overlap_table(np.where(CELLS == 3, 0, CELLS), CELLS), np.array([3]))
    assert (frame.counts.objects, frame.unjudged) == (3, 1)
    assert not any(map(len, frame.mistakes))


def test_objects_mostly_where_annotation_is_missing_are_not_judged():
    known = np.where(CELLS == 4, 0, CELLS)
    found = known.copy()
    found[20:30, 40:50], found[30:36, 40:50] = 8, 9
    for ignored, objects in ((4, 5), (5, 5), (6, 4)):  # of the 10 rows of object 8
        ignore = np.zeros(CELLS.shape, bool)
        ignore[20 : 20 + ignored] = True
        frame = annotated_frame(CELLS, known, "a", ignore)
        score = score_annotated([frame], [found])
        assert (score.counts.objects, score.seg) == (objects, 1)
        told = ["Objects not judged, since annotation is missing there: 1."]
        assert score.notes == (told if objects == 4 else [])


def test_a_picture_gives_objects_without_a_cell_other_colours():
    reference, result = np.zeros((9, 20), np.uint8), np.zeros((9, 20), np.uint8)
    reference[2:6, 2:6], result[2:6, 2:6] = 5, 7  # object 7 holds cell 5
    result[2:6, 10:16] = 5  # object 5 holds none
    frame = score_frame("0", overlap_table(reference, result), np.array([], int))
    panels = picture._panels(frame, reference, result, None)
    cells, objects = panels["frame 0, reference: 1 cell"], panels["result: 2 objects"]
    assert (objects[3, 3] == cells[3, 3]).all()
    assert (objects[3, 12] != cells[3, 3]).any()
    assert (objects[0, 0] == 1).all(), "the background is white"


def test_a_picture_says_that_a_frame_has_no_cells():
    nothing = np.zeros((9, 20), np.uint8)
    frame = score_frame("0", overlap_table(nothing, nothing), np.array([], int))
    assert "no cells, 0 mistakes" in picture._panels(frame, nothing, nothing, None)


def test_a_spurious_object_does_not_hide_the_cell_under_it():
    reference, result = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8)
    reference[2:12, 2:12] = 1
    result[2:12, 2:8], result[2:12, 8:28] = 1, 2
    frame = score_frame("0", overlap_table(reference, result), np.array([], int))
    assert frame.mistakes.spurious.tolist() == [2]
    painted = paint_mistakes(frame, reference, result)
    for column, colour in (
        (4, COLOURS["found"]),
        (7, picture.RESULT_OUTLINE),
        (10, COLOURS["found"]),
        (11, picture.REFERENCE_OUTLINE),
        (20, COLOURS["spurious"]),
    ):
        assert tuple(painted[6, column]) == colour, column


def test_a_picture_shows_the_worst_frames_only(tmp_path, monkeypatch):
    drawn, panels = [], picture._panels
    monkeypatch.setattr(
        picture, "_panels", lambda frame, *rest: drawn.append(frame.name) or panels(frame, *rest)
    )
    truth = write_result(tmp_path / "truth", [CELLS] * 6)
    wrong = np.where(CELLS == 4, 0, CELLS)
    result = write_result(tmp_path / "found", [CELLS, wrong, CELLS, CELLS * 0, wrong, wrong])
    path = tmp_path / "P.PNG"
    picture.check_picture(path, truth, result, None)
    picture.draw_mistakes(path, score_sequence(truth, result), truth, result)
    assert drawn == ["003", "001", "004", "005"]
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(sys.platform != "linux", reason="names must be Unicode")
@pytest.mark.parametrize("file", [b"Gr\xf6.tif", b"a$^$b.tif"])
def test_a_picture_of_files_of_any_name_is_drawn(tmp_path, file):
    for name in ("labels", "found"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / os.fsdecode(file), np.eye(30, dtype=np.uint8))
    folders = tmp_path / "labels", tmp_path / "found"
    picture.draw_mistakes(tmp_path / "p.png", score_sequence(*folders), *folders)
    assert (tmp_path / "p.png").exists()


def test_a_picture_of_the_worst_frames_is_drawn(truth, result, tmp_path, capsys):
    write(truth.parent / "01" / "t001.tif", (CELLS * 50).astype(np.uint8))
    evaluate(capsys, truth, result, "--picture", tmp_path / "mistakes.png")
    assert (tmp_path / "mistakes.png").read_bytes().startswith(b"\x89PNG")
    images = truth.parent / "01"
    evaluate(capsys, truth, result, "--picture", tmp_path / "m.pdf", "--images", images)
    assert (tmp_path / "m.pdf").read_bytes().startswith(b"%PDF")
    assert "no picture suffix" in fails(capsys, truth, result, "--picture", tmp_path / "m.doc")
    assert "is not a folder" in fails(
        capsys, truth, result, "--picture", tmp_path / "m.png", "--images", tmp_path / "absent"
    )
    for option in ("--picture", "--report"):
        page = tmp_path / ("a.png" if option == "--picture" else "a.html")
        words = (truth, result, option, page, "--images", tmp_path)
        assert "holds no image of frame" in fails(capsys, *words)
        assert not page.exists()


def test_images_beside_labels_are_found(tmp_path, capsys):
    for name in ("labels", "images", "found"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "a.tif", np.eye(30, dtype=np.uint8))
    words = [tmp_path / "labels", tmp_path / "found", "--picture"]
    evaluate(capsys, *words, tmp_path / "with.png")
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    evaluate(capsys, *words, tmp_path / "without.png")
    with_images, without = (read_image(tmp_path / f"{name}.png") for name in ("with", "without"))
    assert with_images.shape[-1] > without.shape[-1]


@pytest.mark.parametrize(
    ("reference", "result"), [("labels", "found"), ("labels/a.ome.tif", "found/a.ome.tif")]
)
def test_ome_tiffs_belong_to_labels_and_images_of_that_name(tmp_path, capsys, reference, result):
    for name in ("labels/a.ome.tif", "images/a.tif", "found/a.ome.tif"):
        write(tmp_path / name, CELLS)
    words = [tmp_path / reference, tmp_path / result, "--images", tmp_path / "images"]
    found = evaluate_json(capsys, *words, "--picture", tmp_path / "with.png")
    assert [(frame["frame"], frame["SEG"]) for frame in found["frames"]] == [("a", 1)]
    assert microscope_image(tmp_path / "images", "a", CELLS.shape) is not None


def test_images_are_found_beside_the_folder_of_masks_too(truth):
    (truth.parent / "01").mkdir()
    for folder in (truth, truth / "SEG", truth.parent / "01_ST"):
        assert folder_of_images(folder, None) == truth.parent / "01"


def test_labels_below_the_root_have_no_images_beside_them():
    assert folder_of_images(Path("/"), None) is None


def test_files_left_out_beside_numbered_masks_are_named(truth, result, capsys, caplog):
    warn_once.cache_clear()
    write(result / "summary.tif", CELLS)
    evaluate(capsys, truth, result)
    assert f"left out of {result}: summary.tif." in caplog.text


@pytest.mark.parametrize("side", ["reference", "result"])
def test_labels_without_background_are_pointed_out(side, tmp_path, capsys, caplog):
    for name in ("reference", "result"):
        write_result(tmp_path / name, [CELLS + (name == side)])
    evaluate(capsys, tmp_path / "reference", tmp_path / "result")
    assert f"{tmp_path / side / 'mask000.tif'}: no pixel is 0" in caplog.text


def test_a_picture_does_not_replace_input(truth, result, capsys):
    frame = truth.parent / "01" / "t001.tif"
    write(frame, (CELLS * 50).astype(np.uint8))
    for path in (frame, truth / "SEG" / "man_seg001.tif", result / "mask001.tif"):
        before = path.read_bytes()
        assert "is an input" in fails(capsys, truth, result, "--picture", path)
        assert path.read_bytes() == before


def test_the_picture_of_a_long_strip_is_limited(tmp_path, capsys):
    labels = np.ones((900, 5), np.uint16)
    for name in ("a", "b"):
        write(tmp_path / f"{name}.tif", labels)
    picture = tmp_path / "m.png"
    evaluate(capsys, tmp_path / "a.tif", tmp_path / "b.tif", "--picture", picture)
    assert max(read_image(picture).shape) < 4000


def test_mistakes_have_their_colours(truth, tmp_path):
    # Cells 1 and 2 merged, 3 cut in two, 4 dropped, and a spot added.
    damaged = np.where(CELLS == 2, 1, np.where(CELLS == 4, 0, CELLS))
    damaged[25:35, 15:25] = 7
    damaged[:4, :4] = 9
    result = write_result(tmp_path / "RES", [CELLS, damaged, CELLS, CELLS])
    frame = score_sequence(truth, result).frames[0]
    picture = paint_mistakes(frame, CELLS, damaged)
    for point, kind in {
        (10, 10): "merged",
        (30, 10): "split",
        (25, 47): "missed",
        (1, 1): "spurious",
    }.items():
        assert tuple(picture[point]) == COLOURS[kind]
    assert (picture[38, 58] == 1).all()
    perfect = score_sequence(truth, truth / "SEG").frames[0]
    assert tuple(paint_mistakes(perfect, CELLS, CELLS)[10, 10]) == COLOURS["found"]


# --- Which files belong together -----------------------------------------------------------------


def test_folders_single_files_and_stacks_are_scored(tmp_path, capsys):
    write(tmp_path / "truth" / "a.tif", CELLS)
    write(tmp_path / "truth" / "b.tif", CELLS)
    for name in "abc":
        write(tmp_path / "result" / f"{name}.tiff", np.where(CELLS == 1, 0, CELLS))
    found = evaluate_json(capsys, tmp_path / "truth", tmp_path / "result")
    assert [frame["frame"] for frame in found["frames"]] == ["a", "b"]
    assert found["SEG"] == 0.75
    found = evaluate_json(capsys, tmp_path / "truth" / "a.tif", tmp_path / "result" / "c.tiff")
    assert found["SEG"] == 0.75
    write(tmp_path / "stack.tif", np.stack([CELLS, CELLS, CELLS]))
    found = evaluate_json(capsys, tmp_path / "stack.tif", tmp_path / "stack.tif")
    assert [frame["frame"] for frame in found["frames"]] == ["stack[0]", "stack[1]", "stack[2]"]


def test_a_zarr_folder_is_one_image(truth, tmp_path, capsys):
    stack = np.stack([CELLS, np.where(CELLS == 1, 0, CELLS)])
    write(tmp_path / "stack.tif", np.stack([CELLS, CELLS]))
    zarr.save_array(tmp_path / "found.zarr", stack)
    found = evaluate_json(capsys, tmp_path / "stack.tif", tmp_path / "found.zarr")
    assert [frame["SEG"] for frame in found["frames"]] == [1, 0.75]
    assert evaluate_json(capsys, tmp_path / "found.zarr", tmp_path / "stack.tif")["SEG"] > 0.8
    assert "found.zarr one image" in fails(capsys, truth, tmp_path / "found.zarr")


def test_four_digit_names_and_silver_truth_are_found(tmp_path):
    write(tmp_path / "01_GT" / "SEG" / "man_seg0012.tif", CELLS)
    write(tmp_path / "01_ST" / "SEG" / "man_seg012.tif", CELLS)
    write(tmp_path / "01_RES" / "mask0012.tif", CELLS)
    for other in ("01_ST", "01_RES"):
        (pair,) = pair_frames(tmp_path / "01_GT", tmp_path / other)
        assert pair.name == "012"


def test_references_named_like_frames_belong_to_masks_or_their_namesakes(tmp_path):
    for number in range(2):
        write(tmp_path / "labels" / f"t{number:04d}.tif", CELLS)
        write(tmp_path / "masks" / f"mask{number:03d}.tif", CELLS)
        write(tmp_path / "same" / f"t{number:04d}.tif", CELLS)
    for result, names in (
        ("masks", ["mask000.tif", "mask001.tif"]),
        ("same", ["t0000.tif", "t0001.tif"]),
    ):
        pairs = pair_frames(tmp_path / "labels", tmp_path / result)
        assert [pair.reference.name for pair in pairs] == ["t0000.tif", "t0001.tif"]
        assert [pair.result.name for pair in pairs] == names


def test_detection_needs_all_frames(truth, result, capsys):
    (result / "res_track.txt").unlink()
    found = evaluate_json(capsys, truth, result)
    assert found["DET"] == 1
    assert found["corrections"] == {"splits": 0, "missed": 0, "extra": 0, "vertices": 16}
    assert "TRA" not in found
    assert "which `unet2015 track` writes" in found["notes"][-1]
    (result / "mask000.tif").unlink()
    found = evaluate_json(capsys, truth, result)
    assert found["SEG"] == 1
    assert "DET" not in found
    assert found["notes"][-1] == "DET and TRA need masks of all frames: not scored."


def test_bad_results_get_one_sentence(truth, result, tmp_path, capsys):
    mask = result / "mask001.tif"
    good = mask.read_bytes()
    assert "absent does not exist" in fails(capsys, truth, tmp_path / "absent")
    assert "holds no label image" in fails(capsys, truth, truth.parent)
    assert "is a folder and" in fails(capsys, truth, mask)

    mask.unlink()
    assert "no label image for frame 001 of" in fails(capsys, truth, result)
    mask.write_bytes(good)
    (result / "mask002.tif").rename(tmp_path / "aside")
    assert "has tracks but no mask of frame 2 (1 of 4" in fails(capsys, truth, result)
    (tmp_path / "aside").rename(result / "mask002.tif")
    write(result / "mask004.tif", CELLS)
    assert "is frame 4, but the reference's last frame is 3" in fails(capsys, truth, result)
    (result / "mask004.tif").rename(result / "mask0001.tif")
    assert "mask0001.tif and mask001.tif for one frame" in fails(capsys, truth, result)
    (result / "mask0001.tif").unlink()

    for bad, message in (
        (CELLS / np.float32(2), "mask001.tif: labels hold fractions"),
        (CELLS[:-1], "mask001.tif has the shape 39x60, but its reference"),
        (np.stack([CELLS.astype(np.uint8)] * 3, -1), "has 3 channels"),
        (CELLS.astype(np.int16) - 1, "mask001.tif: labels hold the negative value -1"),
    ):
        write(mask, bad)
        assert message in fails(capsys, truth, result)
    mask.write_bytes(good[: len(good) // 2])
    assert "mask001.tif" in fails(capsys, truth, result)
    mask.write_bytes(good)

    tracks = result / "res_track.txt"
    for text, message in (
        ("", "res_track.txt is empty"),
        ("1 0 3\n", "line 1: '1 0 3' is not a track"),
        ("1 0 3 0\n", "mask of frame 0 holds the label 2, which has no track there"),
        ("1 0 9 0\n", "track 1 ends in frame 9, but the last frame is 3"),
    ):
        tracks.write_text(text)
        assert message in fails(capsys, truth, result)


# --- EM ------------------------------------------------------------------------------------------


@pytest.fixture
def membranes(tmp_path):
    stack = np.full((2, 20, 30), 255, np.uint8)
    stack[:, :, 9:12] = 0
    write(tmp_path / "labels.tif", stack)
    return tmp_path / "labels.tif"


def test_em_measures_of_a_probability_map(membranes, tmp_path, capsys):
    probability = tifffile.imread(membranes) / np.float32(255) * np.float32(0.65)
    probability[1, 5:7, 9:12] = 0.45  # a gap of two pixels at thresholds up to 0.4
    write(tmp_path / "p.tif", probability.astype(np.float32))
    found = evaluate_json(capsys, membranes, tmp_path / "p.tif", "--em")
    assert found["pixel_error"] == {"value": 0, "threshold": 0.5}
    write(tmp_path / "f.tif", tifffile.imread(membranes).astype(np.float32))
    assert evaluate_json(capsys, tmp_path / "f.tif", tmp_path / "p.tif", "--em") == found
    assert found["v_rand"] == {"value": 1, "threshold": 0.5}
    arguments = (membranes, tmp_path / "p.tif", "--em", "--thresholds", "0.4")
    found = evaluate_json(capsys, *arguments)
    assert found["warping_error"]["value"] == pytest.approx(2 / 1200)
    assert found["splits_and_mergers"]["value"] == pytest.approx(2 / 1200)
    text = evaluate(capsys, *arguments)
    assert "share of pixels left after warping by simple points" in text
    assert len(text.splitlines()) == 8


def test_em_results_may_be_integers_or_binary(membranes, tmp_path, capsys):
    found = evaluate_json(capsys, membranes, membranes, "--em")
    assert {best["value"] for best in found.values()} == {0, 1}
    assert found["rand_error"] == {"value": 0, "threshold": 0.1}
    write(tmp_path / "deep.tif", tifffile.imread(membranes).astype(np.uint16) * 257)
    assert evaluate_json(capsys, membranes, tmp_path / "deep.tif", "--em") == found
    # Membranes at 0.3 of the largest value: cell at lower thresholds.
    grey = np.where(tifffile.imread(membranes) == 0, 19660, 65535).astype(np.uint16)
    write(tmp_path / "grey.tif", grey)
    for threshold, error in (("0.29", 0.1), ("0.31", 0)):
        arguments = ("--em", "--thresholds", threshold)
        found = evaluate_json(capsys, membranes, tmp_path / "grey.tif", *arguments)
        assert found["pixel_error"]["value"] == pytest.approx(error)


def test_em_probabilities_may_be_off_by_rounding(membranes, tmp_path, capsys):
    probability = tifffile.imread(membranes) / np.float32(255)
    probability[0, 0, 0] = np.nextafter(np.float32(1), np.float32(2))
    write(tmp_path / "p.tif", probability.astype(np.float32))
    assert evaluate_json(capsys, membranes, tmp_path / "p.tif", "--em")["pixel_error"]["value"] == 0
    probability[0, 0, 0] = 1.00001
    write(tmp_path / "p.tif", probability.astype(np.float32))
    assert "to 1.00001" in fails(capsys, membranes, tmp_path / "p.tif", "--em")


def test_bad_em_input_gets_one_sentence(membranes, tmp_path, capsys):
    numbered = np.array([0, 1, 2, 3], np.uint16)[np.arange(1200).reshape(2, 20, 30) % 4]
    write(tmp_path / "cells.tif", numbered)
    assert "numbers up to 3, as" in fails(capsys, membranes, tmp_path / "cells.tif", "--em")
    write(tmp_path / "f.tif", tifffile.imread(membranes).astype(np.float32))
    assert "from 0 to 255: probabilities lie" in fails(
        capsys, membranes, tmp_path / "f.tif", "--em"
    )
    write(tmp_path / "s.tif", numbered.astype(np.int8) - 1)
    assert "s.tif holds -1: prob" in fails(capsys, membranes, tmp_path / "s.tif", "--em")
    write(tmp_path / "n.tif", np.full((2, 20, 30), np.nan, np.float32))
    assert "n.tif holds NaN" in fails(capsys, membranes, tmp_path / "n.tif", "--em")
    write(tmp_path / "s.tif", np.zeros((3, 20, 30), np.uint8))
    assert "has the shape 3x20x30" in fails(capsys, membranes, tmp_path / "s.tif", "--em")
    assert "thresholds 1.0" in fails(capsys, membranes, membranes, "--em", "--thresholds", "1.0")
    assert "--em does not score" in fails(capsys, membranes, membranes, "--em", "--margin", "3")


# --- The real data sets --------------------------------------------------------------------------


def data_set(name):
    """Folder of a challenge data set in UNET2015_DATA or data/."""
    roots = [os.environ.get("UNET2015_DATA"), Path(__file__).parents[1] / "data"]
    for root in filter(None, roots):
        if (Path(root) / name).is_dir():
            return Path(root) / name
    pytest.skip(f"{name} is in neither $UNET2015_DATA nor data/: `unet2015 fetch` gets it")


@pytest.mark.parametrize("name", ["PhC-C2DH-U373", "DIC-C2DH-HeLa"])
def test_scores_of_silver_truth_match_py_ctcmetrics(name):
    folder = data_set(name)
    representations = pytest.importorskip("ctc_metrics.utils.representations")
    seg = pytest.importorskip("ctc_metrics.metrics").seg
    score = score_sequence(folder / "02_GT", folder / "02_ST")
    pairs = pair_frames(folder / "02_GT", folder / "02_ST")
    # Every third frame: the library is slow.
    for frame, pair in list(zip(score.frames, pairs, strict=True))[::3]:
        labels, _, _, _, iou = representations.match(str(pair.reference), str(pair.result))
        assert frame.seg.mean == pytest.approx(seg([labels], [iou]), abs=1e-9)
    assert score_sequence(folder / "02_GT", folder / "02_GT").seg == 1


@pytest.mark.parametrize(("name", "least"), [("PhC-C2DH-U373", 0.98), ("DIC-C2DH-HeLa", 0.95)])
def test_shuffled_silver_truth_is_tracked_well(name, least, tmp_path):
    folder = data_set(name)
    rng = np.random.default_rng(0)
    for path in sorted((folder / "02_ST" / "SEG").iterdir()):
        labels = tifffile.imread(path)
        shuffled = np.concatenate([[0], 1 + rng.permutation(labels.max())]).astype(np.uint16)
        tifffile.imwrite(tmp_path / path.name.replace("man_seg", "mask"), shuffled[labels])
    track.run(track.Options(tmp_path))
    score = score_sequence(folder / "02_GT", tmp_path)
    assert score.tracked
    assert tra(score.graph) >= least


def test_scores_of_tracked_hela_frames_match_py_ctcmetrics(tmp_path):
    folder, frames = data_set("DIC-C2DH-HeLa"), range(20, 36)  # with divisions
    evaluate_sequence = pytest.importorskip("ctc_metrics.scripts.evaluate").evaluate_sequence
    truth, result = tmp_path / "02_GT", tmp_path / "02_RES"
    for new, old in enumerate(frames):
        markers = tifffile.imread(folder / "02_GT" / "TRA" / f"man_track{old:03d}.tif")
        write(truth / "TRA" / f"man_track{new:03d}.tif", markers)
        labels = tifffile.imread(folder / "02_ST" / "SEG" / f"man_seg{old:03d}.tif")
        write(result / f"mask{new:03d}.tif", labels)
    gold = folder / "02_GT" / "SEG" / "man_seg027.tif"
    write(truth / "SEG" / "man_seg007.tif", tifffile.imread(gold))
    tracks = read_tracks(folder / "02_GT" / "TRA" / "man_track.txt")
    tracks = tracks[(tracks[:, 1] < frames.stop) & (tracks[:, 2] >= frames.start)]
    tracks[~np.isin(tracks[:, 3], tracks[:, 0]), 3] = 0
    tracks[:, 1:3] = np.clip(tracks[:, 1:3], frames.start, frames.stop - 1) - frames.start
    write_tracks(truth / "TRA" / "man_track.txt", tracks)
    track.run(track.Options(result))

    score = score_sequence(truth, result)
    with contextlib.redirect_stdout(io.StringIO()):
        expected = evaluate_sequence(
            str(result), str(truth), ["Valid", "SEG", "DET", "TRA"], threads=1
        )
    assert expected["Valid"] == 1
    assert score.seg == pytest.approx(expected["SEG"], abs=1e-9)
    assert det(score.graph) == pytest.approx(expected["DET"], abs=1e-9)
    assert tra(score.graph) == pytest.approx(expected["TRA"], abs=1e-9)
    assert 0.9 < tra(score.graph) < 1


def test_a_binary_em_mask_is_perfect_against_itself(tmp_path):
    stack = np.ones((2, 20, 20), np.uint8)
    stack[:, 9:11] = 0
    tifffile.imwrite(tmp_path / "a.tif", stack)
    best = score_stack(tmp_path / "a.tif", tmp_path / "a.tif", (0.1, 0.5, 0.9))
    assert best["pixel_error"].value == best["rand_error"].value == 0
    assert best["v_rand"].value == 1
    with pytest.raises(InputError, match="thresholds"):
        score_stack(tmp_path / "a.tif", tmp_path / "a.tif", (float("nan"),))


def test_numbered_cells_are_not_taken_for_em_probabilities(tmp_path):
    stack = np.ones((2, 20, 20), np.uint16)
    stack[:, 9:11] = 0
    tifffile.imwrite(tmp_path / "a.tif", stack)
    tifffile.imwrite(tmp_path / "numbered.tif", np.cumsum(stack, axis=2, dtype=np.uint16) * stack)
    with pytest.raises(InputError, match="as numbered cells do"):
        score_stack(tmp_path / "a.tif", tmp_path / "numbered.tif", (0.5,))
    many = np.kron(np.arange(1, 101, dtype=np.uint8).reshape(10, 10), np.ones((10, 120), np.uint8))
    tifffile.imwrite(tmp_path / "many.tif", many)
    with pytest.raises(InputError, match="one number throughout each cell"):
        score_stack(tmp_path / "many.tif", tmp_path / "many.tif", (0.5,))


def test_small_em_probabilities_in_bytes_are_scored_with_a_warning(tmp_path, caplog):
    stack = np.ones((20, 20), np.uint8)
    stack[9:11] = 0
    tifffile.imwrite(tmp_path / "a.tif", stack)
    tifffile.imwrite(tmp_path / "small.tif", stack * (np.arange(20, dtype=np.uint8) // 4 + 9))
    best = score_stack(tmp_path / "a.tif", tmp_path / "small.tif", (0.01, 0.5))
    assert best["pixel_error"].value == 0
    assert "holds whole numbers up to 13, as numbered cells do: they are scored" in caplog.text


def test_few_different_em_probabilities_in_bytes_are_no_cells(tmp_path):
    stack = np.full((20, 200), 255, np.uint8)
    stack[:, 5:] = 128  # just above half of 255
    stack[9:11] = 0
    tifffile.imwrite(tmp_path / "a.tif", stack)
    assert score_stack(tmp_path / "a.tif", tmp_path / "a.tif", (0.5,))["pixel_error"].value == 0


def test_em_masks_are_recognised_from_all_slices(tmp_path):
    for folder in ("truth", "found"):
        (tmp_path / folder).mkdir()
        for name in ("0.tif", "1.tif"):
            tifffile.imwrite(tmp_path / folder / name, np.eye(9, dtype=np.uint8))
    tifffile.imwrite(tmp_path / "found" / "0.tif", 3 * np.eye(9, dtype=np.uint8))
    tifffile.imwrite(tmp_path / "found" / "1.tif", 255 * np.eye(9, dtype=np.uint8))
    best = score_stack(tmp_path / "truth", tmp_path / "found", (0.0, 0.5))
    assert best["pixel_error"].threshold == 0.0
    tifffile.imwrite(tmp_path / "found" / "1.tif", np.eye(9, dtype=np.float32))
    with pytest.raises(InputError, match="different types"):
        score_stack(tmp_path / "truth", tmp_path / "found", (0.5,))
    for folder in ("truth", "found"):
        tifffile.imwrite(tmp_path / folder / "1.tif", np.eye(8, dtype=np.uint8))
    with pytest.raises(InputError, match="truth holds images of different sizes"):
        score_stack(tmp_path / "truth", tmp_path / "found", (0.5,))


def test_probabilities_of_membranes_instead_of_cells_are_pointed_out(tmp_path, caplog):
    write(tmp_path / "truth.tif", (CELLS > 0).astype(np.uint8))
    write(tmp_path / "cells.tif", (CELLS > 0).astype(np.float32))
    write(tmp_path / "membranes.tif", (CELLS == 0).astype(np.float32))
    score_stack(tmp_path / "truth.tif", tmp_path / "cells.tif", [0.5])
    assert not caplog.messages
    score_stack(tmp_path / "truth.tif", tmp_path / "membranes.tif", [0.5])
    assert "membranes.tif must hold the probability of cell" in caplog.text
