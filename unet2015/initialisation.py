"""Initial weights adapted to the data (Sec. 3), so that learning starts at once.

"Ideally the initial weights should be adapted such that each feature map in the network has
approximately unit variance." For alternating convolutions and ReLUs, the paper achieves that by
drawing them from a normal distribution, as `UNet` does. But skips, up-convolutions and real images
violate its assumptions: the maps' means and variances drift apart, and training spends its first
few hundred steps on correcting that. Here the drawn weights are adapted to images, following
Salimans and Kingma, "Weight normalization", 2016, Sec. 3.
"""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from .unet import UNet

CONSTANT = 1e-6
"""A feature map with a smaller standard deviation counts as constant and is not scaled."""


@torch.no_grad()
def adapt(network: UNet, images: Tensor) -> None:
    """Adapt weights and biases so that each feature map has mean 0 and variance 1 before its ReLU.

    Parameters
    ----------
    network : UNet
        With its initial weights; changed in place.
    images : Tensor
        Normalised, shape (batch, in_channels, height, width) with valid height and width, on the
        network's device.
    """
    was_training = network.training
    with ExitStack() as hooks:
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                hooks.enter_context(module.register_forward_hook(_standardise))
        network.eval()(images)  # each convolution is adapted before the next sees its maps
    network.train(was_training)


def _standardise(module: nn.Module, _: tuple[Tensor, ...], maps: Tensor) -> Tensor:
    """Forward hook: standardise the maps that a convolution made, and adapt it to match."""
    assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    assert module.bias is not None
    deviation, mean = torch.std_mean(maps, dim=(0, 2, 3))
    deviation = torch.where(deviation < CONSTANT, 1.0, deviation)
    outputs = (1, -1, 1, 1) if isinstance(module, nn.ConvTranspose2d) else (-1, 1, 1, 1)
    module.weight /= deviation.view(outputs)
    module.bias.copy_((module.bias - mean) / deviation)
    # In place: with these maps, training takes the most memory.
    return maps.sub_(mean.view(1, -1, 1, 1)).div_(deviation.view(1, -1, 1, 1))
