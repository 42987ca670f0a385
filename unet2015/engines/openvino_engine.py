"""Prediction on CPUs with OpenVINO, which is faster than PyTorch on large tiles."""

from __future__ import annotations

import functools
import importlib
import logging
import sys
import threading
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from ..unet import UNet

logger = logging.getLogger(__name__)

PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}
SHAPES_KEPT = 4
"""Input shapes that stay compiled; each takes tens of megabytes."""


def is_installed() -> bool:
    """Whether OpenVINO can be imported (the extra ``[openvino]``)."""
    try:
        _import_openvino()
    except ModuleNotFoundError:
        return False
    except Exception as error:  # builds for other machines may raise anything
        logger.warning("OpenVINO is installed but cannot be imported (%s).", error)
        return False
    return True


def _import_openvino() -> Any:
    """Import OpenVINO without its telemetry, which reports every use to Intel."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


_CORE_LOCK = threading.Lock()


@functools.cache
def _core() -> Any:
    """The one OpenVINO core of the process; call this under the lock.

    ``openvino.compile_model`` makes one for each call. When the last network of a core is freed,
    OpenVINO ends its threads, which under load corrupts memory: the process crashes later.
    """
    return _import_openvino().Core()


class OpenVinoNetwork:
    """A network that OpenVINO runs, compiled for each shape of the input.

    Concurrent calls wait for each other: each uses all cores, and they share memory.

    Parameters
    ----------
    network : nn.Module
        On the CPU, in evaluation mode; takes and returns one tensor. Later changes of its weights
        have no effect.
    dtype : torch.dtype
        Precision of the convolutions, float32 or bfloat16.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        self._network, self._dtype = network, dtype
        self._compiled: dict[tuple[int, ...], Any] = {}
        self._lock = threading.Lock()

    def __call__(self, image: Tensor) -> Tensor:
        """Compute the output for float32 of shape (batch, channels, height, width)."""
        shape = tuple(image.shape)
        with self._lock:
            compiled = self._compiled.pop(shape, None) or self._compile(image)
            self._compiled[shape] = compiled  # the least recently used goes first
            if len(self._compiled) > SHAPES_KEPT:
                del self._compiled[next(iter(self._compiled))]
            return torch.from_numpy(compiled(image.contiguous().numpy())[0])

    def _compile(self, image: Tensor) -> Any:
        openvino = _import_openvino()
        logger.debug("compiling the network for tiles of %d x %d.", *image.shape[-2:])
        # The precision is set below; traces under autocast cannot be converted. Tracing here runs
        # the network once, tracing by OpenVINO several times.
        with warnings.catch_warnings(), torch.autocast("cpu", enabled=False):
            warnings.simplefilter("ignore")  # checks of the shape are not traced, as intended
            example = self._example(image)
            traced = torch.jit.trace(self._network, example, check_trace=False)  # type: ignore[no-untyped-call]
            described = openvino.convert_model(traced, input=list(image.shape))
        settings = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[self._dtype],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        with _CORE_LOCK:
            core = _core()
        return core.compile_model(described, "CPU", settings)

    def _example(self, image: Tensor) -> Tensor:
        """Input for tracing, which takes as long as a prediction: so a small part of a tile."""
        if not isinstance(self._network, UNet):
            return image  # which sizes other networks accept is not known
        least = self._network.valid_input_size(1)
        return image[..., :least, :least].contiguous()
