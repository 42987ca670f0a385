"""Print versions, device, engines and models, for instance for a bug report."""

from __future__ import annotations

import importlib
import importlib.metadata
import json as json_format
import os
import platform
import shutil
from dataclasses import dataclass

import torch
from tyro.conf import FlagCreatePairsOff

from .. import __version__
from ..builtin import built_in_models
from ..engines.device import choose_engine

PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "tifffile", "imagecodecs", "zarr")
EXTRAS = ("elasticdeform", "dask", "openvino", "bioimageio.core", "onnxruntime", "napari")


@dataclass(frozen=True)
class Options:
    """Options of ``unet2015 info``."""

    json: FlagCreatePairsOff[bool] = False
    """Print JSON."""


def run(options: Options) -> None:
    """Print the facts that `gather` collects."""
    facts = gather()
    if options.json:
        print(json_format.dumps(facts, indent=2))
    else:
        width = max(map(len, facts))
        print("\n".join(f"{name:<{width}}  {value}" for name, value in facts.items()))


def gather() -> dict[str, str]:
    """Facts about this installation, by name."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "unet2015": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        **{name: _extra(name) for name in EXTRAS},
        "processor": f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}",
        "gpu": gpu,
        "computes on": str(choose_engine()),
        "C++ compiler": next(filter(None, map(shutil.which, ("g++", "clang++", "cl"))), "none"),
        "models": ", ".join(built_in_models()),
    }


def _extra(name: str) -> str:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
    try:
        importlib.import_module(name)
    except Exception as error:  # whatever a broken package raises
        return f"{version}, but cannot be imported ({error})"
    return version
