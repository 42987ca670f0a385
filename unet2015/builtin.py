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
    """What is known of a model that comes with the package."""

    name: str
    """For ``predict --model``."""
    images: str
    """What it was made for."""
    data: str
    """What it was trained on."""
    score: str
    """What it, or networks trained on a part, reach on what they were not trained on."""
    citation: list[tuple[str, str]]
    """Whom to cite for the data: texts, and their DOI."""
    terms: str
    """What it may be used for."""

    @property
    def path(self) -> Path:
        """The model file."""
        return HOME / f"{self.name}.safetensors"


def built_in_models() -> dict[str, BuiltIn]:
    """Models that come with the package, by name."""
    known = json.loads(INDEX.read_text(encoding="utf-8"))
    return {name: BuiltIn(name, **rest) for name, rest in known.items()}


def find_built_in(model: Path | str) -> BuiltIn | None:
    """Built-in model if `model` is its name and no file, nor a run in a folder, of that name.

    Parameters
    ----------
    model : Path or str
        A name such as ``u373``, a model file, or the folder of a training run.
    """
    path = Path(model)
    is_own = path.is_file() or (path / MODEL_FILE).exists()
    return None if is_own else built_in_models().get(str(model))


def find_model(model: Path | str) -> Path:
    """Path of a built-in model, as `find_built_in` finds it, or `model` itself."""
    known = find_built_in(model)
    return known.path if known else Path(model)
