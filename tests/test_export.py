"""Models for other programs compute what they compute here."""

import logging
import shutil
import sys
import zipfile
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from unet2015 import exchange, normalisation
from unet2015.checkpoint import Model, save_model
from unet2015.cli import main
from unet2015.errors import InputError
from unet2015.exchange import Probabilities, write_onnx, write_torchscript
from unet2015.images import write_image
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
    """The ONNX file of `make_model`; the exporter takes many seconds."""
    path = tmp_path_factory.mktemp("onnx") / "weights.onnx"
    write_onnx(make_model(), path)
    return path


@pytest.fixture
def quick_onnx(exported, monkeypatch):
    monkeypatch.setattr(exchange, "write_onnx", lambda _model, path: shutil.copy(exported, path))


def probabilities(model, image):
    with torch.inference_mode():
        return Probabilities(model.network)(torch.from_numpy(image)).numpy()


@needs_extra
def test_onnx_takes_every_valid_size(exported):
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


def test_torchscript_takes_every_valid_size(tmp_path):
    model = make_model(depth=1, in_channels=3, preset="release")
    write_torchscript(model, tmp_path / "a.pt")
    facts = {"border.txt": ""}
    network = torch.jit.load(tmp_path / "a.pt", _extra_files=facts)
    assert facts["border.txt"] in (b"8", "8")
    for shape in [(18, 18), (18, 100), (76, 48)]:
        image = np.random.default_rng(0).normal(size=(1, 3, *shape)).astype(np.float32)
        found = network(torch.from_numpy(image)).detach().numpy()
        np.testing.assert_allclose(found, probabilities(model, image), atol=1e-6)


def test_what_computes_something_else_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.jit, "load", lambda _path: lambda image: image)
    with pytest.raises(InputError, match="does not compute what PyTorch does"):
        write_torchscript(make_model(), tmp_path / "a.pt")
    assert not list(tmp_path.iterdir())


@needs_extra
@pytest.mark.usefixtures("quick_onnx")
@pytest.mark.parametrize("scheme", ["standard", "minmax", "range"])
def test_a_package_gives_our_result_from_raw_grey_values(scheme, tmp_path):
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
    assert [axis.size.offset for axis in described.outputs[0].axes[2:]] == [-40, -40]
    other = np.random.default_rng(1).integers(9, 900, (1, 1, 64, 60), dtype=np.uint16)
    expected = probabilities(model, normalisation.normalise(other[0], scheme)[None])
    for weights in ("onnx", "torchscript"):
        with core.create_prediction_pipeline(described, weight_format=weights) as pipeline:
            sample = create_sample_for_model(described, inputs={"image": other})
            result = pipeline.predict_sample_without_blocking(sample).members["probabilities"]
        np.testing.assert_allclose(result.data.data, expected, atol=1e-4)


@needs_extra
@pytest.mark.usefixtures("quick_onnx")
def test_a_package_documents_its_sizes(stored, tmp_path):
    assert main(["export", stored, "-o", str(tmp_path / "cells.zip")]) == 0
    with zipfile.ZipFile(tmp_path / "cells.zip") as archive:
        text = archive.read("README.md").decode()
        assert archive.read("cover.png").startswith(b"\x89PNG")
    assert "20 pixels are missing on each side" in " ".join(text.split())


def refusal(words, capsys):
    assert main(["export", *words]) == 2
    return capsys.readouterr().err


def test_bad_requests_are_refused_in_a_sentence(stored, tmp_path, capsys):
    write_image(tmp_path / "small.tif", np.zeros((30, 200), np.uint8))
    out = str(tmp_path / "a.zip")
    assert ".zip, .onnx, .pt" in refusal([stored, "-o", str(tmp_path / "a.tif")], capsys)
    assert "ends in .zip" in refusal([stored, "-o", out[:-4] + ".pt", "--author", "A"], capsys)
    assert "at least 44 x 44" in refusal(
        [stored, "-o", out, "--sample", str(tmp_path / "small.tif")], capsys
    )
    assert not (tmp_path / "a.zip").exists()


@needs_extra
@pytest.mark.usefixtures("quick_onnx")
def test_a_name_that_the_format_forbids_is_refused(stored, tmp_path, capsys):
    error = refusal([stored, "-o", str(tmp_path / "a.zip"), "--name", "a/b: c"], capsys)
    assert "cannot be described" in error
    assert not (tmp_path / "a.zip").exists()


@pytest.mark.parametrize("package", ["onnxscript", "bioimageio.core"])
def test_a_missing_package_is_named(package, stored, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    assert "unet2015[bioimageio]" in refusal([stored, "-o", str(tmp_path / "a.zip")], capsys)


def test_the_exporters_noise_ends_with_the_export(tmp_path):
    before = logging.getLogger("torch.onnx").level
    write_torchscript(make_model(), tmp_path / "a.pt")
    assert logging.getLogger("torch.onnx").level == before
