"""Model files: the network and its normalisation, as safetensors, never a pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from . import __version__, normalisation
from .atomic import atomic_path
from .builtin import MODEL_FILE, built_in_models, find_model
from .errors import InputError, brief
from .normalisation import Scheme
from .unet import UNet

FORMAT = "unet2015 model 1"


@dataclass(frozen=True, eq=False)
class Model:
    """A network and everything needed to use it.

    Attributes
    ----------
    network : UNet
        In evaluation mode when it comes from `load_model`.
    normalisation : {"standard", "minmax", "range"}
        How images are scaled before they enter the network.
    class_names : tuple of str
        One name for each class; the first is the background.
    settings : dict
        How it was trained, for the record.
    version : str
        The version of this package that wrote it.
    min_size : int
        Components of fewer pixels are not cells, judging by the training data.
    """

    network: UNet
    normalisation: Scheme
    class_names: tuple[str, ...] = ("background", "cell")
    settings: dict[str, Any] = field(default_factory=dict)
    version: str = __version__
    min_size: int = 0

    def __post_init__(self) -> None:
        """Refuse models that could be saved, but not loaded."""
        normalisation.check(self.normalisation)
        classes = self.network.config.num_classes
        if len(self.class_names) != classes:
            raise InputError(
                f"{len(self.class_names)} class names: the network has {classes} classes."
            )


def save_model(path: Path | str, model: Model) -> None:
    """Write a model file; an existing one is replaced only when the new one is complete.

    Of a network from `torch.compile` the original is written. `load_model` refuses subclasses of
    `UNet`: only `read_tensors` can read them back.
    """
    if not isinstance(model, Model):
        raise InputError(f"save_model takes a Model, not a {type(model).__name__}.")
    network = getattr(model.network, "_orig_mod", model.network)
    architecture = dataclasses.asdict(network.config)
    if type(network) is not UNet:  # `load_model` can only build a `UNet`
        architecture["class"] = type(network).__name__
    described = {
        "architecture": architecture,
        "normalisation": model.normalisation,
        "class_names": list(model.class_names),
        "settings": model.settings,
        "version": model.version,
        "min_size": model.min_size,
    }
    write_tensors(path, network.state_dict(), {"format": FORMAT, "model": described})


def load_model(path: Path | str) -> Model:
    """Read a model file.

    Parameters
    ----------
    path : Path or str
        A model file, the folder of a training run that holds one, or the name of a model that
        comes with the package.

    Raises
    ------
    InputError
        If there is no such file or it is not a model of this package.
    """
    path = find_model(path)
    if path.is_dir():
        if not (path / MODEL_FILE).is_file():
            raise InputError(f"{path} holds no {MODEL_FILE}: give the folder of a training run.")
        path = path / MODEL_FILE
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"{path} is not a model of unet2015: give the folder of a training run, its "
            f"{MODEL_FILE}, or a name that `unet2015 models` lists."
        )
    try:
        return _build(metadata["model"], tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path} describes a network that unet2015 {__version__} cannot build "
            f"({brief(error)}): it is damaged, of another class than UNet, or a newer version "
            "wrote it."
        ) from error


def _build(described: dict[str, Any], tensors: dict[str, Tensor]) -> Model:
    """Build the model that a file describes, with its weights."""
    if "class" in described["architecture"]:
        raise ValueError(f"of the class {described['architecture']['class']}")
    with torch.device("meta"):  # allocates no memory and draws no weights
        network = UNet(**described["architecture"])
    with torch.inference_mode(False):  # whatever the caller's: weights made in it are not trainable
        weights = {name: tensor.to(torch.float32, copy=True) for name, tensor in tensors.items()}
        network.load_state_dict(weights, assign=True)
    return Model(
        network=network.eval(),
        normalisation=described["normalisation"],
        class_names=tuple(described["class_names"]),
        settings=described["settings"],
        version=described["version"],
        min_size=int(described.get("min_size", 0)),
    )


def digest(model: Model) -> str:
    """Identify a network and its input normalisation: SHA-256 in 64 hexadecimal digits."""
    parts = [dataclasses.asdict(model.network.config), model.normalisation]
    sha256 = hashlib.sha256(json.dumps(parts).encode())
    for name, tensor in model.network.state_dict().items():
        sha256.update(name.encode())
        sha256.update(tensor.cpu().numpy().tobytes())
    return sha256.hexdigest()


def write_tensors(path: Path | str, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write named tensors and JSON metadata to one safetensors file, atomically."""
    stored = save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        metadata={name: json.dumps(value) for name, value in metadata.items()},
    )
    size = int.from_bytes(stored[:8], "little")
    header = json.loads(stored[8 : 8 + size])
    # safetensors shuffles the metadata; sorted, equal contents make equal files.
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors are aligned
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for part in (len(text).to_bytes(8, "little"), text, memoryview(stored)[8 + size :]):
            file.write(part)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote: tensors on the CPU, and the metadata."""
    if not path.is_file():
        raise InputError(
            f"{path} does not exist: give a model file, the folder of a run, or one of "
            f"{', '.join(built_in_models())}."
        )
    try:
        path.open("rb").close()  # safetensors reports an unreadable file as missing
        with safe_open(path, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            metadata = {name: json.loads(text) for name, text in (stored.metadata() or {}).items()}
    except (SafetensorError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is damaged or not a unet2015 file ({error}).") from error
    return tensors, metadata
