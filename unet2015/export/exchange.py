"""Networks for other programs, as ONNX and TorchScript: class probabilities instead of logits.

Both take float32 of shape (1, channels, height, width), of any valid size and normalised as the
model requires, and give the class probabilities of all but `border` pixels on each side.
"""

from __future__ import annotations

import copy
import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..atomic import atomic_path
from ..checkpoint import Model
from ..errors import InputError
from ..unet import UNet

logger = logging.getLogger(__name__)

INPUT, OUTPUT = "image", "probabilities"
"""Names of the tensors."""
TOLERANCE = 1e-4
"""Largest difference from PyTorch's probabilities that counts as rounding."""
OPSET = 18
LARGEST = 2**16
"""Largest height and width of a tile in pixels; the exporter needs a bound."""


class Probabilities(nn.Module):
    """A U-Net that ends in the soft-max over the classes (Sec. 3)."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).cpu().eval()

    def forward(self, image: Tensor) -> Tensor:
        """Compute probabilities of shape (1, classes, height - 2 border, width - 2 border)."""
        return torch.softmax(self.network(image), dim=1)


class SizeChecked(nn.Module):
    """A traced network that refuses invalid sizes; tracing drops the network's own check.

    Parameters
    ----------
    traced : callable
        The network.
    least, step : int
        The smallest valid size, and the step between valid sizes, in pixels.
    """

    def __init__(self, traced: nn.Module, least: int, step: int) -> None:
        super().__init__()
        self.traced, self.least, self.step = traced, least, step

    def forward(self, image: Tensor) -> Tensor:
        """Run the network; raise ValueError for an invalid size."""
        for size in (image.size(2), image.size(3)):
            if size < self.least or (size - self.least) % self.step != 0:
                raise ValueError(f"valid sizes are {self.least} + n * {self.step}, not {size}")
        return self.traced(image)


def write_onnx(path: Path | str, model: Model) -> None:
    """Write a network as ONNX, and check that ONNX Runtime gets the same result.

    Parameters
    ----------
    path : Path or str
        The file, written only if the check succeeds. Its folder is created if needed.
    model : Model
        From `load_model`.

    Raises
    ------
    InputError
        If a package of the extra ``[bioimageio]`` is missing, or ONNX Runtime gets another result.
    """
    for package in ("onnxscript", "onnxruntime"):
        require(package)
    logger.info("exporting and checking; this takes about a minute.")
    network = Probabilities(model.network)
    example = example_input(model, 2, 3)
    with quiet():
        exported = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={INPUT: _valid_sizes(model.network)},
            verbose=False,
        )
    assert exported is not None
    exported.model.metadata_props.update(metadata(model))
    with atomic_path(path) as temporary:
        exported.save(temporary, external_data=False)
        _check_onnx(temporary, network, example_input(model, 5, 4))


def write_torchscript(path: Path | str, model: Model) -> None:
    """Write a network as TorchScript, which needs no Python to run.

    Parameters
    ----------
    path : Path or str
        The file, written only if TorchScript gets the same result. Its folder is created if needed.
    model : Model
        From `load_model`.

    Raises
    ------
    InputError
        If TorchScript gets another result.
    """
    network = Probabilities(model.network)
    least, step = model.network.valid_input_size(1), model.network.step
    facts = {f"{name}.txt": text for name, text in metadata(model).items()}
    written = io.BytesIO()  # writing to a full disk, PyTorch would crash
    with quiet():
        traced = torch.jit.trace(network, example_input(model, 2, 3))  # type: ignore[no-untyped-call]
        checked = torch.jit.script(SizeChecked(traced, least, step))
        torch.jit.save(checked, written, _extra_files=facts)
        written.seek(0)
        loaded = torch.jit.load(written)  # type: ignore[no-untyped-call]
    image = example_input(model, 5, 4)
    _check(loaded(image).detach().numpy(), network, image, "TorchScript")
    with atomic_path(path) as temporary:
        temporary.write_bytes(written.getvalue())


def metadata(model: Model) -> dict[str, str]:
    """Facts that a program needs to use the network, by name."""
    network = model.network
    smallest = network.valid_input_size(1)
    return {
        "made with": f"unet2015 {model.version}",
        "normalisation": model.normalisation,
        "classes": ", ".join(model.class_names),
        "least size": f"{model.min_size} pixels, smaller objects are not cells",
        "border": str(network.border),
        "sizes": f"{smallest} + n * {network.step}, n = 0, 1, 2, ...",
    }


def example_input(model: Model, rows: int, columns: int) -> Tensor:
    """Noise, `rows` and `columns` steps larger than the smallest valid size."""
    network = model.network
    least = network.valid_input_size(1)
    shape = (least + rows * network.step, least + columns * network.step)
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, network.config.in_channels, *shape, generator=generator)


def require(package: str) -> Any:
    """Import a package of the extra ``[bioimageio]``.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(
            f"{package} is not installed: install unet2015 with the extra [bioimageio], in a clone "
            'of its repository with `pip install ".[bioimageio]"`.'
        ) from error


def _valid_sizes(network: UNet) -> dict[int, Any]:
    """Height and width for the exporter: the smallest valid size and steps above it."""
    step, remainder = network.step, network.valid_input_size(1) % network.step
    least = network.valid_input_size(1) // step
    dim = torch.export.Dim
    return {
        axis: step * dim(name, min=least, max=LARGEST // step) + remainder
        for axis, name in ((2, "rows"), (3, "columns"))
    }


def _check_onnx(path: Path, network: Probabilities, image: Tensor) -> None:
    runtime = require("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    _check(session.run([OUTPUT], {INPUT: image.numpy()})[0], network, image, "ONNX Runtime")


def _check(found: Any, network: Probabilities, image: Tensor, program: str) -> None:
    with torch.inference_mode():
        expected = network(image).numpy()
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=0, atol=TOLERANCE):
        raise InputError(
            f"{program} does not compute what PyTorch does with this network, so nothing was "
            "written: try the versions in constraints.txt."
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence PyTorch: shape checks are rightly left untraced, and TorchScript is deprecated."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
