"""The weighted energy of Eq. 1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .errors import InputError

_NONE_IGNORED = -(2**62)
"""No target has this value: pixels are ignored by weight, and any class that does not exist is an
error, PyTorch's own -100 included."""


def weighted_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Pixel-wise soft-max cross-entropy, weighted by w(x), divided by the sum of the weights.

    Parameters
    ----------
    logits : Tensor
        Shape (batch, classes, height, width).
    target : Tensor
        Class of each pixel, integer or bool, shape (batch, height, width); a valid class even for
        ignored pixels.
    weight : Tensor
        w(x) of Eq. 2, shape (batch, height, width); 0 for ignored pixels.

    Returns
    -------
    Tensor
        A scalar in float32; 0 when all weights are 0.

    Raises
    ------
    InputError
        If the shapes do not match, the target is of floating-point numbers, there is only one
        class, or an argument is not a tensor.

    Notes
    -----
    Eq. 1 is the sum of ``w(x) log p_l(x)(x)`` over the pixels; the minus sign is implied. Like the
    authors' later code we divide by the sum of the weights, so that neither the size of a tile nor
    the amount of border in it changes the step. **The learning rate depends on that choice.**

    All is computed in float32, even under autocast: bfloat16 has only three digits.
    """
    if not all(isinstance(part, Tensor) for part in (logits, target, weight)):
        raise InputError("the loss takes tensors: convert arrays with torch.from_numpy.")
    wanted = logits.shape[:1] + logits.shape[2:]
    if not wanted == target.shape == weight.shape:
        raise InputError(
            f"logits of shape {tuple(logits.shape)} need a target and weights of shape "
            f"{tuple(wanted)}, not {tuple(target.shape)} and {tuple(weight.shape)}."
        )
    if target.is_floating_point():
        raise InputError(f"the target is {target.dtype}: give integers, one class for each pixel.")
    if logits.ndim < 2 or logits.shape[1] < 2:
        raise InputError(
            "soft-max needs at least two classes: add one for the background, as class 0."
        )
    energy = functional.cross_entropy(
        logits.float(), target.long(), reduction="none", ignore_index=_NONE_IGNORED
    )
    weight = weight.float()
    total = weight.sum()
    return (weight * energy).sum() / torch.where(total > 0, total, torch.ones_like(total))
