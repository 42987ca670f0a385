import math

import pytest
import torch
from torch.nn import functional

from unet2015 import InputError, UNet, UNetConfig


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_and_layers_match_the_paper():
    network = UNet()
    assert parameters(network) == 31_030_658
    kinds = torch.nn.Conv2d | torch.nn.ConvTranspose2d
    assert sum(isinstance(module, kinds) for module in network.modules()) == 23


def test_defaults_match_the_paper_and_the_released_drop_out():
    assert UNetConfig() == UNetConfig(1, 2, 64, 4, 0.5, "paper")


def test_the_released_network_has_more_relus_and_a_wider_up_convolution():
    network = UNet(preset="release")
    assert parameters(network) == 31_100_354
    assert isinstance(network.up[0][1], torch.nn.ReLU)
    assert len(UNet(base_channels=1).up[0]) == 1


@pytest.mark.parametrize("preset", ["paper", "release"])
@pytest.mark.parametrize(
    ("size", "expected"),
    [((572, 572), (388, 388)), ((444, 892), (260, 708)), ((188, 204), (4, 20))],
)
def test_output_sizes_match_the_paper_and_the_release(size, expected, preset):
    network = UNet(base_channels=2, preset=preset).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, *size)).shape == (1, 2, *expected)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_every_depth_works_at_its_smallest_size(depth):
    network = UNet(in_channels=3, num_classes=4, base_channels=2, depth=depth).eval()
    size = network.valid_input_size(1)
    with torch.inference_mode():
        out = network(torch.zeros(2, 3, size, size + network.step))
    assert out.shape == (2, 4, size - 2 * network.border, size + network.step - 2 * network.border)


def test_an_output_pixel_sees_exactly_the_border_around_it():
    torch.manual_seed(0)
    network = UNet(base_channels=2, depth=2, dropout=0.0).double().eval()
    size = network.valid_input_size(4)
    image = torch.rand(1, 1, size, size, dtype=torch.double, requires_grad=True)
    network(image)[0, 1].sum().backward()
    reached = (image.grad[0, 0] != 0).any(dim=0)
    assert reached.all(), "every column matters to the output"
    image.grad = None
    network(image)[0, 1, :, 0].sum().backward()
    seen = torch.nonzero((image.grad[0, 0] != 0).any(dim=0))
    assert seen.min() == 0, "the first output column is the one that needs the first input column"
    assert size - network.step <= seen.max() < size, "and none beyond the last pooling window"


@pytest.mark.parametrize("preset", ["paper", "release"])
def test_the_layers_are_those_of_figure_1(preset):
    network = UNet(base_channels=2, depth=2, preset=preset).eval()
    image = torch.rand(1, 1, 60, 76)

    def convolve(x, layers):
        for layer in (layers[0], layers[2]):
            x = functional.relu(functional.conv2d(x, layer.weight, layer.bias))
        return x

    def up(x, layers):
        x = functional.conv_transpose2d(x, layers[0].weight, layers[0].bias, stride=2)
        return functional.relu(x) if preset == "release" else x

    with torch.inference_mode():
        first = convolve(image, network.contracting[0])
        second = convolve(functional.max_pool2d(first, 2), network.contracting[1])
        x = convolve(functional.max_pool2d(second, 2), network.contracting[2])
        x = torch.cat([up(x, network.up[1]), second[..., 4:-4, 4:-4]], dim=1)
        x = torch.cat([up(convolve(x, network.expanding[1]), network.up[0]),
                       first[..., 16:-16, 16:-16]], dim=1)  # fmt: skip
        x = convolve(x, network.expanding[0])
        expected = functional.conv2d(x, network.classifier.weight, network.classifier.bias)
        torch.testing.assert_close(network(image), expected)


def test_skips_are_cropped_at_their_centre():
    network = UNet(base_channels=2, depth=2, dropout=0.0).eval()
    image = torch.rand(1, 1, 60, 76)
    with torch.inference_mode():
        expected = network(image).flip(2, 3)
        for parameter in network.parameters():
            if parameter.ndim == 4:
                parameter.copy_(parameter.flip(2, 3))
        found = network(image.flip(2, 3))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(1, 1, 570, 572), (1, 2, 572, 572), (1, 572, 572)])
def test_an_invalid_input_shape_is_refused(shape):
    with pytest.raises(InputError):
        UNet(base_channels=1)(torch.zeros(shape))


def test_initial_weights_keep_the_variance():
    torch.manual_seed(0)
    network = UNet(base_channels=32, depth=2)
    for layer in (network.contracting[1][2], network.expanding[1][0], network.classifier):
        incoming = layer.in_channels * math.prod(layer.kernel_size)
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / incoming), rel=0.2)
    up = network.up[1][0]
    assert up.weight.std().item() == pytest.approx(math.sqrt(2 / up.in_channels), rel=0.1)
    assert not any(m.bias.any() for m in network.modules() if isinstance(m, torch.nn.Conv2d))


def test_dropout_acts_on_the_last_two_contracting_levels_and_the_last_skip():
    torch.manual_seed(0)
    network = UNet(base_channels=4, depth=2, dropout=0.5).train()
    dropped = []
    network.dropout.register_forward_hook(lambda _m, _i, out: dropped.append(out))
    joined = []
    network.expanding[1].register_forward_hook(lambda _m, inputs, _o: joined.append(inputs[0]))
    network(torch.rand(1, 1, 60, 60))
    assert [tuple(out.shape[1:2]) for out in dropped] == [(8,), (16,)]
    skip = joined[0][:, 8:]
    torch.testing.assert_close(skip, dropped[0][..., 4:-4, 4:-4], rtol=0, atol=0)
    first = network.eval()(torch.ones(1, 1, 60, 60))
    assert torch.equal(first, network(torch.ones(1, 1, 60, 60)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"depth": 0},
        {"base_channels": 0},
        {"in_channels": UNetConfig()},
        {"num_classes": 1},
        {"num_classes": 257},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"preset": "2016"},
    ],
)
def test_invalid_networks_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        UNet(**wrong)
