"""NNPACK: chosen where it pays, equal to PyTorch up to rounding, and used for wide layers only."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unet2015.checkpoint import Model
from unet2015.engines import device, nnpack
from unet2015.engines.device import Engine, choose_backend, choose_engine
from unet2015.engines.nnpack import LEAST_CHANNELS, LEAST_SIDE, NnpackNetwork
from unet2015.errors import InputError
from unet2015.prediction import predict, predict_tiles
from unet2015.unet import UNet

CPU = Engine(torch.device("cpu"))
NNPACK = CPU._replace(backend="nnpack")
WIDE, LARGE = LEAST_CHANNELS, LEAST_SIDE

SIDES = st.integers(LARGE, LARGE + 20)

needs_nnpack = pytest.mark.skipif(not nnpack.is_available(), reason="PyTorch lacks NNPACK here")


@pytest.fixture
def calls(monkeypatch):
    """Shapes of the kernels that NNPACK is given."""
    given, convolve = [], torch._nnpack_spatial_convolution
    monkeypatch.setattr(
        torch,
        "_nnpack_spatial_convolution",
        lambda image, weight, *rest: given.append(weight.shape) or convolve(image, weight, *rest),
    )
    return given


@pytest.fixture
def avx2(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(device.nnpack, "is_available", lambda: True)


@pytest.mark.usefixtures("avx2")
def test_wide_networks_are_run_by_nnpack_on_processors_with_avx2_alone(monkeypatch):
    assert choose_backend(CPU, "auto", 1, base_channels=64).backend == "nnpack"
    assert choose_backend(CPU, "auto", 10**12, base_channels=64).backend == "nnpack"
    assert choose_backend(CPU, "auto", 1, base_channels=32).backend == "torch"
    assert choose_backend(CPU, "torch", 1, base_channels=64).backend == "torch"
    wide, narrow = (Model(UNet(base_channels=n, depth=1), "standard") for n in (64, 32))
    assert choose_engine("cpu", "float32", model=wide).backend == "nnpack"
    assert choose_engine("cpu", "float32", model=narrow).backend == "torch"
    assert choose_engine("cpu", "float32").backend == "torch"
    bfloat16 = CPU._replace(dtype=torch.bfloat16)
    assert choose_backend(bfloat16, "auto", 1, base_channels=64).backend == "torch"
    gpu = CPU._replace(device=torch.device("cuda"))
    assert choose_backend(gpu, "auto", 1, base_channels=64).backend == "torch"
    monkeypatch.setattr(device.nnpack, "is_available", lambda: False)
    assert choose_backend(CPU, "auto", 1, base_channels=64).backend == "torch"


@pytest.mark.usefixtures("avx2")
def test_nnpack_is_not_chosen_where_its_gain_was_not_measured(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert choose_backend(CPU, "auto", 1, base_channels=64).backend == "torch"
    assert choose_backend(CPU, "nnpack", 1, base_channels=64).backend == "nnpack", "if asked for"


@pytest.mark.usefixtures("avx2")
@pytest.mark.parametrize(
    "engine", [CPU._replace(dtype=torch.bfloat16), CPU._replace(device=torch.device("cuda"))]
)
def test_nnpack_is_refused_for_other_than_float32_on_a_cpu(engine):
    with pytest.raises(InputError, match="NNPACK computes in float32 on a CPU"):
        choose_backend(engine, "nnpack", 1)


@needs_nnpack
@pytest.mark.parametrize("named", [False, True])
def test_calls_of_conv2d_in_other_forms_are_left_to_pytorch(calls, named):
    class Bare(nn.Conv2d):
        def forward(self, image):
            if named:
                return torch.conv2d(image, self.weight, bias=self.bias, stride=2)
            return torch.conv2d(image, self.weight)

    network, image = Bare(WIDE, WIDE, 3), torch.rand(1, WIDE, LARGE, LARGE)
    with torch.inference_mode():
        assert torch.equal(NnpackNetwork(network)(image), network(image))
    assert not calls


def test_nnpack_is_refused_where_pytorch_lacks_it(monkeypatch):
    monkeypatch.delattr(torch, "_nnpack_spatial_convolution", raising=False)
    with pytest.raises(InputError, match="take --backend auto"):
        choose_backend(CPU, "nnpack", 1)


@needs_nnpack
@pytest.mark.parametrize("average", ["none", "rotated"])
def test_a_unet_predicts_the_same_up_to_rounding(calls, average):
    torch.manual_seed(0)
    model = Model(UNet(base_channels=WIDE, depth=1).eval(), "standard")
    image = np.random.default_rng(0).integers(0, 255, (100, 70), dtype=np.uint8)
    exact = predict(image, model, tile=108, engine=CPU._replace(average=average))
    assert not calls
    found = predict(image, model, tile=108, engine=NNPACK._replace(average=average))
    up, down = (WIDE, 2 * WIDE, 3, 3), (2 * WIDE, WIDE, 3, 3)
    assert set(calls) == {(WIDE, WIDE, 3, 3), up, down, (2 * WIDE, 2 * WIDE, 3, 3)}
    np.testing.assert_allclose(found, exact, atol=1e-4)


@needs_nnpack
@given(SIDES, SIDES, st.integers(1, 2), st.integers(0, 1), st.booleans())
def test_a_wide_convolution_of_any_size_is_that_of_pytorch(height, width, images, padding, bias):
    torch.manual_seed(0)
    layer = nn.Conv2d(WIDE, WIDE + 1, 3, padding=padding, bias=bias)
    maps = torch.randn(images, WIDE, height, width).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        found, exact = NnpackNetwork(layer)(maps), layer(maps)
    assert not found.equal(exact), "rounded differently"
    torch.testing.assert_close(found, exact, atol=1e-4, rtol=0)


@needs_nnpack
@pytest.mark.parametrize("shape", [(LARGE - 1, LARGE), (LARGE, LARGE - 1)])
def test_small_maps_are_left_to_pytorch(calls, shape):
    layer, maps = nn.Conv2d(WIDE, WIDE, 3), torch.randn(1, WIDE, *shape)
    with torch.inference_mode():
        assert NnpackNetwork(layer)(maps).equal(layer(maps))
    assert not calls


@needs_nnpack
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(WIDE, WIDE - 1, 3),
        nn.Conv2d(WIDE - 1, WIDE, 3),
        nn.Conv2d(WIDE, WIDE, 1),
        nn.Conv2d(WIDE, WIDE, 5),
        nn.Conv2d(WIDE, WIDE, 3, stride=2),
        nn.Conv2d(WIDE, WIDE, 3, dilation=2),
        nn.Conv2d(2 * WIDE, 2 * WIDE, 3, groups=2),
        nn.Conv2d(WIDE, WIDE, 3, padding="same"),
        nn.Conv2d(WIDE, WIDE, 3, padding=3),
        nn.Conv2d(WIDE, WIDE, 3).double(),
        nn.ConvTranspose2d(WIDE, WIDE, 3),
    ],
    ids=str,
)
def test_other_layers_are_left_to_pytorch(calls, layer):
    maps = torch.randn(1, layer.in_channels, LARGE, LARGE, dtype=layer.weight.dtype)
    with torch.inference_mode():
        torch.testing.assert_close(NnpackNetwork(layer)(maps), layer(maps), atol=0, rtol=0)
    assert not calls


class Functional(nn.Module):
    """A wide convolution, called as others might."""

    def forward(self, image):
        weight = torch.ones(WIDE, WIDE, 3, 3)
        by_name = torch.conv2d(image, weight, padding=1)
        no_batch = torch.conv2d(image[0], weight, None, (1, 1), (1, 1), (1, 1), 1)
        return by_name + no_batch + torch.conv2d(image, weight, None, 1, 1, 1, 1)


@needs_nnpack
def test_convolutions_are_found_however_they_are_called(calls):
    maps = torch.ones(1, WIDE, LARGE, LARGE)
    with torch.inference_mode():
        found, exact = NnpackNetwork(Functional())(maps), Functional()(maps)
    torch.testing.assert_close(found, exact, atol=0, rtol=1e-5)
    assert len(calls) == 1, "the last"


@needs_nnpack
def test_networks_of_others_run_on_nnpack_too(calls):
    network = nn.Sequential(nn.Conv2d(1, WIDE, 3), nn.Conv2d(WIDE, WIDE, 3, padding=1))
    image = np.random.default_rng(0).random((1, 80, 80), np.float32)
    tiles = predict_tiles(image, network, border=1, tile=42, engine=NNPACK)
    assert all(np.isfinite(values).all() for _part, values in tiles)
    assert len(calls) == 4


def test_if_nnpack_fails_pytorch_takes_over(monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("NNPACK SpatialConvolution_updateOutput failed")

    monkeypatch.setattr(torch, "_nnpack_spatial_convolution", fail, raising=False)
    network = nn.Conv2d(WIDE, WIDE, 3)
    image = np.ones((WIDE, LARGE, LARGE), np.float32)
    for _ in range(2):
        ((_part, found),) = predict_tiles(image, network, border=1, tile=LARGE + 2, engine=NNPACK)
    ((_part, exact),) = predict_tiles(image, network, border=1, tile=LARGE + 2)
    np.testing.assert_allclose(found, exact, atol=1e-5)
    assert caplog.messages == [
        "NNPACK failed (NNPACK SpatialConvolution_updateOutput failed): continuing without it."
    ]
