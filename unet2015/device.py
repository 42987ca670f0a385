"""Where and in which precision the network runs."""

from __future__ import annotations

import contextlib
import logging
from typing import Literal, NamedTuple

import torch
from torch import nn

from . import openvino_engine
from .errors import InputError

logger = logging.getLogger(__name__)

DeviceName = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]
Backend = Literal["auto", "torch", "openvino"]

OPENVINO_PAYS = 30e6
"""Pixels from which OpenVINO makes up for the seconds in which it compiles the network."""


class Engine(NamedTuple):
    """A device, and how convolutions are computed on it."""

    device: torch.device
    dtype: torch.dtype = torch.float32
    openvino: bool = False
    """Whether OpenVINO predicts instead of PyTorch; on a CPU only."""

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Context in which convolutions run in `dtype`."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def place(self, network: nn.Module, training: bool = False) -> nn.Module:
        """Bring a network to the device, in the memory format that suits it."""
        # The overloads of `to` do not list the memory format.
        return network.to(self.device, memory_format=self.memory_format(training))  # type: ignore[call-overload]

    def memory_format(self, training: bool = False) -> torch.memory_format:
        """Channels last, but for training in float32 on a CPU: the way back is slower in it."""
        slower = training and self.dtype == torch.float32 and self.device.type == "cpu"
        return torch.contiguous_format if slower else torch.channels_last

    def __str__(self) -> str:
        with_openvino = ", OpenVINO" if self.openvino else ""
        return f"{self.device.type}, {str(self.dtype).removeprefix('torch.')}{with_openvino}"


def choose_engine(device: DeviceName = "auto", precision: Precision = "auto") -> Engine:
    """Choose device and precision: a GPU if there is one, bfloat16 where the hardware has it.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        ``auto`` takes the GPU when there is one.
    precision : {"auto", "float32", "bfloat16"}
        ``auto`` takes bfloat16 where it is faster: in hardware.

    Raises
    ------
    InputError
        If a GPU is asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no CUDA device here: use --device cpu or auto.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if precision == "auto":
        precision = "bfloat16" if _has_bfloat16(device) else "float32"
    return Engine(torch.device(device), getattr(torch, precision))


def choose_backend(engine: Engine, backend: Backend, pixels: int) -> Engine:
    """Let OpenVINO predict where that is asked for, or pays.

    Parameters
    ----------
    engine : Engine
        From `choose_engine`.
    backend : {"auto", "torch", "openvino"}
        ``auto`` takes OpenVINO if it is installed, on a CPU, for a large job.
    pixels : int
        Size of the job.

    Raises
    ------
    InputError
        If OpenVINO is asked for and is not installed, or on a GPU.
    """
    on_cpu = engine.device.type == "cpu"
    if backend == "openvino" and not (on_cpu and openvino_engine.is_installed()):
        raise InputError(
            "OpenVINO predicts on a CPU, after `pip install 'unet2015[openvino]'`: "
            "use --backend torch or auto."
        )
    pays = on_cpu and pixels >= OPENVINO_PAYS and openvino_engine.is_installed()
    return engine._replace(openvino=backend == "openvino" or (backend == "auto" and pays))


def _has_bfloat16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Private names, which may go: then bfloat16 has to be asked for.
    asked = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in asked)


def compiled(network: nn.Module, engine: Engine, calls: int) -> nn.Module:
    """Compile a network if that pays, or give it back as it is.

    Compilation takes half a minute. It gains time on a GPU and on processors with bfloat16 units;
    in float32 on a CPU it gains nothing (measured), so that is left alone.

    Parameters
    ----------
    network : nn.Module
        On the engine's device.
    engine : Engine
        Where it runs.
    calls : int
        How often it will be called.
    """
    if calls < 500 or (engine.device.type == "cpu" and engine.dtype == torch.float32):
        return network
    torch._dynamo.config.suppress_errors = True  # whatever cannot be compiled runs as it is
    logger.info("compiling the network; the first steps take a while.")
    return torch.compile(network)  # type: ignore[return-value]
