"""Faster ways to run a network than plain PyTorch: NNPACK, torch.compile and OpenVINO.

If they fail, that is logged in one line, and PyTorch takes over.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import shutil
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import InputError, brief
from .nnpack import NnpackNetwork
from .openvino_engine import OpenVinoNetwork

logger = logging.getLogger(__name__)

Backend = Literal["torch", "nnpack", "compile", "openvino"]
NAMES: dict[Backend, str] = {"nnpack": "NNPACK", "compile": "torch.compile", "openvino": "OpenVINO"}

Run = Callable[[Tensor], Tensor]
"""Maps a tensor to a tensor, like a network."""


NOT_THE_BACKEND = (torch.OutOfMemoryError, InputError)
"""Errors that would be the same without it."""
REASON_LENGTH = 300
"""Characters of a compiler's error message to log."""


class WithFallback:
    """Run a network on a fast backend, and without it from the first failure on.

    Parameters
    ----------
    fast : callable
        Computes the same as the network.
    network : nn.Module
        The network.
    name : str
        The backend, for messages.
    """

    def __init__(self, fast: Run, network: nn.Module, name: str) -> None:
        self._run, self._network, self._name = fast, network, name

    def __call__(self, image: Tensor) -> Tensor:
        """Compute the output."""
        run = self._run  # another thread may fall back meanwhile
        try:
            return run(image)
        except Exception as error:  # compilers may raise anything
            if run is self._network or isinstance(error, NOT_THE_BACKEND):
                raise
            self.fall_back(error)  # unless another thread has
        return self._network(image)

    def fall_back(self, error: Exception) -> bool:
        """Stop using the backend because of an error; False if that would not help."""
        if self._run is self._network or isinstance(error, NOT_THE_BACKEND):
            return False
        logger.warning("%s failed (%s): continuing without it.", self._name, _reason(error))
        self._run = self._network
        return True


def _reason(error: Exception) -> str:
    """The message of an error, without overlong lines such as a compiler's command."""
    lines = str(error).splitlines()
    short_lines = [line for line in lines if len(line) <= REASON_LENGTH] or lines
    return brief(" ".join(short_lines), REASON_LENGTH) or type(error).__name__


def runner(network: nn.Module, dtype: torch.dtype, backend: Backend) -> WithFallback:
    """Prepare a network to run; the last one is cached, so that a job in batches prepares it once.

    Parameters
    ----------
    network : nn.Module
        On its device, in evaluation mode for OpenVINO, which misses changes of the weights that
        PyTorch does not count as new versions, such as through ``.data``.
    dtype : torch.dtype
        Precision of the convolutions, float32 or bfloat16.
    backend : {"torch", "nnpack", "compile", "openvino"}
        How to run it.
    """
    if backend == "torch":
        return WithFallback(network, network, "PyTorch")
    # OpenVINO copies the weights; the others see when they change.
    weights = network.state_dict().values() if backend == "openvino" else ()
    state = tuple((part.data_ptr(), part._version) for part in weights)
    return _prepare(network, dtype, backend, state)


@functools.lru_cache(maxsize=1)
def _prepare(
    network: nn.Module, dtype: torch.dtype, backend: Backend, _state: tuple[tuple[int, int], ...]
) -> WithFallback:
    fast: Run
    if backend == "compile":
        fast = torch.compile(network, dynamic=False)  # tiles have one shape, or two if rotated
        logger.info("compiling the network; the first tiles take a while.")
    elif backend == "nnpack":
        fast = NnpackNetwork(network)
    else:
        fast = OpenVinoNetwork(network, dtype)
    return WithFallback(fast, network, NAMES[backend])


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile has what it needs: a C++ compiler for CPUs, Triton for GPUs."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++", "cl")))
