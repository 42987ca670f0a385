"""Exported models compute what they compute here."""

import io
import json
import logging
import shutil
import sys
import zipfile
from importlib.util import find_spec
from types import SimpleNamespace

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch

from unet2015 import builtin, normalisation
from unet2015.checkpoint import Model, save_model
from unet2015.cli import main
from unet2015.errors import InputError
from unet2015.export import exchange
from unet2015.export.bioimageio_package import PAPER_DOI
from unet2015.export.exchange import Probabilities, write_onnx, write_torchscript
from unet2015.images import write_image
from unet2015.pictures import to_grey
from unet2015.unet import UNet

needs_extra = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("bioimageio", "onnxscript", "onnxruntime")),
    reason="the extra [bioimageio] is not installed",
)


def make_model(normalisation="standard", **settings):
    torch.manual_seed(0)
    network = UNet(**{"base_channels": 2, "depth": 2, **settings}).eval()
    return Model(network, normalisation)


@pytest.fixture
def stored(tmp_path):
    save_model(tmp_path / "model.safetensors", make_model())
    return str(tmp_path / "model.safetensors")


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The ONNX file of `make_model`, made once, since the exporter takes many seconds."""
    path = tmp_path_factory.mktemp("onnx") / "weights.onnx"
    write_onnx(path, make_model())
    return path


@pytest.fixture
def quick_onnx(exported, monkeypatch):
    monkeypatch.setattr(exchange, "write_onnx", lambda path, _model: shutil.copy(exported, path))


def probabilities(model, image):
    with torch.inference_mode():
        return Probabilities(model.network)(torch.from_numpy(image)).numpy()


@needs_extra
def test_onnx_accepts_every_valid_size(exported):
    import onnxruntime

    model = make_model()
    session = onnxruntime.InferenceSession(exported)
    assert session.get_modelmeta().custom_metadata_map["border"] == str(model.network.border)
    least = model.network.valid_input_size(1)
    for rows, columns in [(0, 0), (0, 7), (9, 1)]:
        shape = (least + rows * model.network.step, least + columns * model.network.step)
        image = np.random.default_rng(0).normal(size=(1, 1, *shape)).astype(np.float32)
        found = session.run(["probabilities"], {"image": image})[0]
        np.testing.assert_allclose(found, probabilities(model, image), atol=1e-5)


def test_torchscript_accepts_every_valid_size(tmp_path):
    model = make_model(depth=1, in_channels=3, preset="release")
    write_torchscript(tmp_path / "a.pt", model)
    facts = {"border.txt": ""}
    network = torch.jit.load(tmp_path / "a.pt", _extra_files=facts)
    assert facts["border.txt"] in (b"8", "8")
    for shape in [(18, 18), (18, 100), (76, 48)]:
        image = np.random.default_rng(0).normal(size=(1, 3, *shape)).astype(np.float32)
        found = network(torch.from_numpy(image)).detach().numpy()
        np.testing.assert_allclose(found, probabilities(model, image), atol=1e-6)


def test_torchscript_with_different_output_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.jit, "load", lambda _file: lambda image: image)
    with pytest.raises(InputError, match="does not compute what PyTorch does"):
        write_torchscript(tmp_path / "a.pt", make_model())
    assert not list(tmp_path.iterdir())


@needs_extra
def test_onnx_with_different_output_is_not_written(exported, tmp_path, monkeypatch):
    import onnxruntime

    class Program:
        """Stand-in for what `torch.onnx.export` returns."""

        model = SimpleNamespace(metadata_props={})

        def save(self, path, **_settings):
            shutil.copy(exported, path)

    class Session:
        def __init__(self, *_arguments, **_settings):
            pass

        def run(self, _names, inputs):
            return [inputs["image"]]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(torch.onnx, "export", lambda *_arguments, **_settings: Program())
    with pytest.raises(InputError, match="does not compute what PyTorch does"):
        write_onnx(tmp_path / "a.onnx", make_model())
    assert not list(tmp_path.iterdir())


@needs_extra
@pytest.mark.usefixtures("quick_onnx")
def test_a_package_that_bioimageio_refuses_is_not_written(stored, tmp_path, capsys, monkeypatch):
    from bioimageio import core

    class Detail:
        errors = (SimpleNamespace(msg="output differs " * 1000),)

    failed = SimpleNamespace(status="failed", details=[Detail], format=lambda: "long")
    monkeypatch.setattr(core, "test_model", lambda _path: failed)
    error = refusal([stored, "-o", str(tmp_path / "new" / "cells.zip")], capsys)
    assert "refuses the package: output differs" in error
    assert len(error) < 500
    assert not (tmp_path / "new").exists()


@needs_extra
@pytest.mark.usefixtures("quick_onnx")
@pytest.mark.parametrize("scheme", ["standard", "minmax", "range"])
def test_a_package_reproduces_the_prediction_from_raw_pixels(scheme, tmp_path):
    from bioimageio import core
    from bioimageio.core.digest_spec import create_sample_for_model

    image = np.random.default_rng(0).integers(300, 20_000, (120, 150), dtype=np.uint16)
    write_image(tmp_path / "sample.tif", image)
    model = make_model(scheme)
    save_model(tmp_path / "model.safetensors", model)
    words = ["--sample", str(tmp_path / "sample.tif"), "--author", "Ada", "--license", "CC-BY-4.0"]
    out = tmp_path / "cells.zip"
    assert main(["export", str(tmp_path / "model.safetensors"), "-o", str(out), *words]) == 0
    described = core.load_model_description(out)
    assert described.name == "U-Net 2015 cells"
    other = np.random.default_rng(1).integers(9, 900, (1, 1, 64, 60), dtype=np.uint16)
    expected = probabilities(model, normalisation.normalise(other[0], scheme)[None])
    for weights in ("onnx", "torchscript"):
        with core.create_prediction_pipeline(described, weight_format=weights) as pipeline:
            sample = create_sample_for_model(described, inputs={"image": other})
            result = pipeline.predict_sample_without_blocking(sample).members["probabilities"]
        np.testing.assert_allclose(result.data.data, expected, atol=1e-4)


@needs_extra
@pytest.mark.usefixtures("quick_onnx")
def test_a_package_describes_the_model(stored, tmp_path):
    from bioimageio import core

    words = ["--author", "Ada", "Bo", "--license", "CC-BY-4.0", "--description", "Finds dots."]
    words += ["--name", "Dots (2)"]
    out = str(tmp_path / "cells.zip")
    assert main(["export", stored, "-o", out, *words]) == 0
    described = core.load_model_description(out)
    assert (described.name, described.description) == ("Dots (2)", "Finds dots.")
    assert [author.name for author in described.authors] == ["Ada", "Bo"]
    assert str(described.license) == "CC-BY-4.0"
    assert [str(entry.doi) for entry in described.cite] == [PAPER_DOI]
    (image,), (classes,) = described.inputs, described.outputs
    assert [(axis.size.min, axis.size.step) for axis in image.axes[2:]] == [(44, 4)] * 2
    assert [axis.size.offset for axis in classes.axes[2:]] == [-40, -40]
    assert [str(name) for name in classes.axes[1].channel_names] == ["background", "cell"]
    (normalised,) = (step for step in image.preprocessing if step.id == "zero_mean_unit_variance")
    assert [str(axis) for axis in normalised.kwargs.axes] == ["y", "x"]  # each channel on its own
    with zipfile.ZipFile(out) as archive:
        text = " ".join(archive.read("README.md").decode().split())
    assert "Finds dots. A [U-Net" in text
    assert "must be 44, 44 + 4, 44 + 2 * 4, and so on" in text
    assert "The output is 40 pixels smaller: 20 pixels are missing on each side" in text
    assert "The training data are not stated." in text


@needs_extra
@pytest.mark.usefixtures("quick_onnx")
def test_the_sample_is_the_corner_of_the_first_plane(stored, tmp_path):
    image = np.random.default_rng(0).normal(size=(2, 540, 150)).astype(np.float32)
    write_image(tmp_path / "sample.tif", image, "TYX")
    words = ["--sample", str(tmp_path / "sample.tif")]
    assert main(["export", stored, "-o", str(tmp_path / "cells.zip"), *words]) == 0
    with zipfile.ZipFile(tmp_path / "cells.zip") as archive:
        given, expected = (
            np.load(io.BytesIO(archive.read(f"test_{kind}.npy"))) for kind in ("input", "output")
        )
        cover = imagecodecs.png_decode(archive.read("cover.png"))
    np.testing.assert_array_equal(given[0, 0], image[0, :512, :148])
    grey, shown = np.split(cover, 2, axis=1)
    np.testing.assert_array_equal(grey, np.rint(255 * to_grey(given[0, 0])))
    np.testing.assert_array_equal(shown[:20], grey[:20])
    np.testing.assert_allclose(shown[20:-20, 20:-20], 255 * expected[0, 1], atol=0.51)


@needs_extra
@pytest.mark.usefixtures("quick_onnx")
def test_a_low_contrast_sample_can_be_packaged_under_any_file_name(stored, tmp_path):
    """bioimageio.core adds 1e-6 to the standard deviation, which is much at 0.0004."""
    image = np.random.default_rng(0).normal(1, 4e-4, (120, 148)).astype(np.float32)
    write_image(tmp_path / "sample.tif", image)
    words = ["--sample", str(tmp_path / "sample.tif")]
    assert main(["export", stored, "-o", str(tmp_path / f"zäh.v2{'x' * 200}.zip"), *words]) == 0


@needs_extra
@pytest.mark.usefixtures("quick_onnx")
def test_a_package_of_a_built_in_model_names_its_data(tmp_path, monkeypatch):
    from bioimageio import core

    facts = {"images": "dots", "pixel_size": 0.5, "data": "made-up cells", "score": "none"}
    facts |= {"citation": [["Nobody: Dots", "10.1000/182"]], "terms": "be kind"}
    monkeypatch.setattr(builtin, "HOME", tmp_path)
    monkeypatch.setattr(builtin, "INDEX", tmp_path / "models.json")
    builtin.INDEX.write_text(json.dumps({"tiny": facts}))
    save_model(tmp_path / "tiny.safetensors", make_model())
    assert main(["export", "tiny", "-o", str(tmp_path / "cells.zip")]) == 0
    described = core.load_model_description(tmp_path / "cells.zip")
    assert described.description == "Segments dots; 0.5 um per pixel."
    assert [(entry.text, entry.doi) for entry in described.cite][1:] == [
        ("Nobody: Dots", "10.1000/182")
    ]
    with zipfile.ZipFile(tmp_path / "cells.zip") as archive:
        text = archive.read("README.md").decode()
    assert "Trained on made-up cells. Terms: be kind." in text


def refusal(words, capsys):
    assert main(["export", *words]) == 2
    return capsys.readouterr().err


def test_bad_options_get_one_sentence(stored, tmp_path, capsys):
    assert ".zip, .onnx or .pt" in refusal([stored, "-o", str(tmp_path / "a.tif")], capsys)
    named = [stored, "-o", str(tmp_path / "a.pt"), "--author", "A"]
    assert "ends in .zip" in refusal(named, capsys)
    assert not (tmp_path / "a.pt").exists()


@needs_extra
def test_a_sample_that_does_not_fit_is_refused(stored, tmp_path, capsys):
    sample, out = tmp_path / "small.tif", tmp_path / "a.zip"
    write_image(sample, np.zeros((30, 200), np.uint8))
    asked = [stored, "-o", str(out), "--sample", str(sample)]
    assert "at least 44 x 44" in refusal(asked, capsys)
    tifffile.imwrite(sample, np.zeros((60, 60, 3), np.uint8), photometric="rgb")
    assert "has 3 channels, the model takes 1" in refusal(asked, capsys)
    assert not out.exists()


@needs_extra
@pytest.mark.usefixtures("quick_onnx")
def test_metadata_that_the_format_forbids_is_refused(stored, tmp_path, capsys):
    words = [stored, "-o", str(tmp_path / "a.zip")]
    assert "'a/b: c' is not allowed" in refusal([*words, "--name", "a/b: c"], capsys)
    for name in ("dots", "x" * 129):
        assert "use 5 to 128 letters" in refusal([*words, "--name", name], capsys)
    assert "SPDX" in refusal([*words, "--license", "nonsense"], capsys)
    assert "no name" in refusal([*words, "--author", " "], capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


@needs_extra
@pytest.mark.usefixtures("quick_onnx")
def test_missing_or_constant_samples_are_refused(tmp_path, capsys):
    save_model(tmp_path / "model.safetensors", make_model("range"))
    words = [str(tmp_path / "model.safetensors"), "-o", str(tmp_path / "a.zip")]
    assert "type of the images" in refusal(words, capsys)
    write_image(tmp_path / "flat.tif", np.full((60, 60), 7, np.uint8))
    assert "same everywhere" in refusal([*words, "--sample", str(tmp_path / "flat.tif")], capsys)


def test_exported_torchscript_refuses_invalid_sizes(stored, tmp_path):
    out = tmp_path / "new" / "a.pt"
    assert main(["export", stored, "-o", str(out)]) == 0
    network = torch.jit.load(out)
    assert network(torch.zeros(1, 1, 44, 48)).shape == (1, 2, 4, 8)
    with pytest.raises(torch.jit.Error, match="44 \\+ n \\* 4, not 45"):
        network(torch.zeros(1, 1, 45, 48))


def test_export_leaves_the_network_unchanged(tmp_path):
    network = UNet(base_channels=1, depth=1).train()
    write_torchscript(tmp_path / "a.pt", Model(network, "standard"))
    assert network.training


@pytest.mark.parametrize("package", ["onnxscript", "bioimageio.core"])
def test_a_missing_dependency_names_the_extra(package, stored, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    assert "extra [bioimageio]" in refusal([stored, "-o", str(tmp_path / "a.zip")], capsys)


def test_export_restores_the_log_level(tmp_path):
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.INFO)
    write_torchscript(tmp_path / "a.pt", make_model())
    assert logger.level == logging.INFO
    logger.setLevel(before)
