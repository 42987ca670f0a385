import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unet2015 import InputError, UNet
from unet2015.checkpoint import Model
from unet2015.engines.device import Engine
from unet2015.normalisation import normalise
from unet2015.prediction import (
    engine_of,
    predict,
    predict_tiles,
)
from unet2015.tiles import ArraySource

CPU = Engine(torch.device("cpu"))


def model(depth, in_channels=1, seed=0):
    """A network whose logits have deviation 1: rounding of larger ones alone exceeds 1e-5."""
    torch.manual_seed(seed)
    network = UNet(in_channels, base_channels=4, depth=depth).eval()
    size = network.valid_input_size(64)
    with torch.no_grad():
        network.classifier.weight /= network(torch.randn(1, in_channels, size, size)).std()
    return Model(network, "standard")


MIRRORED = {  # each with what undoes it
    np.copy: np.copy,
    np.fliplr: np.fliplr,
    np.flipud: np.flipud,
    lambda pixels: np.flipud(np.fliplr(pixels)): lambda pixels: np.flipud(np.fliplr(pixels)),
}
ROTATED = MIRRORED | {
    np.rot90: lambda pixels: np.rot90(pixels, 3),
    lambda pixels: np.rot90(pixels, 3): np.rot90,
    np.transpose: np.transpose,
    lambda pixels: np.rot90(pixels, 2).T: lambda pixels: np.rot90(pixels, 2).T,
}


def whole(image, model, versions=None):
    """Predict the image in one piece, padded by NumPy to a valid size."""
    network = model.network.eval()
    padded = normalise(image, model.normalisation)
    for axis in (1, 2):
        size = image.shape[axis]
        after = network.valid_input_size(size) - size - network.border
        widths = [(network.border, after) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(padded, widths, mode="reflect" if size > 1 else "edge")
    logits = []
    for forth, back in (versions or {np.copy: np.copy}).items():
        version = np.stack([forth(channel) for channel in padded])
        with torch.inference_mode():
            output = network(torch.from_numpy(version)[None])[0].numpy()
        logits.append([back(channel) for channel in output])
    probabilities = torch.softmax(torch.from_numpy(np.mean(logits, axis=0)), dim=0)
    return probabilities.numpy()[:, : image.shape[1], : image.shape[2]]


@given(
    height=st.integers(1, 50),
    width=st.integers(1, 50),
    depth=st.integers(1, 3),
    steps=st.integers(2, 8),
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_tiled_prediction_equals_whole_image_prediction(height, width, depth, steps, seed):
    image = np.random.default_rng(seed).integers(0, 255, (1, height, width), dtype=np.uint8)
    net = model(depth, seed=seed)
    tile = net.network.valid_input_size(steps * net.network.step)
    assert np.abs(predict(image, net, tile=tile) - whole(image, net)).max() <= 1e-5


@pytest.mark.parametrize("shape", [(1, 1), (1, 130), (91, 93), (210, 100)])
@pytest.mark.parametrize("tile", [236, 316, None])
def test_tiled_prediction_equals_whole_image_prediction_at_paper_depth(shape, tile):
    image = np.random.default_rng(1).normal(size=(2, *shape))
    net = model(4, in_channels=2)
    assert np.abs(predict(image, net, tile=tile) - whole(image, net)).max() <= 1e-5


@pytest.mark.parametrize(("average", "versions"), [("mirrored", MIRRORED), ("rotated", ROTATED)])
@pytest.mark.parametrize("shape", [(1, 1), (37, 20), (50, 90)])
@pytest.mark.parametrize("tile", [52, None])
def test_tiled_averaging_equals_averaging_whole_images(average, versions, shape, tile):
    image = np.random.default_rng(2).normal(size=(2, *shape)) + np.arange(shape[1])
    net = model(2, in_channels=2)
    expected = whole(image, net, versions)
    found = predict(image, net, tile=tile, engine=CPU._replace(average=average))
    assert np.abs(found - expected).max() <= 1e-5
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-6)
    if min(shape) > 1:
        assert np.abs(predict(image, net, tile=tile) - expected).max() > 1e-3, "averaging matters"


@pytest.mark.parametrize("scheme", ["standard", "minmax", "range"])
def test_images_are_normalised_as_the_model_prescribes(scheme):
    image = np.random.default_rng(0).integers(50, 99, (1, 30, 40), dtype=np.uint8)
    net = Model(model(1).network, scheme)
    assert np.abs(predict(image, net, tile=36) - whole(image, net)).max() <= 1e-5


def test_drop_out_is_off_in_prediction():
    image, net = np.random.default_rng(0).normal(size=(1, 30, 40)), model(1)
    expected = predict(image, net)
    net.network.train()
    assert np.array_equal(predict(image, net), expected)
    assert not net.network.training


def assembled(shape, parts):
    found = np.full(shape, np.nan, np.float32)
    for tile, values in parts:
        assert np.isnan(found[:, *tile.write]).all()
        found[:, *tile.write] = values
    return found


def test_a_network_that_works_in_place_does_not_change_the_image():
    image = np.full((1, 30, 40), -1, np.float32)
    ((_, values),) = predict_tiles(image, nn.ReLU(inplace=True), border=0, tile=(30, 40))
    assert (values == 0).all()
    assert (image == -1).all()


@pytest.mark.parametrize("tile", [9, 32, (21, 64), 512])
def test_any_network_with_a_known_border_can_be_tiled(tile):
    image = np.random.default_rng(0).random((1, 50, 61), dtype=np.float32)
    blur = nn.Conv2d(1, 2, 5, bias=False)
    found = assembled((2, 50, 61), predict_tiles(image, blur, border=2, tile=tile))
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)), mode="reflect")
    expected = blur(torch.from_numpy(padded)[None])[0].detach().numpy()
    assert np.allclose(found, expected, atol=1e-6)


def test_a_padded_network_with_a_halo_gives_no_seams():
    image = np.random.default_rng(0).random((50, 61), dtype=np.float32)
    padded = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(3, 3, 3, padding=1),
        nn.Upsample(scale_factor=2), nn.Conv2d(3, 2, 3, padding=1),
    )  # fmt: skip
    parts = predict_tiles(
        image, padded, halo=6, tile=28, step=2, activation=nn.Softmax(1), engine=CPU
    )
    around = np.pad(image, 6, mode="reflect")[:, :-1]
    with torch.inference_mode():
        expected = torch.softmax(padded(torch.from_numpy(around)[None, None])[0], 0)
    found = assembled((2, 50, 61), parts)
    assert np.allclose(found[:, :50, :60], expected[:, 6:56, 6:66], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either"),
        ({"border": 1, "halo": 1}, "either"),
        ({"border": 1}, "expected"),
        ({"border": 2, "tile": 4}, "larger tile"),
        ({"border": 2, "step": 0}, "the border is 2 and the step 0: give at least 0 and 1"),
        ({"halo": 2, "step": 0}, "the step 0"),
        ({"border": -2}, "the border is -2"),
        ({"halo": 6, "step": 4}, "a multiple of 4, such as 8"),
        ({"border": 2, "tile": (16, 16, 16)}, "its height and width"),
    ],
)
def test_a_network_that_does_not_fit_the_arguments_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        list(predict_tiles(np.zeros((20, 20)), nn.Conv2d(1, 2, 5), **{"tile": 16, **arguments}))


@pytest.mark.parametrize(("give", "found"), [(tuple, "tuple"), (lambda x: x[0], r"\(1, 16, 16\)")])
def test_a_network_with_unexpected_output_is_refused(give, found):
    class Network(nn.Module):
        def forward(self, image):
            return give(image)

    with pytest.raises(InputError, match=f"the network returns {found}: wrap it"):
        list(predict_tiles(np.zeros((20, 20)), Network(), halo=2, tile=16))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_networks_that_are_not_float32_are_refused(dtype):
    with pytest.raises(InputError, match=r"weights are torch.float.*network.float\(\)"):
        list(predict_tiles(np.zeros((20, 20)), nn.Conv2d(1, 2, 5).to(dtype), border=2, tile=16))


@pytest.mark.parametrize(
    ("activation", "shape"),
    [(lambda x: x.argmax(1), r"\(1, 12, 12\)"), (lambda x: x[..., 1:], r"\(1, 2, 12, 11\)")],
)
def test_an_activation_that_changes_the_image_s_shape_is_refused(activation, shape):
    network = nn.Conv2d(1, 2, 5)
    with pytest.raises(InputError, match=rf"turns \(1, 2, 12, 12\) into {shape}"):
        list(predict_tiles(np.zeros((20, 20)), network, border=2, tile=16, activation=activation))


def test_a_network_can_be_trained_after_prediction_in_inference_mode():
    network = nn.Conv2d(2, 2, 5)
    with torch.inference_mode():
        list(predict_tiles(np.zeros((2, 20, 20)), network, border=2, tile=16))
    network(torch.zeros(1, 2, 8, 8)).sum().backward()
    assert network.weight.grad is not None


def test_confusing_models_and_networks_is_refused():
    with pytest.raises(InputError, match=r"takes a network \(nn.Module\), not a Model"):
        predict_tiles(np.zeros((20, 20)), model(2), halo=2, tile=16)
    with pytest.raises(InputError, match="takes a model from `load_model`, not a str"):
        predict(np.zeros((20, 20)), "u373")
    with pytest.raises(InputError, match="the engine is 'cpu': pass one that `choose_engine`"):
        predict(np.zeros((20, 20)), model(2), engine="cpu")


def test_an_activation_is_not_subject_to_the_callers_autocast():
    """Otherwise its result might be in bfloat16, which NumPy lacks."""
    with torch.autocast("cpu", torch.bfloat16):
        tiles = predict_tiles(
            np.zeros((20, 20)), nn.Conv2d(1, 2, 5), border=2, tile=16, activation=nn.Conv2d(2, 3, 1)
        )
        assert {values.dtype for _, values in tiles} == {np.dtype(np.float32)}


def test_masked_pixels_are_refused():
    image = np.ma.masked_less(np.arange(400.0).reshape(20, 20), 7)
    with pytest.raises(InputError, match=r"replace the masked pixels with array\.filled"):
        predict(image, model(2))
    with pytest.raises(InputError, match="is masked"):
        predict_tiles(image, nn.Conv2d(1, 2, 5), border=2, tile=16)
    predict(np.ma.masked_less(image.data, 0), model(2))  # none is masked


@pytest.mark.parametrize("like", [np.ndarray.tolist, torch.from_numpy])
def test_array_likes_are_accepted(like):
    image = np.random.default_rng(0).random((20, 30))
    expected = predict(image, model(2))
    assert np.array_equal(predict(like(image), model(2)), expected)


@pytest.mark.parametrize("shape", [(30, 40), (1, 30, 40)])
def test_arrays_on_disk_are_read_region_by_region(tmp_path, shape):
    pixels = np.random.default_rng(0).random(shape, dtype=np.float32)
    stored = zarr.create_array(str(tmp_path / "a.zarr"), data=pixels, chunks=shape)

    class Watched:
        shape, dtype = stored.shape, stored.dtype
        read_at_most = 0

        def __getitem__(self, index):
            region = stored[index]
            self.read_at_most = max(self.read_at_most, region.size)
            return region

    watched, network = Watched(), nn.Conv2d(1, 2, 5)
    found = list(predict_tiles(watched, network, border=2, tile=12))
    expected = list(predict_tiles(pixels, network, border=2, tile=12))
    for (_, one), (_, other) in zip(found, expected, strict=True):
        assert np.array_equal(one, other)
    assert 0 < watched.read_at_most <= 144


def test_a_source_without_channels_is_refused():
    class Grey(ArraySource):
        shape = (30, 40)

    with pytest.raises(InputError, match=r"shape \(30, 40\): give \(channels"):
        predict_tiles(Grey(np.zeros((30, 40))), nn.Conv2d(1, 2, 5), border=2, tile=12)


def test_complex_images_are_refused():
    with pytest.raises(InputError, match="complex128 values: give real numbers"):
        predict(np.zeros((30, 30), complex), model(4))


def test_arrays_of_either_byte_order_can_be_tiled():
    image = np.arange(1200, dtype=np.uint16).reshape(30, 40)
    network = nn.Conv2d(1, 2, 5)
    parts = [
        list(predict_tiles(image.astype(dtype), network, border=2, tile=40))
        for dtype in ("<u2", ">u2")
    ]
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(*parts, strict=True))


def test_bfloat16_is_used_on_request():
    image = np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)
    exact, rough = (
        predict(image, model(2), engine=Engine(torch.device("cpu"), dtype))
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert np.allclose(exact, rough, atol=0.05)
    assert not np.allclose(exact, rough, atol=1e-5)


def test_a_network_runs_on_its_own_device_by_default():
    assert engine_of(nn.Conv2d(1, 1, 1, device="meta")).device.type == "meta"
    assert engine_of(nn.BatchNorm1d(1, affine=False, device="meta")).device.type == "meta"
    assert engine_of(nn.Identity()).device.type == "cpu"


def test_a_read_error_ends_the_prediction():
    class Broken(ArraySource):
        def read(self, rows, columns):
            if rows.start > 20:
                raise InputError("truncated")
            return super().read(rows, columns)

    source = Broken(np.zeros((90, 90), np.float32))
    with pytest.raises(InputError, match="truncated"):
        list(predict_tiles(source, nn.Conv2d(1, 2, 5), border=2, tile=16))


@pytest.mark.parametrize(
    ("shape", "tile", "message"),
    [
        ((2, 30, 30), None, "has 2 channels, the model takes 1"),
        ((1, 30, 30), 570, "nearest to yours: 556 and 572"),
        ((1, 30, 30), 188, "use at least 204"),
        ((1, 0, 30), None, "nothing to predict"),
        ((1, 1, 30, 30), None, "channels, height, width"),
    ],
)
def test_mismatched_images_and_tiles_are_refused(shape, tile, message):
    with pytest.raises(InputError, match=message):
        predict(np.zeros(shape, np.uint8), model(4), tile=tile)


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU, or it is hidden, see conftest.py"
)
@pytest.mark.parametrize("backend", ["torch", "compile"])
@pytest.mark.parametrize(
    ("dtype", "most", "mean"),
    [(torch.float32, 1e-3, 1e-4), (torch.bfloat16, 0.15, 0.007)],  # CPUs: 0.083 and 0.0033
)
def test_a_gpu_gives_the_same_probabilities(dtype, most, mean, backend, caplog):
    image = np.random.default_rng(1).integers(0, 255, (1, 300, 200), dtype=np.uint8)
    net = model(4)
    expected = predict(image, net)
    engine = Engine(torch.device("cuda"), dtype, backend)
    apart = np.abs(predict(image, net, tile=204, engine=engine) - expected)
    assert apart.max() < most
    assert apart.mean() < mean
    assert "continuing without" not in caplog.text


def test_queued_tiles_keep_their_own_pixels(monkeypatch):
    net, image = model(2), np.random.default_rng(0).random((150, 170), dtype=np.float32)
    expected = predict(image, net, tile=84)
    monkeypatch.setattr(Engine, "ahead", 2)  # a queue of tiles, as on a GPU
    assert np.array_equal(predict(image, net, tile=84), expected)
