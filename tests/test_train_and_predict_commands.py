import dataclasses
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from unittest.mock import Mock

import numpy as np
import pytest
import tifffile

from unet2015 import save_model
from unet2015.checkpoint import Model, load_model
from unet2015.cli import main
from unet2015.datasets.synthetic import simulate, write_sequence
from unet2015.engines.device import choose_engine
from unet2015.fileprediction.inputs import plan_results
from unet2015.images import open_image, read_image, write_image
from unet2015.instances import foreground, label_cells
from unet2015.prediction import predict
from unet2015.unet import UNet

SMALL = [
    *("--base-channels", "2", "--depth", "2"),
    *("--tile", "60", "--iterations", "4", "--interval", "2"),
]


@pytest.fixture
def data(tmp_path):
    for sequence in ("01", "02"):
        cells = simulate(2, (70, 80), 6, np.random.default_rng(int(sequence)))
        write_sequence(tmp_path / "data", sequence, cells)
    return tmp_path / "data"


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "small.safetensors"
    save_model(path, Model(UNet(base_channels=2, depth=2), "standard"))
    return path


def cli(*words):
    return main([str(word) for word in words])


def refused(capsys, *words):
    """Run a command that must fail with one sentence; return the sentence."""
    assert cli(*words) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("unet2015: ")
    return message


def test_training_on_a_sequence_writes_model_log_and_curve(data, tmp_path):
    run = tmp_path / "run"
    words = ("train", data, "--sequences", "01", "--validation-sequences", "02", "-o", run, *SMALL)
    assert cli(*words) == 0
    assert {path.name for path in run.iterdir()} == {
        "model.safetensors", "checkpoint.safetensors", "log.csv", "loss.png", ".lock"
    }  # fmt: skip
    assert load_model(run).settings["training"]["iterations"] == 4
    assert cli(*words, "--resume") == 0
    log = (run / "log.csv").read_bytes()
    (run / "log.csv").unlink()
    assert cli(*words, "--resume") == 0
    assert (run / "log.csv").read_bytes() == log


def test_colour_images_train_a_network_of_three_channels(tmp_path):
    image, labels = np.zeros((70, 80, 3), np.uint8), np.eye(70, 80, dtype=np.uint8)
    image[..., 1] = np.arange(80)
    write_image(tmp_path / "labels/a.tif", labels)
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images/a.tif", image, photometric="rgb")
    assert cli("train", tmp_path, "-o", tmp_path / "run", *SMALL) == 0
    assert load_model(tmp_path / "run").network.config.in_channels == 3


def test_training_and_report_work_on_the_em_challenge_stack(tmp_path):
    cells = np.full((2, 70, 80), 255, np.uint8)
    cells[:, :, 40] = cells[:, 30] = 0
    em, page = tmp_path / "ISBI-2012-EM", tmp_path / "page.html"
    write_image(em / "train-volume.tif", cells // 2 + np.arange(80, dtype=np.uint8), "ZYX")
    write_image(em / "train-labels.tif", cells, "ZYX")
    assert cli("train", em, "-o", tmp_path / "run", *SMALL) == 0
    assert load_model(tmp_path / "run").settings["frames"] == ["ISBI-2012-EM/00", "ISBI-2012-EM/01"]
    assert cli("report", tmp_path / "run", "--data", em, "-o", page) == 0
    assert "ISBI-2012-EM/00" in page.read_text()


def test_training_works_on_pairs(data, tmp_path):
    pairs = tmp_path / "pairs"
    for folder, source in (("images", "01/t000.tif"), ("labels", "01_GT/SEG/man_seg000.tif")):
        (pairs / folder).mkdir(parents=True)
        write_image(pairs / folder / "one.png", read_image(data / source))
    assert cli("train", pairs, "--silver", "-o", tmp_path / "run", *SMALL) == 2
    assert cli("train", pairs, "-o", tmp_path / "run", *SMALL) == 0


def test_other_data_can_be_scored_during_training(data, tmp_path, capsys, caplog):
    (frame,) = simulate(1, (70, 80), 6, np.random.default_rng(5))
    pairs = tmp_path / "pairs"
    for folder, source in (("images", "01/t000.tif"), ("labels", "01_GT/SEG/man_seg000.tif")):
        (pairs / folder).mkdir(parents=True)
        write_image(pairs / folder / "one.tif", read_image(data / source))
    words = ("train", pairs, "-o", tmp_path / "run", *SMALL, "--validation-data")
    assert "the data to train on" in refused(capsys, *words, pairs)
    assert "CTC data set: choose" in refused(capsys, *words, data)
    assert cli(*words, data, "--validation-sequences", "02") == 0
    log = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert all(line.split(",")[3] for line in log[1:])
    words = ("train", data, "--sequences", "02", "-o", tmp_path / "other", *SMALL)
    caplog.clear()
    assert cli(*words, "--validation-data", pairs) == 0
    assert "used for validation" not in caplog.text
    shutil.copytree(pairs, tmp_path / "copy")
    write_image(tmp_path / "copy/labels/two.tif", (frame.labels > 0).astype(np.uint8))
    inside = ("train", pairs, "-o", tmp_path / "copy/labels", *SMALL)
    assert "where the data are" in refused(capsys, *inside, "--validation-data", tmp_path / "copy")
    write_image(tmp_path / "copy/images/two.tif", frame.image)
    words = ("train", pairs, "-o", tmp_path / "third", *SMALL)
    assert cli(*words, "--validation-data", tmp_path / "copy") == 0
    assert "copy/one: both trained on and used for validation." in caplog.text
    assert "copy/two: most numbers in the labels have several separate pieces" in caplog.text


def test_a_predicted_sequence_follows_the_format_of_the_challenge(data, model, tmp_path):
    assert cli("predict", data / "02", "-m", model, "-o", tmp_path / "02_RES") == 0
    masks = sorted((tmp_path / "02_RES").iterdir())
    assert [mask.name for mask in masks] == ["mask000.tif", "mask001.tif"]
    image = read_image(data / "02/t001.tif")
    expected = label_cells(foreground(predict(image, load_model(model))))
    assert read_image(masks[1]).dtype == np.uint16
    assert np.array_equal(read_image(masks[1]), expected)


@pytest.mark.parametrize(("flags", "kind"), [(("--dtype", "float16"), "f"), (("--classes",), "u")])
def test_a_sequence_keeps_its_names_unless_cells_are_written(data, model, tmp_path, flags, kind):
    assert cli("predict", data / "02", "-m", model, "-o", tmp_path / "out", *flags) == 0
    found = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in found] == ["t000.tif", "t001.tif"]
    assert {read_image(path).dtype.kind for path in found} == {kind}


def test_images_and_labels_named_like_frames_can_be_trained_on_and_scored(data, model, tmp_path):
    (tmp_path / "mine").mkdir()
    shutil.copytree(data / "01", tmp_path / "mine/images")
    shutil.copytree(data / "01_GT/SEG", tmp_path / "mine/labels")
    for path in sorted((tmp_path / "mine/labels").iterdir()):
        path.rename(path.with_name(path.name.replace("man_seg", "t")))
    assert cli("train", tmp_path / "mine", "-o", tmp_path / "run", *SMALL) == 0
    words = ("predict", tmp_path / "mine/images", "-m", model, "-o", tmp_path / "found")
    assert cli(*words) == 0
    assert cli("evaluate", tmp_path / "mine/labels", tmp_path / "found") == 0


def test_microscope_images_are_not_scored_as_masks(data, capsys):
    told = refused(capsys, "evaluate", data / "01_GT", data / "01")
    assert "holds no label image for frames 000, 001" in told


def test_an_unfinished_sequence_of_cells_is_not_resumed_for_probabilities(
    data, model, tmp_path, monkeypatch, capsys
):
    words = ("predict", data / "02", "-m", model, "-o", tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr("unet2015.commands.predict.set_done", Mock(side_effect=KeyboardInterrupt))
        assert cli(*words) == 130
    told = refused(capsys, *words, "--dtype", "float32")
    assert "kind labels instead of probability" in told


@pytest.mark.parametrize("average", ["mirrored", "rotated"])
def test_predictions_are_averaged_on_request(model, tmp_path, caplog, average):
    image = np.random.default_rng(0).integers(0, 255, (60, 70), dtype=np.uint8)
    write_image(tmp_path / "a.tif", image)
    words = ("predict", tmp_path / "a.tif", "-m", model, "-o", tmp_path / "b.tif", "--tile", 60)
    assert cli(*words, "--average", average) == 0
    assert f"averaged over {'4 mirrored' if average == 'mirrored' else '8 rotated'} images" in (
        caplog.text
    )
    engine = choose_engine(average=average)
    found, known = read_image(tmp_path / "b.tif"), load_model(model)
    np.testing.assert_allclose(found, predict(image, known, tile=60, engine=engine)[1], atol=1e-5)
    assert np.abs(found - predict(image, known, tile=60)[1]).max() > 1e-3


def test_cells_below_the_minimum_of_the_model_are_dropped_by_default(model, tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (60, 70), dtype=np.uint8)
    write_image(tmp_path / "a.tif", image)
    known = load_model(model)
    inside = foreground(predict(image, known))
    sizes = np.bincount(label_cells(inside).ravel())[1:]
    limit = int(np.median(sizes)) + 1
    save_model(model, dataclasses.replace(known, min_size=limit))
    words = ("predict", tmp_path / "a.tif", "-m", model, "-o", tmp_path / "b.tif", "--labels")
    assert cli(*words) == 0
    assert read_image(tmp_path / "b.tif").max() == (sizes >= limit).sum() < len(sizes)
    assert cli(*words, "--min-size", 0) == 0
    assert read_image(tmp_path / "b.tif").max() == len(sizes)


def test_glob_patterns_are_expanded_on_windows(data, model, tmp_path, capsys):
    folder, out = data / "02 [x]", tmp_path / "out"
    (data / "02").rename(folder)
    (folder / "t003.tif").symlink_to("nowhere")
    (folder / "._t000.tif").touch()
    words = ("predict", folder / "t00*.tif", "-m", model, "-o", out)
    assert "t00*.tif does not exist" in refused(capsys, *words)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("platform.system", lambda: "Windows")
        assert cli(*words) == 0
        assert sorted(os.listdir(out)) == ["t000.tif", "t001.tif"]
        for absent in ("x*.tif", "t003.tif", "t00[0].tif", "**.txt"):
            told = refused(capsys, "predict", folder / absent, "-m", model, "-o", out)
            assert f"{absent} does not exist" in told


def test_names_that_collide_on_the_disk_are_refused(data, model, tmp_path, capsys, monkeypatch):
    image = read_image(data / "02" / "t000.tif")
    for name in ("a/Cell.tif", "b/cell.tif"):
        (tmp_path / name).parent.mkdir()
        write_image(tmp_path / name, image)
    words = (tmp_path / "a", tmp_path / "b", "-m", model, "-o", tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr("platform.system", lambda: "Darwin")
        assert "would both become" in refused(capsys, "predict", *words)
    assert cli("predict", *words) == 0


def test_files_left_out_of_a_folder_are_reported(data, model, tmp_path, caplog):
    write_image(data / "02/control.tif", np.eye(25, dtype=np.uint8))
    assert cli("predict", data / "02", "-m", model, "-o", tmp_path / "out") == 0
    assert "left out: control.tif" in caplog.text
    zarr = tmp_path / "images/b.zarr"
    zarr.mkdir(parents=True)
    (zarr / ".zarray").write_text("")
    write_image(tmp_path / "images/a.tif", np.eye(25, dtype=np.uint8))
    assert cli("predict", tmp_path / "images", "-m", model, "-o", tmp_path / "out") == 0
    assert "left out: b.zarr; name them one by one to predict them" in caplog.text
    assert "written by unet2015" in caplog.text, "as write_image does, which made a.tif"


def test_images_in_folders_of_a_folder_are_pointed_out(model, tmp_path, caplog, capsys):
    write_image(tmp_path / "mine/images/a.tif", np.eye(25, dtype=np.uint8))
    words = ("predict", tmp_path / "mine", "-m", model, "-o", tmp_path / "out")
    told = refused(capsys, *words)
    assert f"but these folders do: {tmp_path / 'mine' / 'images'}." in told
    tifffile.imwrite(tmp_path / "mine/b.tif", np.eye(25, dtype=np.uint8))
    assert cli(*words) == 0
    assert f"left out: {tmp_path / 'mine' / 'images'}; name folders" in caplog.text
    assert "written by unet2015" not in caplog.text


def test_repeating_an_interrupted_command_says_what_is_complete(model, tmp_path, caplog, capsys):
    caplog.set_level("INFO")
    for name in "abc":
        write_image(tmp_path / "in" / f"{name}.tif", np.eye(25, dtype=np.uint8))
    (tmp_path / "in" / "c.tif").write_bytes(b"II*")
    words = ("predict", tmp_path / "in", "-m", model, "-o", tmp_path / "out")
    assert "1 of 3 images could not be predicted" in refused(capsys, *words)
    assert "resuming" not in caplog.text
    assert cli(*words) == 2
    assert "resuming: 2 of 3 results are recorded as complete." in caplog.text


def test_an_image_that_vanishes_does_not_stop_the_others(model, tmp_path, monkeypatch, capsys):
    images = tmp_path / "in"
    for name in "abc":
        write_image(images / f"{name}.tif", np.eye(25, dtype=np.uint8))
    words = ("predict", images, "-m", model, "-o", tmp_path / "out")
    (images / "c.tif").rename(tmp_path / "c.tif")
    (images / "c.tif").write_bytes(b"II*")
    assert cli(*words) == 2  # leaves a record, so that a repetition looks at all images
    (tmp_path / "c.tif").replace(images / "c.tif")
    monkeypatch.setattr(
        "unet2015.commands.predict.warn_of_other_masks", lambda _: (images / "a.tif").unlink()
    )
    assert "1 of 3 images could not be predicted" in refused(capsys, *words)
    assert (tmp_path / "out" / "c.tif").exists()


def test_ctrl_c_before_the_first_checkpoint_says_when_it_comes(data, tmp_path, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("unet2015.commands.train.train", interrupt)
    words = ("train", data, "--sequences", "01", "-o", tmp_path / "run", *SMALL[:-2])
    assert cli(*words, "--interval", 1000) == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        "unet2015: interrupted: before the first checkpoint, at iteration 4."
    )


def test_an_unfinished_prediction_is_not_tracked(data, model, tmp_path, capsys):
    (data / "02" / "t002.tif").write_bytes(b"II*")
    assert cli("predict", data / "02", "-m", model, "-o", tmp_path / "02_RES") == 2
    told = refused(capsys, "track", tmp_path / "02_RES")
    assert "holds an unfinished prediction: repeat the command" in told


def test_axes_and_pixel_size_are_kept(model, tmp_path):
    stack = np.random.default_rng(0).integers(0, 255, (2, 3, 20, 30), dtype=np.uint8)
    sizes = {"Y": (0.5, "µm"), "X": (0.25, "µm"), "Z": (2.0, "µm")}
    write_image(tmp_path / "stack.tif", stack, "TZYX", sizes)
    out = tmp_path / "probability.tif"
    assert cli("predict", tmp_path / "stack.tif", "-m", model, "-o", out) == 0
    with open_image(out) as result:
        assert (result.axes, result.shape, result.dtype) == ("TZYX", stack.shape, np.float32)
        assert result.pixel_size["X"] == pytest.approx((0.25, "µm"))
        expected = predict(stack[1, 2], load_model(model))[1]
        assert np.allclose(result.read((1, 2))[0], expected, atol=1e-6)


def test_several_images_give_files_of_the_same_names_in_a_folder(model, tmp_path):
    for name in ("a.tif", "b.png"):
        write_image(tmp_path / name, np.eye(25, dtype=np.uint8))
    words = ("predict", tmp_path / "a.tif", tmp_path / "b.png", "-m", model, "--labels")
    assert cli(*words, "-o", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.tif", "b.tif"]
    assert read_image(tmp_path / "out/b.tif").dtype == np.uint16


def test_foreign_files_are_not_replaced_under_derived_names(model, tmp_path, capsys):
    write_image(tmp_path / "images/a.tif", np.eye(25, dtype=np.uint8))
    words = ("predict", tmp_path / "images", "-m", model, "-o", tmp_path / "labels", "--labels")
    assert cli(*words) == 0
    assert cli(*words) == 0
    drawn = np.tri(25, dtype=np.uint8)
    tifffile.imwrite(tmp_path / "labels/a.tif", drawn)
    assert "labels/a.tif exists and was not written by unet2015" in refused(capsys, *words)
    assert np.array_equal(read_image(tmp_path / "labels/a.tif"), drawn)
    alone = tmp_path / "images/a.tif"
    assert cli("predict", alone, "-m", model, "-o", tmp_path / "labels/a.tif", "--labels") == 0


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("a.b.tif", "a.b-predicted.tif"),
        ("c.ome.tif", "c-predicted.ome.tif"),
        ("d.png", "d-predicted.tif"),
    ],
)
def test_the_result_is_beside_the_image_by_default(model, tmp_path, name, result):
    write_image(tmp_path / name, np.eye(25, dtype=np.uint8))
    before = set(tmp_path.iterdir())
    assert cli("predict", tmp_path / name, "-m", model) == 0
    assert set(tmp_path.iterdir()) - before == {tmp_path / result}
    write_image(tmp_path / "my-predicted.tif", np.eye(25, dtype=np.uint8))
    assert cli("predict", tmp_path, "-m", model, "-o", tmp_path / "out") == 0
    results = {path.name for path in (tmp_path / "out").iterdir()}
    assert results == {name.replace("png", "tif"), "my-predicted.tif"}


def test_a_folder_may_have_a_name_like_that_of_an_image(tmp_path):
    write_image(tmp_path / "in/a.tif", np.eye(25, dtype=np.uint8))
    write_image(tmp_path / "in/b.tif", np.eye(25, dtype=np.uint8))
    (tmp_path / "cells.tif").mkdir()
    planned = plan_results([tmp_path / "in"], tmp_path / "cells.tif")
    assert [target.name for _, target, _ in planned] == ["a.tif", "b.tif"]
    planned = plan_results([tmp_path / "in"], tmp_path / "new.cells")
    assert {target.parent for _, target, _ in planned} == {tmp_path / "new.cells"}


def test_a_sequence_of_one_frame_becomes_one_mask(model, tmp_path):
    write_image(tmp_path / "01/t000.tif", np.eye(25, dtype=np.uint8))
    for out in (tmp_path / "mask000.tif", tmp_path / "01"):
        assert cli("predict", tmp_path / "01", "-m", model, "-o", out) == 0
    for mask in (tmp_path / "mask000.tif", tmp_path / "01/mask000.tif"):
        assert read_image(mask).dtype == np.uint16


def test_images_of_equal_tile_shape_share_a_backend(model, tmp_path, monkeypatch):
    sizes = {"a.tif": (60, 70), "b.tif": (60, 70), "c.tif": (400, 90), "d.tif": (60, 70)}
    (tmp_path / "in").mkdir()
    for name, size in sizes.items():
        write_image(tmp_path / "in" / name, np.ones(size, np.uint8))
    asked = []
    monkeypatch.setattr(
        "unet2015.fileprediction.preparation.choose_backend",
        lambda engine, _backend, pixels, _channels: asked.append(pixels) or engine,
    )
    assert main(["predict", str(tmp_path / "in"), "-m", str(model), "-o", str(tmp_path / "o")]) == 0
    assert asked == [3 * 60 * 70, 400 * 90]
    asked.clear()
    tile = ["--tile", "60", "--overwrite"]
    words = [str(tmp_path / "in"), "-m", str(model), "-o", str(tmp_path / "o")]
    assert main(["predict", *words, *tile]) == 0
    assert asked == [3 * 60 * 70 + 400 * 90], "they all have the same tiles"


def test_the_folder_of_a_result_is_created(model, tmp_path):
    write_image(tmp_path / "a.tif", np.eye(25, dtype=np.uint8))
    assert cli("predict", tmp_path / "a.tif", "-m", model, "-o", tmp_path / "new/one/b.tif") == 0
    assert read_image(tmp_path / "new/one/b.tif").shape == (25, 25)


def test_several_images_need_a_folder(model, tmp_path, capsys):
    write_image(tmp_path / "a.tif", np.eye(25, dtype=np.uint8))
    words = ("predict", tmp_path / "a.tif", tmp_path / "a.tif", "-m", model)
    assert "give a folder with --out" in refused(capsys, *words)


def test_bad_prediction_input_gets_one_sentence(model, tmp_path, capsys):
    image, out = tmp_path / "image.tif", tmp_path / "out.tif"
    write_image(image, np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((64, 64, 3), np.uint8), photometric="rgb")
    cut = tmp_path / "cut.tif"
    cut.write_bytes(image.read_bytes()[:-500])
    write_image(tmp_path / "nan.tif", np.full((64, 64), np.nan, np.float32))
    pngs = tmp_path / "pngs"
    pngs.mkdir()
    write_image(pngs / "a.png", np.eye(64, dtype=np.uint8))
    before = image.read_bytes()
    for inputs, target, extra, message in [
        ([tmp_path / "no.tif"], out, (), "does not exist"),
        ([cut], out, (), "truncated"),
        ([tmp_path / "rgb.tif"], out, (), "3 channels"),
        ([tmp_path / "nan.tif"], out, (), "NaN"),
        ([image], out, ("--tile", 61), "nearest to yours: 60 and 64"),
        ([image], out, ("--min-size", -1), "--min-size"),
        ([image], out, ("--min-size", 9), "give --labels too"),
        ([image], out, ("--fill-holes",), "give --labels too"),
        ([image], out, ("--neck-depth", 7), "give --labels too"),
        ([image], out, ("--labels", "--dtype", "uint8"), "applies to probabilities, not to cells"),
        ([image], out.with_suffix(".jpg"), (), "results end in .tif, .png or .zarr"),
        ([image], out.with_suffix(".btf"), (), "results end in .tif, .tiff, .png, .zarr"),
        ([image], out, ("--labels", "--neck-depth", -1), "at least 0 pixels"),
        ([image], image, (), "is the input"),
        ([image, image], tmp_path / "two", (), "is given twice"),
        ([pngs], pngs, (), "pngs is the folder of a.png and may hold another a.tif"),
        ([pngs / "a.png"], pngs, (), "give another folder for the results"),
        ([image, cut], out, (), "cannot become one file"),
        ([image], image / "new" / "out.tif", (), "is not a writable folder"),
    ]:
        assert message in refused(capsys, "predict", *inputs, "-m", model, "-o", target, *extra)
    assert "does not exist" in refused(capsys, "predict", image, "-m", tmp_path / "m", "-o", out)
    inside = tmp_path / "all.zarr/0"
    cli("predict", image, "-m", model, "-o", tmp_path / "all.zarr")
    words = ("predict", inside, "-m", model, "-o", tmp_path / "all.zarr")
    assert "contains the input" in refused(capsys, *words)
    assert inside.is_dir()
    assert image.read_bytes() == before
    assert not out.exists()
    assert not list(tmp_path.rglob("*partial*"))


def test_a_tile_of_which_little_is_judged_is_warned_of(data, tmp_path, caplog):
    words = ("train", data, "--sequences", "01", "-o", tmp_path / "run", *SMALL, "--tile", "48")
    assert cli(*words) == 0
    assert "learns from 8 x 8 pixels only: a larger --tile, from 56 on, learns more" in caplog.text


def test_training_is_refused_before_the_data_are_read(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("unet2015.commands.train.load_frames", lambda *_: 1 / 0)
    (tmp_path / "log.csv").write_text("precious,1\n")
    (tmp_path / "curve").mkdir()
    (tmp_path / "curve/loss.png").touch()
    (data / "other").mkdir()
    (data / "other/photo.png").touch()
    for words, message in [
        (("--tile", "570"), "nearest to yours"),
        (("--depth", "9"), "not a valid input size for a U-Net of depth 9"),
        (("--base-channels", "0"), "base_channels is 0"),
        (("--dropout", "1"), "dropout is 1.0"),
        (("-o", tmp_path), "log.csv is not the log of a training run"),
        (("-o", data / "labels"), "is where the data are"),
        (("-o", data), "is where the data are"),
        (("-o", data / "02"), "is where the data are"),
        (("-o", data / "01_GT"), "is where the data are"),
        (("-o", data / "01_GT/SEG/run"), "is where the data are"),
        (("-o", data / "other"), "other holds images, such as photo.png"),
        (("-o", tmp_path / "curve"), "loss.png is not of a training run"),
        (("-o", tmp_path / "log.csv/run"), "log.csv"),
    ]:
        out = () if "-o" in words else ("-o", tmp_path / "run")
        assert message in refused(capsys, "train", data, "--sequences", "01", *words, *out)
    assert (tmp_path / "log.csv").read_text() == "precious,1\n"
    assert not (tmp_path / "run").exists()


def test_unusable_pixels_are_refused_before_the_run_begins(data, tmp_path, capsys):
    tifffile.imwrite(data / "01/t000.tif", np.full((70, 80), np.nan, np.float32))
    for words in [("01",), ("02", "--validation-sequences", "01")]:
        told = refused(capsys, "train", data, "--sequences", *words, "-o", tmp_path / "run", *SMALL)
        assert "are NaN or infinite" in told
        assert not (tmp_path / "run").exists()


def test_bad_training_input_gets_one_sentence(data, tmp_path, capsys):
    run = tmp_path / "run"
    for words, message in [
        ((tmp_path / "no",), "no does not exist"),
        ((data / "01/t000.tif",), "is not a folder"),
        ((data, "--sequences", "01", "--validation-sequences", "01"), "choose one"),
        ((data,), "--sequences 01"),
        ((data, "--sequences", "01", "01"), "twice"),
        ((data, "--sequences", "03"), "does not exist"),
        ((data, "--sequences", "01", "--resume"), "holds no run to resume"),
        ((data, "--sequences", "01", "--silver"), "01_ST"),
        ((data, "--sequences", "01", "--tile", "570"), "nearest to yours"),
        ((data, "--sequences", "01", "--margin", "400"), "margin"),
        ((data, "--sequences", "01", "--device", "cuda"), "no CUDA device"),
    ]:
        assert message in refused(capsys, "train", *words, "-o", run)
    corner = np.pad(np.ones((4, 4), np.uint16), [(0, 66), (0, 76)])
    for number in range(2):
        tifffile.imwrite(data / f"02_GT/SEG/man_seg{number:03d}.tif", corner)
    words = ("--sequences", "01", "--validation-sequences", "02", "--margin", "20")
    assert "lie within the margin" in refused(capsys, "train", data, *words, "-o", run)
    tifffile.imwrite(data / "01_GT/SEG/man_seg001.tif", np.zeros((70, 80, 3), np.uint8))
    assert "man_seg001" in refused(capsys, "train", data, "--sequences", "01", "-o", run)
    assert not run.exists()
    blocked = tmp_path / "file"
    blocked.write_text("")
    told = refused(capsys, "train", data, "--sequences", "02", "-o", blocked, *SMALL)
    assert "file is not a writable folder" in told


def test_a_training_stopped_by_ctrl_c_can_be_resumed(data, tmp_path):
    run = tmp_path / "run"
    many = [*SMALL[:-3], "100000", "--interval", "2"]
    command = [sys.executable, "-m", "unet2015", "train", str(data), "--sequences", "01"]
    with subprocess.Popen(
        [*command, "-o", str(run), *many],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 120
        while not (run / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        started = (run / "checkpoint.safetensors").exists()
        os.killpg(process.pid, signal.SIGINT)
        _, shown = process.communicate(timeout=60)
    assert started, "no checkpoint within two minutes"
    assert process.returncode == 130
    assert "Traceback" not in shown
    assert shown.endswith("unet2015: interrupted: --resume resumes from the last checkpoint.\n")
    load_model(run)


def test_the_library_stays_quiet(data, model, capsys, caplog):
    with caplog.at_level(logging.WARNING):
        predict(read_image(data / "01/t000.tif"), load_model(model))
    captured = capsys.readouterr()
    assert (captured.out, captured.err, caplog.records) == ("", "", [])
