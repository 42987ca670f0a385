"""Initial weights adapted to the data."""

from __future__ import annotations

import torch
from torch import nn

from unet2015.initialisation import adapt
from unet2015.unet import UNet


def maps_of(network: UNet, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """The output of each convolution, before the ReLU."""
    found: dict[str, torch.Tensor] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(
                lambda *made, name=name: found.__setitem__(name, made[2].clone())
            )
    with torch.no_grad():
        network.eval()(images)
    return found


def test_adapted_feature_maps_have_mean_0_and_variance_1() -> None:
    torch.manual_seed(0)
    network, images = UNet(base_channels=4), 3 * torch.randn(2, 1, 188, 204) + 2
    adapt(network, images)
    adapt(network, images)  # whose biases are no longer 0
    maps = maps_of(network, images)
    assert len(maps) == 23  # "In total the network has 23 convolutional layers" (Sec. 2)
    for name, made in maps.items():
        deviation, mean = torch.std_mean(made, dim=(0, 2, 3))
        torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-4, rtol=0, msg=name)
        torch.testing.assert_close(
            deviation, torch.ones_like(deviation), atol=1e-4, rtol=0, msg=name
        )


def test_unadapted_feature_maps_drift_apart() -> None:
    torch.manual_seed(0)
    maps = maps_of(UNet(base_channels=4), torch.randn(2, 1, 188, 204))
    assert max(float(made.std(dim=(0, 2, 3)).max()) for made in maps.values()) > 2


def test_a_blank_image_leaves_finite_weights() -> None:
    network = UNet(base_channels=2, depth=1)
    adapt(network, torch.zeros(1, 1, 64, 64))
    assert all(part.isfinite().all() for part in network.parameters())


def test_adapting_ignores_dropout_and_keeps_the_training_mode() -> None:
    networks = [UNet(base_channels=2, depth=1, dropout=rate) for rate in (0.0, 0.9)]
    networks[1].load_state_dict(networks[0].state_dict())
    for network in networks:
        adapt(network.train(), torch.ones(1, 1, 64, 64).cumsum(2))
        assert network.training
    pairs = zip(networks[0].parameters(), networks[1].parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    adapt(networks[0].eval(), torch.ones(1, 1, 64, 64))
    assert not networks[0].training
