"""A model as a bioimage.io package, for the programs of the BioImage Model Zoo.

The format is version 0.5 of https://bioimage-io.github.io/spec-bioimage-io. The zoo's own library,
from the extra ``[bioimageio]``, describes, packs and tests the package.
"""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray

from .. import normalisation
from ..atomic import atomic_path
from ..checkpoint import Model
from ..errors import InputError, brief
from ..pictures import to_grey
from . import exchange
from .exchange import INPUT, OPSET, OUTPUT, quiet, require

logger = logging.getLogger(__name__)

PAPER = (
    "Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation"
)
PAPER_DOI = "10.1007/978-3-319-24574-4_28"
LARGEST_SAMPLE = 512
"""Largest height and width of the sample in pixels."""
FORBIDDEN = re.compile(r"[^A-Za-z0-9_+\- ()]")
"""A character that is not allowed in the name of a model."""
DOCUMENTATION = """# {name}

{description}

A [U-Net of 2015](https://doi.org/{doi}) with valid convolutions, {channels} base channels and depth
{depth}, made with unet2015 {version}.

## Sizes

Height and width of the input must be {smallest}, {smallest} + {step}, {smallest} + 2 * {step}, and
so on. The output is {taken} pixels smaller: {border} pixels are missing on each side, since the
convolutions are not padded. To predict a whole image without seams, mirror it by {border} pixels on
each side (without repeating the border pixel), and move tiles by multiples of {step} pixels.

## Input and output

Input: raw grey values; they are normalised as described in `rdf.yaml` ("{normalisation}"), with the
statistics of the whole image, not of a tile. Output: the probability of each class ({classes}).

## Data

{data}

## Validation

`test_input.npy` gives `test_output.npy`. Before use on other images, compare the predicted cells
with cells outlined by hand, for instance with `unet2015 evaluate`.
"""


@dataclass(frozen=True)
class About:
    """What users should know about a model."""

    name: str
    """5 to 128 letters, digits, spaces or ``_+-()``."""
    description: str = "Segments cells in microscopy images."
    data: str = "The training data are not stated."
    """The training data, and their terms."""
    citation: Sequence[tuple[str, str]] = ()
    """What to cite for the data: pairs of text and DOI."""
    authors: tuple[str, ...] = ()
    license: str | None = None
    """An SPDX identifier such as CC-BY-4.0."""


def write_package(path: Path | str, model: Model, about: About, sample: NDArray[Any]) -> None:
    """Write a bioimage.io package: weights as ONNX and TorchScript, description, sample, help.

    Parameters
    ----------
    path : Path or str
        The zip file, written only if bioimageio.core can run it and gets the same result. Its
        folder is created if needed.
    model : Model
        From `load_model`.
    about : About
        Name, authors and licence.
    sample : ndarray
        A typical image for the model, shape (channels, height, width), raw values.

    Raises
    ------
    InputError
        If a package of the extra ``[bioimageio]`` is missing, `about` is not allowed, the sample is
        too small, constant or does not fit the model, or the test fails.
    """
    core, spec = require("bioimageio.core"), require("bioimageio.spec")
    check_about(about)
    sample = _cut(sample, model)
    path = Path(path)
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        _write_files(model, home, about, sample)
        try:
            described = _describe(model, home, about, sample)
            spec.save_bioimageio_package(described, output_path=home / "package.zip")
        except ValueError as error:  # pydantic's
            raise InputError(f"the package cannot be described: {brief(error)}") from error
        with quiet():
            summary = core.test_model(str(home / "package.zip"))
        if summary.status != "passed":
            logger.debug("%s", summary.format())
            errors = [error.msg for detail in summary.details for error in detail.errors]
            raise InputError(f"bioimageio.core refuses the package: {brief(' '.join(errors))}")
        with atomic_path(path) as temporary:
            shutil.copyfile(home / "package.zip", temporary)


def check_about(about: About) -> None:
    """Refuse what the format does not allow, before the slow export."""
    spec = require("bioimageio.spec.model.v0_5")
    if not 5 <= len(about.name) <= 128 or FORBIDDEN.search(about.name):
        raise InputError(
            f"the name {about.name!r} is not allowed: use 5 to 128 letters without accents, "
            "digits, spaces and _ + - ( )."
        )
    if not all(author.strip() for author in about.authors):
        raise InputError("an author has no name: give every --author a name.")
    if about.license is not None:
        try:
            spec.LicenseId(about.license)
        except ValueError as error:
            raise InputError(
                f"{about.license!r} is not an SPDX licence identifier: choose one from "
                "https://spdx.org/licenses, such as CC-BY-4.0."
            ) from error


def _cut(sample: NDArray[Any], model: Model) -> NDArray[Any]:
    """The largest valid part of a sample, from its top left corner, in a dtype of the format."""
    network = model.network
    if len(sample) != network.config.in_channels:
        raise InputError(
            f"the sample has {len(sample)} channels, the model takes {network.config.in_channels}: "
            "give another sample."
        )
    least = network.valid_input_size(1)
    if min(sample.shape[1:]) < least:
        raise InputError(
            f"the sample is {sample.shape[1]} x {sample.shape[2]} pixels: give one of at least "
            f"{least} x {least}."
        )
    height, width = (
        least + (min(side, max(LARGEST_SAMPLE, least)) - least) // network.step * network.step
        for side in sample.shape[1:]
    )
    part = sample[:, :height, :width]
    if (part == part[:, :1, :1]).all():
        raise InputError("the sample is the same everywhere: give one that shows something.")
    # "range" depends on the integer type; otherwise any type is fine, and floats are simplest.
    as_it_is = model.normalisation == "range" and np.issubdtype(part.dtype, np.integer)
    return part if as_it_is else part.astype(np.float32)


def _write_files(model: Model, home: Path, about: About, sample: NDArray[Any]) -> None:
    """Weights, test tensors, cover and documentation."""
    exchange.write_onnx(home / "weights.onnx", model)
    exchange.write_torchscript(home / "weights.pt", model)
    image = torch.from_numpy(normalisation.normalise(sample, model.normalisation, "the sample"))[
        None
    ]
    with torch.inference_mode():
        probabilities = exchange.Probabilities(model.network)(image).numpy()
    np.save(home / "test_input.npy", sample[None])
    np.save(home / "test_output.npy", probabilities)
    border = model.network.border
    grey = to_grey(sample[0])
    shown = grey.copy()
    shown[border:-border, border:-border] = probabilities[0, 1:].sum(axis=0)
    cover = np.rint(255 * np.hstack([grey, shown])).astype(np.uint8)
    (home / "cover.png").write_bytes(imagecodecs.png_encode(cover))
    (home / "README.md").write_text(_documentation(model, about), encoding="utf-8")


def _documentation(model: Model, about: About) -> str:
    network = model.network
    return DOCUMENTATION.format(
        name=about.name,
        description=about.description,
        data=about.data,
        doi=PAPER_DOI,
        channels=network.config.base_channels,
        depth=network.config.depth,
        version=model.version,
        smallest=network.valid_input_size(1),
        step=network.step,
        taken=2 * network.border,
        border=network.border,
        normalisation=model.normalisation,
        classes=", ".join(model.class_names),
    )


def _describe(model: Model, home: Path, about: About, sample: NDArray[Any]) -> Any:
    """The package's description for bioimageio.spec."""
    spec = require("bioimageio.spec.model.v0_5")
    pytorch = spec.Version(version("torch").split("+")[0])  # without "+cpu"
    torchscript = spec.TorchscriptWeightsDescr(source=home / "weights.pt", pytorch_version=pytorch)
    onnx = spec.OnnxWeightsDescr(
        source=home / "weights.onnx", opset_version=OPSET, parent="torchscript"
    )
    return spec.ModelDescr(
        name=about.name,
        description=about.description,
        authors=[spec.Author(name=author) for author in about.authors],
        license=about.license,
        cite=[
            spec.CiteEntry(text=text, doi=doi)
            for text, doi in ((PAPER, PAPER_DOI), *about.citation)
        ],
        tags=["unet", "unet2015", "semantic-segmentation", "2d", "pytorch"],
        documentation=spec.FileDescr(source=home / "README.md"),
        covers=[spec.FileDescr(source=home / "cover.png")],
        inputs=[_input(spec, model, home, sample)],
        outputs=[_output(spec, model, home)],
        weights=spec.WeightsDescr(torchscript=torchscript, onnx=onnx),
    )


def _input(spec: Any, model: Model, home: Path, sample: NDArray[Any]) -> Any:
    network = model.network
    size = spec.ParameterizedSize(min=network.valid_input_size(1), step=network.step)
    names = [f"channel{number}" for number in range(network.config.in_channels)]
    return spec.InputTensorDescr(
        id=spec.TensorId(INPUT),
        description="grey values as they come from the microscope",
        axes=[
            spec.BatchAxis(size=1),
            spec.ChannelAxis(channel_names=names),
            *(spec.SpaceInputAxis(id=axis, size=size, concatenable=True) for axis in "yx"),
        ],
        data=spec.IntervalOrRatioDataDescr(type=sample.dtype.name),
        pad=spec.ReflectPadding(mode="reflect"),
        test_tensor=spec.FileDescr(source=home / "test_input.npy"),
        preprocessing=_preprocessing(spec, model, sample.dtype),
    )


def _output(spec: Any, model: Model, home: Path) -> Any:
    def axis(name: str) -> Any:
        reference = spec.SizeReference(
            tensor_id=INPUT, axis_id=name, offset=-2 * model.network.border
        )
        return spec.SpaceOutputAxis(id=name, size=reference)

    return spec.OutputTensorDescr(
        id=spec.TensorId(OUTPUT),
        description="probability of each class",
        axes=[
            spec.BatchAxis(size=1),
            spec.ChannelAxis(channel_names=list(model.class_names)),
            *map(axis, "yx"),
        ],
        data=spec.IntervalOrRatioDataDescr(type="float32", range=(0.0, 1.0)),
        test_tensor=spec.FileDescr(source=home / "test_output.npy"),
    )


def _preprocessing(spec: Any, model: Model, dtype: np.dtype[Any]) -> list[Any]:
    """`normalisation.Scheme` in the terms of the format."""
    plane = ("y", "x")
    if model.normalisation == "standard":
        return [spec.ZeroMeanUnitVarianceDescr(kwargs=spec.ZeroMeanUnitVarianceKwargs(axes=plane))]
    if model.normalisation == "minmax":
        return [spec.ScaleRangeDescr(kwargs=spec.ScaleRangeKwargs(axes=plane))]
    if not np.issubdtype(dtype, np.integer):
        return []
    as_float = spec.EnsureDtypeDescr(kwargs=spec.EnsureDtypeKwargs(dtype="float32"))
    gain = spec.ScaleLinearKwargs(gain=1 / np.iinfo(dtype).max)
    return [as_float, spec.ScaleLinearDescr(kwargs=gain), as_float]
