"""Averaging over mirrored and rotated images (Sec. 4: "averaged over 7 rotated versions").

Each tile is mirrored and rotated on its own. That leaves no seams: input and output of a network of
valid convolutions have the same centre, and its poolings divide a valid size without remainder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Average = Literal["none", "mirrored", "rotated"]

SYMMETRIES: dict[Average, tuple[tuple[int, bool], ...]] = {
    "none": ((0, False),),
    "mirrored": tuple((turns, flip) for turns in (0, 2) for flip in (False, True)),
    "rotated": tuple((turns, flip) for turns in range(4) for flip in (False, True)),
}
"""Quarter turns of the image, and whether its columns are reversed first. Mirrored: the image, its
two mirror images and both at once, as in the authors' released code; rotated: all eight."""


def averaged(run: Callable[[Tensor], Tensor], average: Average) -> Callable[[Tensor], Tensor]:
    """Average a network's output over mirrored and rotated images.

    Parameters
    ----------
    run : callable
        Maps images of shape (batch, channels, height, width) to float32 output of shape (batch,
        classes, height, width).
    average : {"none", "mirrored", "rotated"}
        One of `SYMMETRIES`.
    """
    symmetries = SYMMETRIES[average]

    def mean(images: Tensor) -> Tensor:
        outputs = (_back(run(_forth(images, *each)), *each) for each in symmetries)
        total = next(outputs).clone()
        for output in outputs:
            total += output
        return total / len(symmetries)

    return run if average == "none" else mean


def _forth(images: Tensor, turns: int, flip: bool) -> Tensor:
    moved = torch.rot90(images.flip(-1) if flip else images, turns, (-2, -1))
    return moved.contiguous(memory_format=torch.channels_last)


def _back(output: Tensor, turns: int, flip: bool) -> Tensor:
    moved = torch.rot90(output, -turns, (-2, -1))
    return moved.flip(-1) if flip else moved
