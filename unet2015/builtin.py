"""The models that come with the package: small networks that work out of the box."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

MODEL_FILE = "model.safetensors"
"""The name of the model in the folder of a training run."""
HOME = Path(__file__).parent / "models"
INDEX = HOME / "models.json"


class BuiltIn(NamedTuple):
    """A model that comes with the package."""

    name: str
    """For ``predict --model``."""
    images: str
    """The images it was made for."""
    pixel_size: float
    """Of these images, in micrometres."""
    data: str
    """The data it was trained on."""
    score: str
    """Scores on unseen data, where necessary of networks trained on a part of `data`."""
    citation: list[tuple[str, str]]
    """What to cite for the data: references, each with its DOI."""
    terms: str
    """Terms of use."""

    @property
    def path(self) -> Path:
        """The model file."""
        return HOME / f"{self.name}.safetensors"


def built_in_models() -> dict[str, BuiltIn]:
    """Models that come with the package, by name."""
    known = json.loads(INDEX.read_text(encoding="utf-8"))
    return {name: BuiltIn(name, **rest) for name, rest in known.items()}


def find_built_in(model: Path | str) -> BuiltIn | None:
    """Find a built-in model by name, or None; a file or run of that name takes precedence.

    Parameters
    ----------
    model : Path or str
        A name such as ``u373``, a model file, or the folder of a training run.
    """
    path = Path(model)
    is_own = path.is_file() or (path / MODEL_FILE).exists()
    return None if is_own else built_in_models().get(str(model))


def find_model(model: Path | str) -> Path:
    """Path of the built-in model that `find_built_in` finds, otherwise `model` itself."""
    known = find_built_in(model)
    return known.path if known else Path(model)
