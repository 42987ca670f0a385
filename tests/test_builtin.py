import json
from pathlib import Path

import numpy as np
import pytest
import torch

from unet2015 import builtin
from unet2015.builtin import BuiltIn, built_in_models, find_model
from unet2015.checkpoint import Model, load_model, save_model
from unet2015.cli import main
from unet2015.errors import InputError
from unet2015.images.source import warn_once
from unet2015.images.writing import write_image
from unet2015.prediction import predict
from unet2015.unet import UNet


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder with one built-in model, stored in half precision."""
    monkeypatch.setattr(builtin, "HOME", tmp_path / "home")
    monkeypatch.setattr(builtin, "INDEX", tmp_path / "home" / "models.json")
    (tmp_path / "home").mkdir()
    network = UNet(base_channels=2, depth=1)
    save_model(tmp_path / "home" / "tiny.safetensors", Model(network.half(), "standard"))
    facts = {"images": "dots", "pixel_size": 0.5, "data": "made up", "score": "none"}
    facts |= {"citation": [["nobody", "10.1000/1"]], "terms": "free"}
    builtin.INDEX.write_text(json.dumps({"tiny": facts}))
    return BuiltIn("tiny", **facts)


@pytest.mark.usefixtures("tiny")
def test_a_built_in_model_is_loaded_by_name_in_float32():
    model = load_model("tiny")
    assert {parameter.dtype for parameter in model.network.parameters()} == {torch.float32}
    assert predict(np.ones((20, 30), np.uint8), model).shape == (2, 20, 30)


@pytest.mark.usefixtures("tiny")
def test_runs_and_files_take_precedence_but_other_folders_do_not(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    assert find_model("tiny") == tiny.path
    (tmp_path / "tiny/model.safetensors").touch()
    assert find_model("tiny") == Path("tiny")
    (tmp_path / "tiny/model.safetensors").unlink()
    (tmp_path / "tiny").rmdir()
    (tmp_path / "tiny").touch()
    assert find_model("tiny") == Path("tiny")


@pytest.mark.usefixtures("tiny")
def test_the_error_for_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match="or one of tiny"):
        load_model("tyni")


@pytest.mark.usefixtures("tiny")
def test_models_lists_the_details_of_each_model(capsys):
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("tiny", "dots", "0.5 um", "made up", "none", "free"))
    assert "nobody, doi:10.1000/1" in printed


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("size", "said"),
    [
        ({"Y": 0.25, "X": 0.25}, "tiny was made for 0.5 µm, so everything looks 2 times larger"),
        ({"Y": 0.5, "X": 1.6}, "tiny was made for 0.5 µm, so everything looks 3.2 times smaller"),
        ({"Y": 0.4, "X": 0.6}, ""),
        ({}, ""),
    ],
)
def test_pixels_of_another_size_than_the_models_get_one_warning(size, said, tmp_path, caplog):
    warn_once.cache_clear()
    (tmp_path / "images").mkdir()
    for number in range(2):
        path, image = tmp_path / f"images/{number}.tif", np.full((30, 30), 7, np.uint8)
        write_image(path, image, pixel_size={axis: (um, "µm") for axis, um in size.items()})
    assert main(["predict", str(tmp_path / "images"), "-m", "tiny", "-o", str(tmp_path / "o")]) == 0
    warned = [message for message in caplog.messages if "was made for" in message]
    assert len(warned) == bool(said)
    assert all(said in message for message in warned)


@pytest.mark.parametrize("name", built_in_models())
def test_each_built_in_model_is_complete_and_small(name):
    model = load_model(name)
    assert model.network.config.base_channels == 16
    assert model.min_size > 0
    assert built_in_models()[name].path.stat().st_size < 5e6
