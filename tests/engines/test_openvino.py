"""Prediction through OpenVINO: the same as through PyTorch, chosen where it pays."""

import functools
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

from unet2015 import InputError
from unet2015.checkpoint import Model, save_model
from unet2015.cli import main
from unet2015.engines import nnpack, openvino_engine
from unet2015.engines.backends import WithFallback
from unet2015.engines.device import OPENVINO_PAYS, Engine, choose_backend
from unet2015.images import read_image, write_image
from unet2015.prediction import predict, predict_tiles
from unet2015.unet import UNet

CPU = Engine(torch.device("cpu"))
fall_back = WithFallback.fall_back
needs_openvino = pytest.mark.skipif(
    not openvino_engine.is_installed(), reason="OpenVINO is not installed"
)


@pytest.fixture(autouse=True)
def failures_are_raised(monkeypatch):
    """Disable the fallback to PyTorch, which would make every comparison with PyTorch pass."""
    monkeypatch.setattr(WithFallback, "fall_back", lambda _self, _error: False)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Model(UNet(base_channels=4, depth=2).eval(), "standard")


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (150, 170), dtype=np.uint8)


@needs_openvino
def test_openvino_matches_pytorch(model, image):
    expected = predict(image, model, engine=CPU)
    found = predict(image, model, tile=108, engine=CPU._replace(backend="openvino"))
    assert found.std() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-5)


@needs_openvino
def test_a_network_is_compiled_once_per_tile_shape(model, image, monkeypatch):
    shapes = []
    compile_ = openvino_engine.OpenVinoNetwork._compile
    monkeypatch.setattr(
        openvino_engine.OpenVinoNetwork,
        "_compile",
        lambda self, image: shapes.append(tuple(image.shape)) or compile_(self, image),
    )
    for _ in range(2):
        predict(image, model, tile=108, engine=CPU._replace(backend="openvino"))
    assert shapes == [(1, 1, 108, 108)]


@needs_openvino
def test_openvino_is_chosen_only_for_large_jobs_on_a_cpu(monkeypatch):
    monkeypatch.setattr(nnpack, "is_available", lambda: False)
    large = int(OPENVINO_PAYS)
    assert choose_backend(CPU, "auto", large - 1).backend == "torch"
    assert choose_backend(CPU, "auto", large).backend == "openvino"
    assert choose_backend(CPU, "auto", large // 16, 64).backend == "openvino"
    rotated = CPU._replace(average="rotated")
    assert choose_backend(rotated, "auto", large // 8 + 1).backend == "openvino"
    in_bfloat16 = CPU._replace(dtype=torch.bfloat16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert choose_backend(in_bfloat16, "auto", large // 2).backend == "torch"
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert choose_backend(in_bfloat16, "auto", large // 2).backend == "openvino"
    assert choose_backend(CPU, "openvino", 1).backend == "openvino"
    assert choose_backend(CPU, "torch", 10**12).backend == "torch"
    assert choose_backend(Engine(torch.device("cuda")), "auto", 10**12).backend != "openvino"


def test_without_openvino_pytorch_is_chosen_and_openvino_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert choose_backend(CPU, "auto", 10**12).backend == "torch"
    with pytest.raises(InputError, match="install it"):
        choose_backend(CPU, "openvino", 1)


@needs_openvino
def test_a_failure_is_logged_and_pytorch_takes_over(model, image, monkeypatch, caplog):
    def fail(_self, _image):
        raise RuntimeError("no such instruction\nand much more")

    monkeypatch.setattr(openvino_engine.OpenVinoNetwork, "_compile", fail)
    monkeypatch.setattr(WithFallback, "fall_back", fall_back)
    found = predict(image, model, tile=108, engine=CPU._replace(backend="openvino"))
    np.testing.assert_array_equal(found, predict(image, model, tile=108, engine=CPU))
    assert caplog.messages == [
        "OpenVINO failed (no such instruction and much more): continuing without it."
    ]


@needs_openvino
def test_bfloat16_is_as_accurate_as_in_pytorch(model, image):
    engine = Engine(torch.device("cpu"), torch.bfloat16, "openvino")
    found = predict(image, model, tile=108, engine=engine)
    exact, rounded = (
        predict(image, model, engine=CPU._replace(dtype=dtype))
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert abs(found - exact).max() < 2 * abs(rounded - exact).max()


@needs_openvino
def test_threads_do_not_mix_up_their_tiles(model):
    run = openvino_engine.OpenVinoNetwork(model.network, torch.float32)
    images = torch.rand(2, 1, 1, 204, 204)
    expected = [run(image) for image in images]
    with ThreadPoolExecutor(2) as threads:
        for which, found in threads.map(lambda n: (n % 2, run(images[n % 2])), range(200)):
            assert torch.equal(found, expected[which])


@needs_openvino
def test_new_weights_take_effect(model, image):
    through = CPU._replace(backend="openvino")
    predict(image, model, engine=through)
    torch.manual_seed(1)
    model.network.load_state_dict(UNet(base_channels=4, depth=2).state_dict())
    found = predict(image, model, engine=through)
    np.testing.assert_allclose(found, predict(image, model, engine=CPU), atol=1e-5)


@needs_openvino
def test_only_the_most_recently_used_shapes_stay_compiled(model):
    run = openvino_engine.OpenVinoNetwork(model.network, torch.float32)
    for size in (44, 48, 52, 56, 44, 60):
        run(torch.rand(1, 1, size, size))
    assert list(run._compiled) == [(1, 1, size, size) for size in (52, 56, 44, 60)]


def test_a_broken_installation_is_warned_about_and_not_used(monkeypatch, caplog):
    def broken(_name):
        raise OSError("libopenvino.so: cannot open shared object file")

    monkeypatch.setattr(openvino_engine.importlib, "import_module", broken)
    assert choose_backend(CPU, "torch", 10**12).backend == "torch"
    assert not caplog.messages, "who does not ask for it is not bothered"
    assert choose_backend(CPU, "auto", 10**12).backend == "torch"
    assert "libopenvino.so" in caplog.text


@needs_openvino
def test_the_command_line_accepts_openvino(model, image, tmp_path):
    write_image(tmp_path / "a.tif", image)
    save_model(tmp_path / "m", model)
    for backend in ("torch", "openvino"):
        words = ["-m", str(tmp_path / "m"), "-o", str(tmp_path / f"{backend}.tif")]
        assert main(["predict", str(tmp_path / "a.tif"), *words, "--backend", backend]) == 0
    found, expected = (read_image(tmp_path / f"{name}.tif") for name in ("openvino", "torch"))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@needs_openvino
@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (UNet(base_channels=2, depth=3, in_channels=3, num_classes=3), (2, 3, 140, 204)),
        (UNet(base_channels=2, depth=4, preset="release"), (1, 1, 188, 252)),
        (UNet(base_channels=2, depth=1), (1, 1, 24, 18)),
    ],
)
def test_a_network_traced_on_a_small_tile_accepts_larger_ones(network, shape):
    network.eval()
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = openvino_engine.OpenVinoNetwork(network, torch.float32)(images)
        np.testing.assert_allclose(found, network(images), atol=1e-4)


@needs_openvino
def test_networks_other_than_unet_are_accepted(image):
    network = torch.nn.Conv2d(1, 2, 5)
    through, plain = (
        list(predict_tiles(image / np.float32(255), network, border=2, tile=68, engine=engine))
        for engine in (CPU._replace(backend="openvino"), CPU)
    )
    for (part, found), (same_part, expected) in zip(through, plain, strict=True):
        assert part == same_part
        np.testing.assert_allclose(found, expected, atol=1e-5)


@needs_openvino
def test_telemetry_is_disabled(tmp_path):
    program = "from unet2015.engines.openvino_engine import is_installed; assert is_installed()"
    homes = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=os.environ | homes, check=True)
    assert not (tmp_path / "intel").exists()


@needs_openvino
def test_networks_of_all_threads_share_one_core(monkeypatch):
    made = []

    def core():
        made.append(MagicMock())
        time.sleep(0.05)
        return made[-1]

    openvino = openvino_engine._import_openvino()
    monkeypatch.setattr(openvino_engine, "_core", functools.cache(core))
    monkeypatch.setattr(openvino, "convert_model", lambda *_, **__: None)
    runs = [openvino_engine.OpenVinoNetwork(torch.nn.ReLU(), torch.float32) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda run: run._compile(torch.rand(1, 1, 8, 8)), runs))
    assert len(made) == 1
    assert made[0].compile_model.call_count == 4


@needs_openvino
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted on Linux")
def test_openvino_threads_outlive_a_network():
    """Ending them with each network crashed processes on busy machines, about once in 100."""
    program = """
import os, torch
from unet2015.engines.openvino_engine import OpenVinoNetwork
from unet2015.unet import UNet
run = OpenVinoNetwork(UNet(base_channels=2, depth=1).eval(), torch.float32)
run(torch.rand(1, 1, 44, 44))
threads = len(os.listdir("/proc/self/task"))
del run
assert len(os.listdir("/proc/self/task")) == threads
"""
    subprocess.run([sys.executable, "-c", program], check=True)
