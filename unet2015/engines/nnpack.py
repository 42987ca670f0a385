"""Prediction on CPUs with NNPACK, a library that PyTorch contains and does not use by itself.

It computes 3x3 convolutions by Winograd's algorithm: 64 multiplications for 6 x 6 pixels instead of
324 (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016), at the price of
larger rounding errors, still far below those of bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

LEAST_CHANNELS, LEAST_SIDE = 64, 32
"""Channels in and out, and height and width of a map, from which NNPACK is faster than PyTorch's
usual convolutions (measured on two cores with AVX2)."""


def is_available() -> bool:
    """Whether this build of PyTorch contains NNPACK, and this processor runs it."""
    # A private name of PyTorch: should it disappear, the usual convolutions remain.
    known = hasattr(torch, "_nnpack_spatial_convolution")
    return known and bool(torch.backends.nnpack.is_available())  # type: ignore[no-untyped-call]


class NnpackNetwork:
    """A network whose wide 3x3 convolutions of large maps are computed by NNPACK, in float32.

    NNPACK keeps the number of threads that PyTorch has when it is first used, and for each thread
    that calls it the memory of its largest convolution.

    Parameters
    ----------
    network : nn.Module
        On the CPU.
    """

    def __init__(self, network: nn.Module) -> None:
        is_available()  # without this, PyTorch does not initialise NNPACK, and all calls fail
        self._network = network

    def __call__(self, image: Tensor) -> Tensor:
        """Compute the output for float32 of shape (batch, channels, height, width)."""
        with _WideConvolutions():
            return self._network(image)


class _WideConvolutions(TorchFunctionMode):
    """Context in which this thread computes wide 3x3 convolutions with NNPACK."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.conv2d and not kwargs and _suits_nnpack(*args):
            image, weight, bias, stride, padding, *_ = args
            return torch._nnpack_spatial_convolution(image, weight, bias, padding, stride)
        return func(*args, **(kwargs or {}))


def _suits_nnpack(image: Tensor, weight: Tensor, *rest: Any) -> bool:
    """Whether `nn.Conv2d` passes this to `torch.conv2d` for a wide 3x3 layer and a large map."""
    if len(rest) != 5:
        return False
    _bias, stride, padding, dilation, groups = rest
    return (
        all(value in (1, (1, 1)) for value in (stride, dilation, groups))
        and padding in (0, 1, (0, 0), (1, 1))  # NNPACK takes no more than 2
        and weight.shape[2:] == (3, 3)
        and min(weight.shape[:2]) >= LEAST_CHANNELS
        and min(image.shape[2:]) >= LEAST_SIDE
        and image.dtype == weight.dtype == torch.float32
        and image.ndim == 4
    )
