import errno
import io
import os
import subprocess
import sys
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import save_file

from unet2015 import InputError, UNet, __version__, load_model, save_model
from unet2015.checkpoint import MODEL_FILE, Model, digest, read_tensors, write_tensors


def small_model():
    return Model(
        UNet(in_channels=2, num_classes=3, base_channels=2, depth=2, preset="release"),
        "minmax",
        ("background", "nucleus", "body"),
        {"training": {"iterations": 7}},
        min_size=9,
    )


def test_a_model_survives_a_round_trip(tmp_path):
    model = small_model()
    save_model(tmp_path / MODEL_FILE, model)
    for path in (tmp_path / MODEL_FILE, tmp_path):
        loaded = load_model(path)
        assert loaded.network.config == model.network.config
        assert not loaded.network.training
        assert (loaded.normalisation, loaded.class_names) == ("minmax", model.class_names)
        assert loaded.settings == model.settings
        assert loaded.version == __version__
        assert loaded.min_size == 9
        for name, tensor in model.network.state_dict().items():
            assert torch.equal(tensor, loaded.network.state_dict()[name])


def test_loading_leaves_the_random_numbers_alone_and_inference_mode_out(tmp_path):
    save_model(tmp_path / "model.safetensors", small_model())
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with torch.inference_mode():
        network = load_model(tmp_path / "model.safetensors").network
        assert torch.equal(torch.rand(3), expected)
    assert not any(tensor.is_inference() for tensor in network.state_dict().values())


def test_equal_contents_make_equal_files(tmp_path):
    tensors = {"a": torch.ones(3, 5), "b": torch.arange(7)}
    metadata = {name: {"é": [1, None]} for name in ("x", "format", "model", "settings", "log")}
    files = [tmp_path / name for name in "abc"]
    for path, ordered in zip(files, (1, -1, 1), strict=True):
        write_tensors(path, tensors, dict(list(metadata.items())[::ordered]))
    (stored,) = {path.read_bytes() for path in files}
    assert int.from_bytes(stored[:8], "little") % 8 == 0, "the tensors are aligned"
    loaded, known = read_tensors(files[0])
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert known == metadata


def test_of_a_compiled_network_the_original_is_saved(tmp_path):
    network = UNet(base_channels=2, depth=2)
    save_model(tmp_path / MODEL_FILE, Model(torch.compile(network), "standard"))
    found = load_model(tmp_path).network.classifier.weight
    assert torch.equal(found, network.classifier.weight)


def test_a_digest_covers_the_normalisation_but_not_the_record():
    network = UNet(base_channels=2, depth=1)
    known = digest(Model(network, "standard"))
    assert digest(Model(network, "minmax")) != known
    assert digest(Model(network, "standard", settings={"seed": 1}, min_size=9)) == known


def test_models_can_be_keys():
    model = small_model()
    assert {model: 1}[model] == 1


def test_files_that_are_not_models_are_refused(tmp_path):
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, other)
    junk = tmp_path / "junk.safetensors"
    torch.save(UNet(base_channels=1).state_dict(), junk)
    cut = tmp_path / "cut.safetensors"
    save_model(cut, small_model())
    cut.write_bytes(cut.read_bytes()[:-100])
    for path, message in [
        (other, "not a model of unet2015"),
        (junk, "damaged or not a unet2015 file"),
        (cut, "damaged or not a unet2015 file"),
        (tmp_path / "none.safetensors", "does not exist"),
        (tmp_path, "holds no model.safetensors"),
    ]:
        with pytest.raises(InputError, match=message):
            load_model(path)


def test_an_unreadable_model_is_not_reported_as_missing(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_model(path, small_model())
    forbidden = PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    monkeypatch.setattr("pathlib.Path.open", Mock(side_effect=forbidden))
    with pytest.raises(PermissionError, match="Permission denied"):
        load_model(path)


@pytest.mark.parametrize(
    "change",
    [
        {"normalisation": "magic"},
        {"normalisation": None},
        {"architecture": {"wings": 2}},
        {"architecture": {"depth": "4"}},
        {"architecture": {"base_channels": 7}},
        {"architecture": {"base_channels": 10**6}},
    ],
)
def test_an_unknown_kind_of_model_is_refused_in_one_line(tmp_path, change):
    path = tmp_path / MODEL_FILE
    save_model(path, small_model())
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors, {**metadata, "model": {**metadata["model"], **change}})
    with pytest.raises(InputError, match="cannot build") as refused:
        load_model(path)
    assert "\n" not in str(refused.value)


def test_weights_that_do_not_fit_are_named(tmp_path):
    path = tmp_path / MODEL_FILE
    save_model(path, small_model())
    tensors, metadata = read_tensors(path)
    del tensors["classifier.bias"]
    write_tensors(path, tensors, metadata)
    with pytest.raises(InputError, match=r'Missing key.* "classifier\.bias"'):
        load_model(path)


def test_loading_does_not_import_what_drawing_weights_in_vain_would():
    code = "import sys, unet2015; unet2015.load_model('u373'); sys.exit('sympy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_model_that_could_not_be_loaded_cannot_be_created():
    network = UNet(base_channels=1, depth=1)
    with pytest.raises(InputError, match="unknown normalisation 'zscore'"):
        Model(network, "zscore")
    with pytest.raises(InputError, match="1 class names: the network has 2 classes"):
        Model(network, "standard", ("only",))


def test_a_network_is_not_saved_for_a_model(tmp_path):
    with pytest.raises(InputError, match="save_model takes a Model, not a UNet"):
        save_model(tmp_path / MODEL_FILE, UNet(base_channels=1, depth=1))
    assert not any(tmp_path.iterdir())


def test_weights_of_another_network_class_are_refused(tmp_path):
    class Padded(UNet):
        pass

    save_model(tmp_path / MODEL_FILE, Model(Padded(base_channels=1, depth=1), "standard"))
    with pytest.raises(InputError, match=r"cannot build \(of the class Padded\): .*another class"):
        load_model(tmp_path)


def test_a_failed_save_leaves_the_old_model(tmp_path, monkeypatch):
    path = tmp_path / MODEL_FILE
    save_model(path, small_model())
    before = path.read_bytes()

    class FullDisk(io.FileIO):
        def write(self, data):
            super().write(data[: len(data) // 2])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.open", lambda path, mode: FullDisk(path, mode))
    with pytest.raises(OSError, match="No space left"):
        save_model(path, small_model())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_permissions_of_a_model_follow_the_umask(tmp_path):
    save_model(tmp_path / "a.safetensors", small_model())
    (tmp_path / "b").touch()
    modes = [(tmp_path / name).stat().st_mode for name in ("a.safetensors", "b")]
    assert modes[0] == modes[1]
