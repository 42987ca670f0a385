import errno
import os
import random
import signal
import subprocess
import sys
import time
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
import zarr
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import binary_fill_holes

from unet2015 import InputError, save_model
from unet2015.checkpoint import Model, load_model
from unet2015.cli import main
from unet2015.engines.device import Engine
from unet2015.errors import ImageError
from unet2015.fileprediction.imagefile import explain_full_disk, predict_file, scratch_folder
from unet2015.fileprediction.results import Result, number_stack, write_result
from unet2015.fileprediction.scratch import Scratch
from unet2015.images import open_image, read_image, write_image
from unet2015.instances import foreground, label_cells
from unet2015.instances.necks import part_at_necks
from unet2015.prediction import predict
from unet2015.tiles import TileGrid
from unet2015.unet import UNet

CPU = Engine(torch.device("cpu"))
SIZES = {"Y": (0.5, "µm"), "X": (0.25, "µm")}
PIXELS = "unet2015.fileprediction.scratch.ScratchPixels.__setitem__"


@pytest.fixture
def large(monkeypatch):
    """Treat every image as large."""
    monkeypatch.setattr("unet2015.fileprediction.imagefile.RESUMABLE_FROM", 0)
    monkeypatch.setattr("unet2015.images.streaming.STREAMED_FROM", 0)


@pytest.fixture
def model(tmp_path):
    """A network whose foreground is about half of the image."""
    torch.manual_seed(3)
    network = UNet(base_channels=3, depth=2)
    image = blobs((200, 200))
    probability = predict(image, Model(network, "standard"))[1]
    threshold = float(np.median(np.log(probability / (1 - probability))))
    network.classifier.bias.data[0] += threshold
    save_model(tmp_path / "model.safetensors", Model(network, "standard"))
    return tmp_path / "model.safetensors"


def blobs(shape, seed=0, dtype=np.uint8):
    coarse = np.random.default_rng(seed).integers(0, 250, tuple(n // 5 + 2 for n in shape))
    return np.kron(coarse, np.ones((5, 5)))[tuple(map(slice, shape))].astype(dtype)


def cli(*words):
    return main([str(word) for word in words])


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.tif"
    write_image(path, blobs((301, 217)), pixel_size=SIZES)
    return path


def write_channels(path, pixels, names):
    metadata = {"axes": "CYX", "Channel": {"Name": names}}
    tifffile.imwrite(path, pixels, ome=True, photometric="minisblack", metadata=metadata)


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.usefixtures("large")
def test_tiled_file_prediction_equals_whole_image_prediction(model, image, dtype, suffix):
    out = image.with_name(f"out.{suffix}")
    assert cli("predict", image, "-m", model, "-o", out, "--tile", 84, "--dtype", dtype) == 0
    expected = predict(read_image(image), load_model(model))[1]
    with open_image(out) as result:
        assert result.dtype == dtype
        assert result.pixel_size["X"] == pytest.approx((0.25, "µm"))
        found = result.read()[0]
    if dtype == "uint8":
        assert np.abs(found - expected * 255.0).max() <= 0.51
    else:
        assert np.abs(found - expected).max() <= (1e-5 if dtype == "float32" else 1e-3)
    assert not hidden(image.parent)


@pytest.mark.parametrize(
    ("extra", "made"),
    [
        ((), label_cells),
        (("--min-size", 30, "--fill-holes"), lambda mask: label_cells(mask, 30, fill_holes=True)),
        (
            ("--min-size", 9, "--fill-holes", "--neck-depth", 0.5),
            lambda mask: label_cells(part_at_necks(binary_fill_holes(mask), 0.5), 9),
        ),
    ],
)
@pytest.mark.usefixtures("large")
def test_cells_across_tiles_match_those_of_the_whole_image(model, image, extra, made):
    out = image.with_name("cells.tif")
    assert cli("predict", image, "-m", model, "-o", out, "--tile", 84, "--labels", *extra) == 0
    mask = foreground(predict(read_image(image), load_model(model)))
    expected = made(mask)
    assert expected.max() > 10
    assert np.array_equal(read_image(out), expected)


def test_a_class_map_is_written(model, image):
    out = image.with_name("classes.tif")
    assert cli("predict", image, "-m", model, "-o", out, "--classes") == 0
    found = read_image(out)
    assert found.dtype == np.uint8
    assert np.array_equal(found, predict(read_image(image), load_model(model)).argmax(0))


def test_the_probability_is_that_of_all_classes_but_the_background():
    probabilities = np.array([0.25, 0.25, 0.5], np.float32)[:, None, None]
    assert Result().encode(probabilities) == 0.75
    assert Result(dtype="uint8").encode(probabilities) == 191


def test_more_cells_than_uint16_can_count_keep_their_numbers():
    pixels = np.zeros((2, 514, 514), np.uint8)
    pixels[0, ::2, ::2] = 1
    image = SimpleNamespace(planes=[(0,), (1,)], path="image.tif")
    stack = number_stack(pixels, image, Result("labels"))
    assert stack[0, slice(0, 514), slice(0, 514)].max() == 257**2


@pytest.mark.parametrize(
    ("result", "expected"),
    [(Result("classes"), {0, 2}), (Result("labels"), {0, 1}), (Result(dtype="uint8"), {0, 1, 2})],
)
def test_pyramid_levels_of_classes_and_cells_hold_no_mixtures(tmp_path, result, expected):
    pixels = np.zeros((700, 700), np.uint8)
    pixels[101:, 101:] = 2
    image = SimpleNamespace(planes=[()], plane_axes="", pixel_size={}, path="image.tif")
    write_result(tmp_path / "out.zarr", pixels, image, result)
    assert set(np.unique(zarr.open_array(tmp_path / "out.zarr/1", mode="r")[:])) == expected


@pytest.mark.parametrize("big", [False, True])
def test_each_plane_has_its_own_statistics_and_numbers(model, tmp_path, request, big):
    if big:
        request.getfixturevalue("large")
    planes = [[blobs((60, 71), 3 * t + z) * (z + 1) // 3 for z in range(3)] for t in range(2)]
    write_image(tmp_path / "stack.tif", np.array(planes, np.uint8), "TZYX")
    words = ("predict", tmp_path / "stack.tif", "-m", model, "-o", tmp_path / "out.tif")
    assert cli(*words, "--labels", "--tile", 60) == 0
    with open_image(tmp_path / "out.tif") as result:
        assert result.axes == "TZYX"
        for t, z in result.planes:
            expected = label_cells(foreground(predict(planes[t][z], load_model(model))))
            assert np.array_equal(result.read((t, z))[0], expected)


def test_integers_are_normalised_by_the_range_of_their_type(tmp_path):
    model, path = Model(UNet(base_channels=2, depth=2), "range"), tmp_path / "image.tif"
    write_image(path, blobs((60, 70)) // 125)
    predict_file(path, tmp_path / "out.tif", model, CPU, Result())
    expected = predict(read_image(path), model)[1]
    assert np.allclose(read_image(tmp_path / "out.tif"), expected, atol=1e-5)


def test_the_plane_that_is_out_of_range_is_named(tmp_path):
    model, path = Model(UNet(base_channels=2, depth=2), "range"), tmp_path / "stack.tif"
    write_image(path, np.stack([np.eye(25, dtype=np.float32), np.full((25, 25), 7.0)]), "TYX")
    with pytest.raises(ImageError, match=r"stack\.tif \(T 1\)"):
        predict_file(path, tmp_path / "out.tif", model, CPU, Result())


@pytest.mark.usefixtures("large")
def test_one_of_several_channels_can_be_selected(model, tmp_path):
    pixels = np.stack([blobs((60, 70), seed) for seed in range(3)])
    write_channels(tmp_path / "rgb.ome.tif", pixels, ["r", "g", "b"])
    words = ("predict", tmp_path / "rgb.ome.tif", "-m", model, "-o", tmp_path / "out.tif")
    assert cli(*words, "--channels", "g") == 0
    expected = predict(pixels[1], load_model(model))[1]
    assert np.allclose(read_image(tmp_path / "out.tif"), expected, atol=1e-5)


PROGRAM = """
import sys
import unet2015.fileprediction.imagefile, unet2015.fileprediction.results, unet2015.cli
unet2015.fileprediction.imagefile.RESUMABLE_FROM = unet2015.fileprediction.results.STREAMED_FROM = 0
sys.exit(unet2015.cli.main(sys.argv[1:]))
"""


@pytest.mark.usefixtures("large")
def test_a_repeatedly_killed_run_gives_the_same_file(model, tmp_path, caplog):
    image, out = tmp_path / "big.tif", tmp_path / "out.tif"
    write_image(image, blobs((450, 450)))
    words = ["predict", image, "-m", model, "--labels", "--tile", 84, "--device", "cpu"]
    words += ["--precision", "float32"]
    assert cli(*words, "-o", tmp_path / "undisturbed.tif") == 0
    ledger = tmp_path / ".out.tif.unet2015" / "ledger.jsonl"
    generator = random.Random(0)
    lengths = [0]
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, words), "-o", out],
            stderr=subprocess.DEVNULL,
        )
        goal = lengths[-1] + 700
        while process.poll() is None and not (ledger.exists() and ledger.stat().st_size > goal):
            time.sleep(0.005)
        time.sleep(0.05 * generator.random())
        assert process.poll() is None, "it was to be killed while it ran"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        lengths.append(ledger.stat().st_size)
        assert not out.exists()
    caplog.clear()
    assert cli(*words, "-o", out) == 0
    assert f"resuming {out}." in caplog.messages
    assert out.read_bytes() == (tmp_path / "undisturbed.tif").read_bytes()
    assert not hidden(tmp_path)


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
@pytest.mark.usefixtures("large")
def test_a_result_is_synced_before_the_scratch_folder_is_removed(model, image, monkeypatch, name):
    synced, before = [], []
    fsync, remove = os.fsync, Scratch.remove
    monkeypatch.setattr(os, "fsync", lambda n: (synced.append(os.fstat(n).st_ino), fsync(n)))
    monkeypatch.setattr(Scratch, "remove", lambda self: (before.extend(synced), remove(self)))
    out = image.with_name(name)
    assert cli("predict", image, "-m", model, "-o", out, "--tile", 84) == 0
    assert {path.stat().st_ino for path in (*out.rglob("*"), out, out.parent)} <= set(before)


@pytest.mark.parametrize("where", ["pixels", "ledger", "result"])
@pytest.mark.usefixtures("large")
def test_a_full_disk_gets_one_sentence_and_the_run_resumes(
    model, image, capsys, monkeypatch, where
):
    out = image.with_name("out.tif")
    words = ("predict", image, "-m", model, "-o", out, "--tile", 84)
    assert cli(*words[:-3], image.with_name("undisturbed.tif"), *words[-2:]) == 0
    with monkeypatch.context() as patched:
        patched.setattr(*{
            "pixels": (PIXELS, failing(5, "pixels")),
            "ledger": ("unet2015.fileprediction.scratch.Ledger.__setitem__", failing(9, "ledger")),
            "result": ("tifffile.TiffWriter.write", failing(0, "result")),
        }[where])  # fmt: skip
        capsys.readouterr()
        assert cli(*words) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "out.tif is full: free some space and repeat the command" in message
    assert not out.exists()
    computed = []
    real = UNet.forward
    monkeypatch.setattr(UNet, "forward", lambda self, x: (computed.append(1), real(self, x))[1])
    assert cli(*words) == 0
    assert len(computed) < 42 - {"pixels": 4, "ledger": 4, "result": 41}[where]
    assert out.read_bytes() == image.with_name("undisturbed.tif").read_bytes()


FULL = OSError(errno.ENOSPC, "No space left on device")


def failing(after, what, error=FULL):
    from unet2015.fileprediction.scratch import Ledger, ScratchPixels

    real = {
        "pixels": ScratchPixels.__setitem__,
        "ledger": Ledger.__setitem__,
        "result": tifffile.TiffWriter.write,
    }[what]
    calls = []

    def call(*arguments, **keywords):
        calls.append(1)
        if len(calls) > after:
            raise error
        return real(*arguments, **keywords)

    return call


@pytest.fixture
def interrupted(request, model, image, monkeypatch):
    """An interrupted command, which left its scratch folder."""
    request.getfixturevalue("large")
    words = ("predict", image, "-m", model, "-o", image.with_name("out.tif"), "--tile", 84)
    with monkeypatch.context() as patched:
        patched.setattr(PIXELS, failing(5, "pixels"))
        assert cli(*words) == 2
    return words


@pytest.mark.parametrize("what", ["input", "model", "tile", "average", "output"])
def test_the_refusal_to_resume_names_what_changed(interrupted, model, image, capsys, what):
    words, message = list(interrupted), f"another {what}"
    if what == "input":
        message = "image.tif is not the image whose unfinished"
        write_image(image, blobs((301, 217), 7))
    elif what == "model":
        save_model(model, Model(UNet(base_channels=3, depth=2), "minmax"))
    elif what == "tile":
        words[-1], message = 100, "tile 84 instead of 100"
    elif what == "average":
        words, message = [*words, "--average", "mirrored"], "average none instead of mirrored"
    else:
        words, message = [*words, "--labels"], "output probability float32 instead of labels"
    assert cli(*words) == 2
    assert message in capsys.readouterr().err
    assert cli(*words, "--overwrite") == 0
    assert not hidden(image.parent)


@pytest.mark.usefixtures("large")
def test_a_drive_for_small_files_only_gets_one_sentence(model, image, capsys, monkeypatch):
    monkeypatch.setattr(
        "tifffile.TiffWriter.write", failing(0, "result", OSError(errno.EFBIG, "File too large"))
    )
    assert cli("predict", image, "-m", model, "-o", image.with_name("out.tif")) == 2
    assert "does not allow files of this size: choose another drive" in capsys.readouterr().err
    assert not image.with_name("out.tif").exists()


@pytest.mark.usefixtures("large")
def test_an_image_with_reordered_channels_is_not_resumed(model, image, tmp_path, monkeypatch):
    pixels = np.stack([blobs((301, 217), seed) for seed in (1, 2)])
    write_channels(image, pixels, ["DAPI", "GFP"])
    how = load_model(model), CPU, Result(), ("DAPI",), 84
    with monkeypatch.context() as patched:
        patched.setattr(PIXELS, failing(5, "pixels"))
        with pytest.raises(InputError, match="is full"):
            predict_file(image, tmp_path / "out.tif", *how)
    write_channels(image, pixels, ["GFP", "DAPI"])
    with pytest.raises(ImageError, match="is not the image whose unfinished"):
        predict_file(image, tmp_path / "out.tif", *how)


@pytest.mark.usefixtures("large")
def test_work_on_another_channel_or_by_another_version_is_not_resumed(model, image, monkeypatch):
    write_channels(image, np.stack([blobs((301, 217), seed) for seed in (1, 2)]), ["DAPI", "GFP"])
    how = image, image.with_name("out.tif"), load_model(model), CPU, Result()
    with monkeypatch.context() as patched:
        patched.setattr(PIXELS, failing(5, "pixels"))
        with pytest.raises(InputError, match="is full"):
            predict_file(*how, ("DAPI",), 84)
    with pytest.raises(InputError, match="channels"):
        predict_file(*how, ("GFP",), 84)
    monkeypatch.setattr("unet2015.fileprediction.imagefile.__version__", "0.0")
    with pytest.raises(InputError, match="version"):
        predict_file(*how, ("DAPI",), 84)


def test_an_exhausted_quota_is_a_full_disk(tmp_path):
    with pytest.raises(InputError, match="is full"), explain_full_disk(tmp_path):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")


def test_work_on_a_temporarily_unreachable_image_resumes(
    interrupted, image, capsys, caplog, monkeypatch
):
    def withheld(*_):
        raise FileNotFoundError(errno.ENOENT, "No such file", "part.tif")

    begun = image.with_name(".out.tif.unet2015") / "ledger.jsonl"
    known = begun.read_text()
    with monkeypatch.context() as patched:
        patched.setattr("unet2015.images.tiff.TiffImage._bytes", withheld)
        assert cli(*interrupted) == 2
    assert "part.tif no longer exists" in capsys.readouterr().err
    assert begun.read_text() == known
    assert cli(*interrupted) == 0
    assert "resuming" in caplog.text


@pytest.mark.usefixtures("large")
def test_finished_tiles_survive_the_loss_of_the_image(model, image, monkeypatch):
    away, out = image.with_name("away.tif"), image.with_name("out.tif")

    def go(_):
        if image.exists():
            image.rename(away)

    with pytest.raises(InputError, match="no longer exists"):
        predict_file(image, out, load_model(model), CPU, Result(), tile=84, progress=go)
    away.rename(image)
    done = []
    monkeypatch.setattr(PIXELS, lambda *_: done.append(1))
    predict_file(image, out, load_model(model), CPU, Result(), tile=84)
    assert not done


@pytest.mark.usefixtures("large")
def test_a_prediction_resumes_with_its_original_backend(model, image, monkeypatch):
    words = ("predict", image, "-m", model, "-o", image.with_name("out.tif"), "--tile", 84)
    with monkeypatch.context() as patched:
        patched.setattr(PIXELS, failing(5, "pixels"))
        assert cli(*words) == 2
    # With more images, another backend would be chosen.
    monkeypatch.setattr(
        "unet2015.fileprediction.preparation.choose_backend",
        lambda engine, *_: engine._replace(backend="compile"),
    )
    assert cli(*words) == 0


def test_a_requested_backend_is_not_replaced_by_that_of_the_record(
    interrupted, monkeypatch, capsys
):
    monkeypatch.setattr(
        "unet2015.fileprediction.preparation.choose_backend",
        lambda engine, *_: engine._replace(backend="compile"),
    )
    capsys.readouterr()
    assert cli(*interrupted, "--backend", "compile") == 2
    assert "backend torch instead of compile" in capsys.readouterr().err


@pytest.mark.usefixtures("large")
def test_a_damaged_record_of_the_backend_is_refused(model, image, monkeypatch, capsys):
    out = image.with_name("out.tif")
    words = ("predict", image, "-m", model, "-o", out, "--tile", 84)
    with monkeypatch.context() as patched:
        patched.setattr(PIXELS, failing(5, "pixels"))
        assert cli(*words) == 2
    record = scratch_folder(out) / "purpose.json"
    record.write_text(record.read_text().replace('"torch"', '"foo"'))
    capsys.readouterr()
    assert cli(*words) == 2
    assert "backend foo instead of torch" in capsys.readouterr().err


@pytest.mark.usefixtures("large")
def test_cell_settings_may_change_between_runs(model, image):
    words = ("predict", image, "-m", model, "-o", image.with_name("out.tif"), "--labels")
    assert cli(*words, "--keep-scratch") == 0
    assert cli(*words, "--min-size", 50) == 0
    mask = foreground(predict(read_image(image), load_model(model)))
    assert np.array_equal(read_image(image.with_name("out.tif")), label_cells(mask, 50))


@pytest.mark.usefixtures("large")
def test_free_memory_may_change_between_runs(model, image, monkeypatch, capsys):
    words = ("predict", image, "-m", model, "-o", image.with_name("out.tif"))
    with monkeypatch.context() as patched:
        patched.setattr("unet2015.tilesize._free_memory", lambda _: 2**22)
        patched.setattr(PIXELS, failing(3, "pixels"))
        assert cli(*words) == 2
    assert cli(*words) == 0
    expected = predict(read_image(image), load_model(model))[1]
    assert np.allclose(read_image(image.with_name("out.tif")), expected, atol=1e-5)
    assert "Traceback" not in capsys.readouterr().err


def test_a_kept_scratch_folder_is_removed_by_the_next_run(model, image, caplog):
    words = ("predict", image, "-m", model, "-o", image.with_name("out.tif"))
    for _ in range(2):
        assert cli(*words, "--keep-scratch") == 0
    assert "resuming" not in caplog.text
    assert cli(*words) == 0
    assert not hidden(image.parent)


def test_a_kept_scratch_folder_does_not_block_another_model(model, image, caplog):
    words = ("predict", image, "-m", model, "-o", image.with_name("out.tif"))
    assert cli(*words, "--keep-scratch") == 0
    save_model(model, Model(UNet(base_channels=2, depth=1), "standard"))
    assert cli(*words) == 0
    assert "resuming" not in caplog.text
    expected = predict(read_image(image), load_model(model))[1]
    assert np.allclose(read_image(image.with_name("out.tif")), expected, atol=1e-5)


def test_the_scratch_zarr_is_kept_on_request(model, image):
    out = image.with_name("out.tif")
    assert cli("predict", image, "-m", model, "-o", out, "--keep-scratch", "--tile", 84) == 0
    (pixels,) = image.with_name(".out.tif.unet2015").glob("pixels-*.zarr")
    kept = zarr.open_array(pixels, mode="r")
    assert np.array_equal(kept[:], read_image(out))


def test_a_file_that_changes_while_being_read_is_detected(model, image):
    def change(_):
        os.utime(image, (1, 1))

    out = image.with_name("out.tif")
    with pytest.raises(InputError, match="changed while it was read"):
        predict_file(image, out, load_model(model), CPU, Result(), progress=change)
    assert not out.exists()


@pytest.mark.usefixtures("large")
def test_an_unreadable_tile_is_reported_and_the_repaired_file_accepted(model, tmp_path, capsys):
    image, out = tmp_path / "image.tif", tmp_path / "out.tif"
    pixels = np.random.default_rng(0).integers(0, 250, (256, 256), dtype=np.uint8)
    tifffile.imwrite(image, pixels, tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(image) as file:
        offset = file.pages[0].dataoffsets[-1]
    damaged = bytearray(image.read_bytes())
    damaged[offset : offset + 500] = bytes(500)
    image.write_bytes(damaged)
    assert cli("predict", image, "-m", model, "-o", out, "--tile", 84) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "image.tif cannot be read (" in message
    assert message.endswith("copy or export it again.")
    assert image.read_bytes() == damaged
    assert not out.exists()
    tifffile.imwrite(image, pixels, tile=(64, 64), compression="zlib")
    assert cli("predict", image, "-m", model, "-o", out, "--tile", 84) == 0


def test_a_folder_resumes_at_the_interrupted_image(model, tmp_path, monkeypatch, capsys):
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    for number in range(4):
        write_image(folder / f"{number}.tif", blobs((50, 60), number))
    words = ("predict", folder, "-m", model, "-o", out, "--labels")
    real, predicted = predict_file, []

    def stopping(source, *arguments, **keywords):
        if len(predicted) == 2:
            raise KeyboardInterrupt
        predicted.append(source.name)
        return real(source, *arguments, **keywords)

    with monkeypatch.context() as patched:
        patched.setattr("unet2015.commands.predict.predict_file", stopping)
        assert cli(*words) == 130
        write_image(folder / "1.tif", blobs((50, 60), 9))
        assert cli(*words, "--min-size", 2) == 2
        assert "min_size 0 instead of 2" in capsys.readouterr().err
        predicted[:] = ["an image that has been done"]
        assert cli(*words) == 130
    assert predicted == ["an image that has been done", "1.tif"]
    (out / "0.tif").unlink()
    assert cli(*words) == 0
    assert sorted(path.name for path in out.iterdir()) == [f"{n}.tif" for n in range(4)]


@pytest.mark.usefixtures("large")
def test_bad_input_is_reported_before_any_computation(model, image, capsys):
    write_image(image.with_name("nan.tif"), np.full((64, 64), np.nan, np.float32))
    bad = np.zeros((3, 64, 64), np.float32)
    bad[2, 5, 5] = np.nan
    write_image(image.with_name("stack.tif"), bad, "TYX")
    positions = zarr.create_array(image.with_name("p.zarr"), shape=(2, 9, 9), dtype="uint8",
                                  chunks=(1, 9, 9), dimension_names=("p", "y", "x"))  # fmt: skip
    positions[:] = 1
    for source, target, extra, message in [
        (image, "out.png", (), "--dtype uint8"),
        (image, "out.tif", ("--labels", "--classes"), "exclude each other"),
        (image.with_name("nan.tif"), "out.tif", (), "nan.tif has pixels that are NaN"),
        (image.with_name("stack.tif"), "t.tif", (), "stack.tif (T 2) has pixels that are NaN"),
        (image.with_name("p.zarr"), "out.tif", (), "p.zarr has the axes PYX"),
    ]:
        words = ("predict", source, "-m", model, "-o", image.with_name(target), *extra)
        assert cli(*words) == 2
        assert message in capsys.readouterr().err
        assert not image.with_name(target).exists()


def test_a_stack_is_not_computed_for_a_png(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(UNet, "forward", None)
    write_image(tmp_path / "stack.tif", np.stack([blobs((60, 70))] * 2), "TYX")
    words = ("predict", tmp_path / "stack.tif", "-m", model, "-o", tmp_path / "out.png")
    assert cli(*words, "--dtype", "uint8") == 2
    assert "a PNG holds one small plane" in capsys.readouterr().err


def test_a_plane_too_large_for_a_png_is_not_said_to_fit_in_uint8(model, image, capsys, monkeypatch):
    monkeypatch.setattr("unet2015.fileprediction.preparation.STREAMED_FROM", 100)
    words = ("predict", image, "-m", model, "-o", image.with_name("out.png"))
    for extra in ((), ("--dtype", "uint8")):
        assert cli(*words, *extra) == 2
        message = capsys.readouterr().err
        assert "a PNG holds one small plane" in message
        assert "--dtype" not in message


@given(
    shape=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    output=st.tuples(st.integers(8, 50), st.integers(8, 50)),
    step=st.sampled_from([1, 2, 4, 8]),
)
def test_no_two_tiles_write_to_the_same_chunk(shape, output, step):
    grid = TileGrid(shape, output, border=4, step=step)
    height, width = grid.stride
    owners = {}
    for tile in grid:
        for chunk in product(
            range(tile.top // height, (tile.top + tile.height - 1) // height + 1),
            range(tile.left // width, (tile.left + tile.width - 1) // width + 1),
        ):
            assert owners.setdefault(chunk, tile) == tile
