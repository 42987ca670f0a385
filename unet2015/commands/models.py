"""List the models that come with unet2015.

Use one by its name: unet2015 predict image.tif -m u373 -o cells.tif --labels
"""

from __future__ import annotations

from dataclasses import dataclass

from ..builtin import BuiltIn, built_in_models


@dataclass(frozen=True)
class Options:
    """Options of ``unet2015 models``."""


def run(_options: Options) -> None:
    """Describe each model."""
    print("\n\n".join(map(_describe, built_in_models().values())))


def _describe(model: BuiltIn) -> str:
    size = model.path.stat().st_size / 1e6
    rows = {
        "made for": model.images,
        "pixel size": f"{model.pixel_size:g} um",
        "trained on": model.data,
        "score": model.score,
        "cite": "; ".join(f"{text}, doi:{doi}" for text, doi in model.citation),
        "terms": model.terms,
        "file": f"{model.path} ({size:.1f} MB)",
    }
    return "\n".join([model.name, *(f"  {what + ':':<12}{text}" for what, text in rows.items())])
