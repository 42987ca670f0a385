"""The network of Fig. 1: valid convolutions, nothing else.

Ronneberger, Fischer, Brox: "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015, https://arxiv.org/abs/1505.04597. Sections in comments are the paper's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from . import sizes
from .errors import InputError, check_choice

Preset = Literal["paper", "release"]

MOST_CLASSES = 256
"""Images of classes have 8 bits a pixel."""


@dataclass(frozen=True)
class UNetConfig:
    """Architecture of the network. The defaults are the paper's (Sec. 2, Fig. 1).

    The rate of the drop-out is not in the paper: it is that of the released network.
    """

    in_channels: int = 1
    """Channels of the input image."""
    num_classes: int = 2
    """Classes of the output; class 0 is the background."""
    base_channels: int = 64
    """Feature channels of the first level; each pooling doubles them."""
    depth: int = 4
    """Number of 2x2 max-poolings."""
    dropout: float = 0.5
    """Drop-out probability at the end of the contracting path (Sec. 3.1), from 0 to below 1."""
    preset: Preset = "paper"
    """Up-convolutions as printed in the paper, or as in the code released with it."""


class UNet(nn.Module):
    """The U-Net of 2015: logits for the centre of the input, 92 pixels less on each side.

    Parameters
    ----------
    in_channels, num_classes, base_channels, depth, dropout, preset
        See `UNetConfig`. With the defaults: 31,030,658 parameters, 23 convolutional layers.

        ``preset="paper"``, the default, follows the text of the paper: up-convolutions halve the
        channels and have no ReLU after them.
        ``preset="release"`` follows the network that the authors released: a ReLU after each
        up-convolution, and a last up-convolution that keeps its ``2 * base_channels`` channels;
        31,100,354 parameters.

    Attributes
    ----------
    config : UNetConfig
        The constructor's arguments.
    border : int
        Pixels taken off each side: 92 for depth 4.
    step : int
        Distance between valid sizes: 16 for depth 4.

    Examples
    --------
    >>> network = UNet(base_channels=8)
    >>> network.output_size(572), network.valid_input_size(388), network.border
    (388, 572, 92)
    >>> tuple(network(torch.zeros(1, 1, 444, 892)).shape)
    (1, 2, 260, 708)
    """

    def __init__(
        self,
        in_channels: int = UNetConfig.in_channels,
        num_classes: int = UNetConfig.num_classes,
        base_channels: int = UNetConfig.base_channels,
        depth: int = UNetConfig.depth,
        dropout: float = UNetConfig.dropout,
        preset: Preset = UNetConfig.preset,
    ) -> None:
        super().__init__()
        self.config = UNetConfig(in_channels, num_classes, base_channels, depth, dropout, preset)
        check(self.config)
        self.border = sizes.border(depth)
        self.step = sizes.step(depth)

        channels = [base_channels * 2**level for level in range(depth + 1)]
        up_channels = channels[:-1]  # Sec. 2: an up-convolution "halves the number of channels"
        if preset == "release":
            up_channels = [channels[1], *channels[1:-1]]
        self.contracting = nn.ModuleList(
            _two_convolutions(before, after)
            for before, after in zip([in_channels, *channels[:-1]], channels, strict=True)
        )
        self.up = nn.ModuleList(
            _up_convolution(below, up, preset)
            for below, up in zip(channels[1:], up_channels, strict=True)
        )
        self.expanding = nn.ModuleList(
            _two_convolutions(up + skip, skip)
            for up, skip in zip(up_channels, channels[:-1], strict=True)
        )
        self.classifier = nn.Conv2d(base_channels, num_classes, kernel_size=1)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        """Compute the logits.

        Parameters
        ----------
        image : Tensor
            Shape (batch, in_channels, height, width) with valid height and width.

        Returns
        -------
        Tensor
            Logits of shape (batch, num_classes, height - 2 * border, width - 2 * border).

        Raises
        ------
        InputError
            If the shape does not fit; the message names the nearest valid sizes.
        """
        self._check_shape(image)
        depth = self.config.depth
        skips = []
        x = image  # shapes for base 64, depth 4:  1 x 572 x 572
        for level in range(depth):
            x = self.contracting[level](x)  # 64 x 568 x 568 ... 512 x 64 x 64
            if level == depth - 1:  # Sec. 3.1; before the skip branches off, as in the release
                x = self.dropout(x)
            skips.append(x)
            x = self.pool(x)  # 64 x 284 x 284 ... 512 x 32 x 32
        x = self.dropout(self.contracting[depth](x))  # 1024 x 28 x 28
        for level in reversed(range(depth)):
            x = self.up[level](x)  # 512 x 56 x 56 ... 64 x 392 x 392
            skip = _centre_crop(skips[level], x.shape[-2:])
            x = torch.cat([x, skip], dim=1)  # 1024 x 56 x 56 ... 128 x 392 x 392
            x = self.expanding[level](x)  # 512 x 52 x 52 ... 64 x 388 x 388
        return self.classifier(x)  # 2 x 388 x 388

    def output_size(self, input_size: int) -> int:
        """Output height or width for a valid input height or width; see `sizes.output_size`."""
        return sizes.output_size(input_size, self.config.depth)

    def valid_input_size(self, output_size: int) -> int:
        """Smallest valid input size whose output covers `output_size` pixels."""
        return sizes.valid_input_size(output_size, self.config.depth)

    def _check_shape(self, image: Tensor) -> None:
        if image.ndim != 4 or image.shape[1] != self.config.in_channels:
            raise InputError(
                f"the network takes images of shape (batch, {self.config.in_channels}, height, "
                f"width), not {tuple(image.shape)}."
            )
        for size in image.shape[-2:]:
            self.output_size(size)


def _two_convolutions(before: int, after: int) -> nn.Sequential:
    """Sec. 2: "two 3x3 convolutions (unpadded convolutions), each followed by a ReLU"."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel_size=3),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, kernel_size=3),
        nn.ReLU(inplace=True),
    )


def _up_convolution(before: int, after: int, preset: Preset) -> nn.Sequential:
    """Sec. 2: "a 2x2 convolution ('up-convolution')"; the release has a ReLU after it."""
    up = nn.ConvTranspose2d(before, after, kernel_size=2, stride=2)
    return nn.Sequential(up, nn.ReLU(inplace=True)) if preset == "release" else nn.Sequential(up)


def _centre_crop(skip: Tensor, shape: torch.Size) -> Tensor:
    top, left = ((have - want) // 2 for have, want in zip(skip.shape[-2:], shape, strict=True))
    return skip[..., top : top + shape[0], left : left + shape[1]]


def _initialise(module: nn.Module) -> None:
    """Sec. 3: normal with standard deviation sqrt(2/N), N the incoming nodes of one neuron."""
    # `load_model` builds on the meta device, where drawing weights would have no effect, but take a
    # second for imports.
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and not module.weight.is_meta:
        incoming = module.in_channels
        if isinstance(module, nn.Conv2d):  # an up-convolution's output pixel sees one input pixel
            incoming *= math.prod(module.kernel_size)
        nn.init.normal_(module.weight, std=math.sqrt(2 / incoming))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def check(config: UNetConfig) -> None:
    """Refuse an invalid architecture."""
    for name, least in [("in_channels", 1), ("num_classes", 2), ("base_channels", 1), ("depth", 1)]:
        value = getattr(config, name)
        if not isinstance(value, Integral) or value < least:
            raise InputError(f"{name} is {value}: it must be a whole number of at least {least}.")
    if config.num_classes > MOST_CLASSES:
        raise InputError(f"num_classes is {config.num_classes}: it must be {MOST_CLASSES} at most.")
    if not 0 <= config.dropout < 1:
        raise InputError(f"dropout is {config.dropout}: it must be at least 0 and below 1.")
    check_choice("preset", config.preset, get_args(Preset))
