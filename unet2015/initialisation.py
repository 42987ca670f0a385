"""Initial weights adapted to the data (Sec. 3), so that training starts at once.

"Ideally the initial weights should be adapted such that each feature map in the network has
approximately unit variance." For alternating convolutions and ReLUs, the paper goes on, drawing
them from a normal distribution does that; so `UNet` draws them. But skips, up-convolutions and
real images are not what that assumes: the maps' means and variances drift apart, and the first
hundreds of steps are spent on mending it. Here the drawn weights are adapted by looking at images,
as by Salimans and Kingma, "Weight normalization", 2016, Sec. 3.
"""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from .unet import UNet

CONSTANT = 1e-6
"""A feature map with a smaller standard deviation is constant, and is not scaled."""


@torch.no_grad()
def adapt(network: UNet, images: Tensor) -> None:
    """Scale and shift the weights so that each feature map has variance 1 and mean 0.

    Parameters
    ----------
    network : UNet
        With its initial weights; changed in place. The maps meant are those before the ReLU.
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
    """Forward hook: adapt a convolution to the maps it has made, and correct the maps."""
    assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    assert module.bias is not None
    deviation, mean = torch.std_mean(maps, dim=(0, 2, 3))
    deviation = torch.where(deviation < CONSTANT, 1.0, deviation)
    outputs = (1, -1, 1, 1) if isinstance(module, nn.ConvTranspose2d) else (-1, 1, 1, 1)
    module.weight /= deviation.view(outputs)
    module.bias.copy_((module.bias - mean) / deviation)
    # In place: these maps are the most memory that a training takes at once.
    return maps.sub_(mean.view(1, -1, 1, 1)).div_(deviation.view(1, -1, 1, 1))
