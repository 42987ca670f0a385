"""Faster ways to run a network than PyTorch as it comes: torch.compile and OpenVINO.

Whatever fails in them is told in one line, and PyTorch goes on.
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

from .openvino_engine import OpenVinoNetwork

logger = logging.getLogger(__name__)

Backend = Literal["torch", "compile", "openvino"]
NAMES: dict[Backend, str] = {"compile": "torch.compile", "openvino": "OpenVINO"}

Run = Callable[[Tensor], Tensor]
"""Takes and gives a tensor as a network does."""


class WithFallback:
    """Run a network in a fast way, and as it is from the first failure on.

    Parameters
    ----------
    fast : callable
        Computes what the network does.
    network : nn.Module
        The network.
    name : str
        What to call the fast way.
    """

    def __init__(self, fast: Run, network: nn.Module, name: str) -> None:
        self._run, self._network, self._name = fast, network, name

    def __call__(self, image: Tensor) -> Tensor:
        """Compute the output."""
        try:
            return self._run(image)
        except Exception as error:  # whatever a compiler raises
            if self._run is self._network:
                raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            logger.warning("%s fails (%s): going on without it.", self._name, reason)
            self._run = self._network
            return self._network(image)


@functools.lru_cache(maxsize=1)
def runner(network: nn.Module, dtype: torch.dtype, backend: Backend) -> Run:
    """Prepare a network to be run; the last one is kept, so that a job in batches compiles once.

    Parameters
    ----------
    network : nn.Module
        On its device, in evaluation mode for OpenVINO. OpenVINO does not see later changes.
    dtype : torch.dtype
        Precision of the convolutions, float32 or bfloat16.
    backend : {"torch", "compile", "openvino"}
        In which way.
    """
    if backend == "torch":
        return network
    fast: Run
    if backend == "compile":
        fast = torch.compile(network, dynamic=False)  # tiles have one shape
        logger.info("compiling the network; the first tiles take a while.")
    else:
        fast = OpenVinoNetwork(network, dtype)
    return WithFallback(fast, network, NAMES[backend])


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile has what it needs: a C++ compiler for CPUs, Triton for GPUs."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++", "cl")))
