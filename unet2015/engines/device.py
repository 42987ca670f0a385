"""Device, precision and backend of the network."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import InputError, check_choice
from ..symmetries import SYMMETRIES, Average
from . import nnpack, openvino_engine
from .backends import NAMES, Backend, can_compile

if TYPE_CHECKING:
    from ..checkpoint import Model

DeviceName = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]
BackendName = Literal["auto", Backend]

OPENVINO_PAYS = 150e6
"""Pixels from which OpenVINO saves more than its two or three seconds of preparation, for 16 base
channels and with `keep_memory`; the work per pixel grows with the square of the channels."""
OPENVINO_PAYS_WITH_AMX = 30e6
"""The same in AMX's bfloat16."""
COMPILING_PAYS = 600e6
"""The same for torch.compile, which takes half a minute."""
COMPILING_PAYS_ON_GPU = 400e9
"""The same on a GPU, estimated, not measured: compiling takes a minute and a half, and saves a
quarter of six minutes at 100 TFLOP/s."""
PASSES = 3
"""Cost of a training step, forward and backward, in predictions of a tile."""
_PLACING = threading.Lock()
"""Held while a network is moved: a second thread that moves it, too, would free the weights that
the first is still copying."""


class Engine(NamedTuple):
    """A device, and how a network is run on it."""

    device: torch.device
    dtype: torch.dtype = torch.float32
    backend: Backend = "torch"
    """What runs the network in prediction."""
    average: Average = "none"
    """Mirrored and rotated images over which prediction averages the network's output."""

    @property
    def precision(self) -> str:
        """The name of `dtype`, without its module."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def options(self) -> dict[str, str]:
        """All that a result depends on, by the names of the options."""
        names = {"device": self.device.type, "precision": self.precision}
        return {**names, "backend": self.backend, "average": self.average}

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Context in which convolutions run in `dtype`."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def place(self, network: nn.Module, training: bool = False) -> nn.Module:
        """Move a network to the device, in the memory format that suits it.

        Float32 on a GPU switches TF32 off in this process: it has only 10 bits of mantissa.
        """
        if self.device.type == "cuda" and self.dtype == torch.float32:
            torch.backends.cudnn.allow_tf32 = False
        # A caller's inference mode would make the weights untrainable.
        with _PLACING, torch.inference_mode(False):
            # The overloads of `to` do not list the memory format.
            return network.to(self.device, memory_format=self.memory_format(training))  # type: ignore[call-overload]

    def memory_format(self, training: bool = False) -> torch.memory_format:
        """Channels last, except where they are slower.

        These are NNPACK, which would copy each map, and float32 training on a CPU.
        """
        trained = training and self.dtype == torch.float32 and self.device.type == "cpu"
        slower = trained or self.backend == "nnpack"
        return torch.contiguous_format if slower else torch.channels_last

    @property
    def ahead(self) -> int:
        """Images to send before waiting for the result of one: a GPU has a queue."""
        return 1 if self.device.type == "cuda" else 0

    def send(self, images: Tensor) -> Tensor:
        """Move images to the device as float32; on a GPU, asynchronously."""
        if self.device.type == "cuda":
            images = images.pin_memory()
        images = images.to(self.device, torch.float32, non_blocking=True)
        return images.contiguous(memory_format=self.memory_format())

    def fetch(self, result: Tensor) -> Callable[[], NDArray[Any]]:
        """Start copying a result from the device; the returned function waits for it."""
        if self.device.type != "cuda":
            return result.cpu().numpy
        copy = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
        copy.copy_(result, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record(torch.cuda.current_stream(result.device))

        def wait() -> NDArray[Any]:
            copied.synchronize()
            return copy.numpy().copy()  # pinned memory is scarce

        return wait

    @property
    def gains_by_compiling(self) -> bool:
        """Whether torch.compile works and makes networks faster: on GPUs, and in AMX's bfloat16.

        In float32 on a CPU, and in AVX-512's bfloat16, it gains nothing (measured).
        """
        fast = self.device.type == "cuda" or (self.dtype == torch.bfloat16 and _has_amx())
        return fast and can_compile(self.device)

    @property
    def can_use_nnpack(self) -> bool:
        """Whether NNPACK computes on this device and in this precision, and PyTorch contains it."""
        suits = self.device.type == "cpu" and self.dtype == torch.float32
        return suits and nnpack.is_available()

    @property
    def can_use_openvino(self) -> bool:
        """Whether OpenVINO computes on this device and is installed."""
        return self.device.type == "cpu" and openvino_engine.is_installed()

    def gains_by_nnpack(self, base_channels: int) -> bool:
        """Whether NNPACK makes a network faster: a wide one, on processors with AVX2 alone.

        With AVX-512, where PyTorch's usual convolutions are faster, too, that was not measured.
        """
        avx2 = torch.backends.cpu.get_cpu_capability() == "AVX2"
        return avx2 and base_channels >= nnpack.LEAST_CHANNELS and self.can_use_nnpack

    def compiling_pays(self, pixels: int, base_channels: int) -> bool:
        """Whether torch.compile saves more time than it takes, for a job of this many pixels."""
        enough = COMPILING_PAYS_ON_GPU if self.device.type == "cuda" else COMPILING_PAYS
        return _work(pixels, base_channels) >= enough and self.gains_by_compiling

    def __str__(self) -> str:
        through = f", {NAMES[self.backend]}" if self.backend in NAMES else ""
        images = len(SYMMETRIES[self.average])
        mean = f", averaged over {images} {self.average} images" if images > 1 else ""
        return f"{self.device.type}, {self.precision}{through}{mean}"


def choose_engine(
    device: DeviceName = "auto",
    precision: Precision = "auto",
    average: Average = "none",
    model: Model | None = None,
) -> Engine:
    """Choose an NVIDIA GPU if there is one, and bfloat16 where the hardware has it.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        ``auto`` takes the GPU when there is one.
    precision : {"auto", "float32", "bfloat16"}
        ``auto`` takes bfloat16 where the hardware has it.
    average : {"none", "mirrored", "rotated"}
        In prediction, average the network's output, before the softmax, over each tile, its two
        mirror images and both mirrorings at once, or over all eight flips and quarter turns.
    model : Model, optional
        What is to be predicted with: NNPACK runs it where that is faster.

    Raises
    ------
    InputError
        If a GPU is requested and there is none, or a name is unknown.
    """
    check_choice("precision", precision, get_args(Precision))
    check_choice("device", device, get_args(DeviceName))
    check_choice("average", average, get_args(Average))
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no CUDA device here: use --device cpu or auto.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if precision == "auto":
        precision = "bfloat16" if _has_bfloat16(device) else "float32"
    engine = Engine(torch.device(device), getattr(torch, precision), average=average)
    if model is not None and engine.gains_by_nnpack(model.network.config.base_channels):
        return engine._replace(backend="nnpack")
    return engine


def check_engine(engine: object) -> None:
    """Refuse what is not an engine, such as the name of a device."""
    if not isinstance(engine, Engine):
        raise InputError(f"the engine is {engine!r}: pass one that `choose_engine` has made.")


def choose_backend(
    engine: Engine, backend: BackendName, pixels: int, base_channels: int = 16
) -> Engine:
    """Choose NNPACK, OpenVINO or torch.compile for prediction where requested or worthwhile.

    Parameters
    ----------
    engine : Engine
        From `choose_engine`.
    backend : {"auto", "torch", "nnpack", "compile", "openvino"}
        ``auto`` takes NNPACK for wide networks on processors with AVX2 alone, OpenVINO, if
        installed, for a large job on a CPU, otherwise torch.compile where it makes a large job
        faster.
    pixels : int
        Pixels to predict in images of one size; other sizes repeat the preparation.
    base_channels : int
        Channels of the network's first level.

    Raises
    ------
    InputError
        If OpenVINO is requested on a GPU or is not installed, NNPACK is requested for other than
        float32 on a CPU or PyTorch lacks it, torch.compile is requested and there is no compiler,
        or the name is unknown.
    """
    check_choice("backend", backend, get_args(BackendName))
    if backend == "openvino" and not engine.can_use_openvino:
        raise InputError(
            "OpenVINO needs a CPU and the extra [openvino], in a clone of the repository "
            '`pip install ".[openvino]"`: install it and use --device cpu, or take --backend auto.'
        )
    if backend == "nnpack" and not engine.can_use_nnpack:
        raise InputError(
            "NNPACK computes in float32 on a CPU, and PyTorch for Windows lacks it: use "
            "--device cpu --precision float32, or take --backend auto."
        )
    if backend == "compile" and not can_compile(engine.device):
        raise InputError(
            "torch.compile needs a C++ compiler, or Triton on a GPU: use --backend torch or auto."
        )
    if backend != "auto":
        return engine._replace(backend=backend)
    if engine.gains_by_nnpack(base_channels):
        return engine._replace(backend="nnpack")
    pixels *= len(SYMMETRIES[engine.average])
    with_amx = engine.dtype == torch.bfloat16 and _has_amx()
    openvino_pays = OPENVINO_PAYS_WITH_AMX if with_amx else OPENVINO_PAYS
    if _work(pixels, base_channels) >= openvino_pays and engine.can_use_openvino:
        return engine._replace(backend="openvino")
    if engine.compiling_pays(pixels, base_channels):
        return engine._replace(backend="compile")
    return engine


def _work(pixels: int, base_channels: int) -> float:
    """Pixels that are as much work for a network of 16 base channels."""
    return pixels * (base_channels / 16) ** 2


def _has_bfloat16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return _has_amx() or _has("_is_avx512_bf16_supported")


def _has_amx() -> bool:
    return _has("_is_amx_tile_supported")


def _has(instructions: str) -> bool:
    # A private name of PyTorch: should it disappear, bfloat16 must be requested.
    return bool(getattr(torch.cpu, instructions, lambda: False)())
