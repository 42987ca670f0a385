"""Export a model for other programs.

The suffix of OUT selects the format: .zip is a bioimage.io package (for Fiji through deepImageJ,
ilastik, QuPath and other programs that read the BioImage Model Zoo), .onnx is ONNX, .pt is
TorchScript. Each export is run and compared with this package's own result before it is kept.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from tyro.conf import Positional, arg

from ..atomic import check_writable
from ..builtin import find_built_in
from ..checkpoint import Model, load_model
from ..datasets.synthetic import simulate
from ..errors import InputError
from ..export.bioimageio_package import FORBIDDEN, LARGEST_SAMPLE, About, write_package
from ..export.exchange import metadata, write_onnx, write_torchscript
from ..images import open_image

logger = logging.getLogger(__name__)

SYNTHETIC = (400, 400)
"""Height and width of the synthetic sample in pixels."""


@dataclass(frozen=True)
class Options:
    """Options of ``unet2015 export``."""

    model: Annotated[Positional[Path], arg(metavar="MODEL")]
    """Model file, folder of a training run, or a name listed by `unet2015 models`."""
    out: Annotated[Path, arg(aliases=["-o"])]
    """The file to write, ending in .zip, .onnx or .pt."""
    sample: Path | None = None
    """For a package: a typical image; the top left corner of its first plane is used. By default a
    synthetic image."""
    name: str | None = None
    """For a package: name of the model, 5 to 128 letters, digits, spaces and _+-(); by default
    derived from OUT."""
    description: str | None = None
    """For a package: one sentence on what the model segments."""
    author: tuple[str, ...] = ()
    """For a package: authors of the model."""
    license: str | None = None
    """For a package: licence of the weights as an SPDX identifier, such as CC-BY-4.0."""


def run(options: Options) -> None:
    """Export the model and log what a program must know to use it."""
    suffix = options.out.suffix.lower()
    if suffix not in (".zip", ".onnx", ".pt"):
        raise InputError(f"{options.out} must end in .zip, .onnx or .pt.")
    about = (options.sample, options.name, options.description, options.license)
    if suffix != ".zip" and (any(about) or options.author):
        raise InputError(
            "--sample, --name, --description, --author and --license apply to packages only: "
            "give an OUT that ends in .zip."
        )
    model = load_model(options.model)
    check_writable(options.out)
    if suffix == ".zip":
        _write_package(model, options)
    else:
        (write_onnx if suffix == ".onnx" else write_torchscript)(options.out, model)
    for what, value in metadata(model).items():
        logger.info("%-14s %s", f"{what}:", value)
    logger.info("written and checked: %s", options.out)


def _write_package(model: Model, options: Options) -> None:
    known = find_built_in(options.model)
    about = About(
        name=options.name or FORBIDDEN.sub("-", f"U-Net 2015 {options.out.stem}")[:128],
        authors=options.author,
        license=options.license,
    )
    if known is not None:
        data = f"Trained on {known.data}. Terms: {known.terms}."
        about = replace(
            about,
            description=f"Segments {known.images}; {known.pixel_size:g} um per pixel.",
            data=data,
            citation=known.citation,
        )
    if options.description:
        about = replace(about, description=options.description)
    write_package(options.out, model, about, _sample(options.sample, model))


def _sample(path: Path | None, model: Model) -> NDArray[Any]:
    """Corner of an image's first plane, or a synthetic image; shape (channels, height, width)."""
    if path is not None:
        with open_image(path) as image:
            corner = slice(0, LARGEST_SAMPLE)
            return image.read(image.planes[0], corner, corner)
    if model.normalisation == "range":
        raise InputError(
            "this model's normalisation depends on the data type of the images: give an image with "
            "--sample."
        )
    generator = np.random.default_rng(0)
    frames = simulate(model.network.config.in_channels, SYNTHETIC, 60, generator)
    return np.stack([frame.image for frame in frames])
