"""The U-Net of 2015, done right.

Ronneberger, Fischer, Brox: "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015, https://arxiv.org/abs/1505.04597.

The modules, by section of the paper:

- Fig. 1, the network: `unet`, its valid sizes: `sizes`
- Fig. 2, overlap tiles: `tiles`, `tilesize`, `prediction`
- Sec. 3, the energy (Eq. 1): `loss`, the weights (Eq. 2): `weightmap`
- Sec. 3, training: `training`, its numbers: `schedule`, initial weights: `initialisation`
- Sec. 3.1, augmentation: `augment`, tiles with targets and weights: `samples`
- Sec. 4, experiments: `symmetries`, `datasets`, `instances`, `tracking`, `metrics`, `evaluation`

Around them: `images`, `labelfiles`, `weightmapfiles` and `fileprediction` read and write files,
`engines` runs the network, `normalisation`, `checkpoint`, `runs` and `builtin` store it,
`settings` checks what determines a run; `report`, `export`, `napari_plugin`, `commands` and `cli`
are for users; `errors`, `arrays`, `atomic`, `blockcache`, `prefetch`, `progress` and `pictures`
serve them all. Imports never form a cycle.

Names are imported on first use, so that ``from unet2015 import border_weight_map`` does not import
torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .augment import AugmentationConfig, deform
    from .checkpoint import Model, load_model, save_model
    from .datasets.frames import annotated_frame
    from .engines.allocation import keep_memory
    from .engines.device import choose_engine
    from .errors import InputError
    from .instances import label_cells
    from .instances.necks import part_at_necks
    from .loss import weighted_cross_entropy
    from .metrics import seg_score
    from .prediction import predict, predict_tiles
    from .schedule import TrainingConfig
    from .settings import Settings
    from .training import train
    from .unet import UNet, UNetConfig
    from .weightmap import (
        WeightMapConfig,
        balanced_class_weights,
        border_weight_map,
        separate_touching,
    )

__version__ = "0.1.0"

_HOME = {
    "AugmentationConfig": "augment",
    "InputError": "errors",
    "Model": "checkpoint",
    "Settings": "settings",
    "TrainingConfig": "schedule",
    "UNet": "unet",
    "UNetConfig": "unet",
    "WeightMapConfig": "weightmap",
    "annotated_frame": "datasets.frames",
    "balanced_class_weights": "weightmap",
    "border_weight_map": "weightmap",
    "choose_engine": "engines.device",
    "deform": "augment",
    "keep_memory": "engines.allocation",
    "label_cells": "instances",
    "load_model": "checkpoint",
    "part_at_necks": "instances.necks",
    "predict": "prediction",
    "predict_tiles": "prediction",
    "save_model": "checkpoint",
    "seg_score": "metrics",
    "separate_touching": "weightmap",
    "train": "training",
    "weighted_cross_entropy": "loss",
}

__all__ = [
    "AugmentationConfig",
    "InputError",
    "Model",
    "Settings",
    "TrainingConfig",
    "UNet",
    "UNetConfig",
    "WeightMapConfig",
    "__version__",
    "annotated_frame",
    "balanced_class_weights",
    "border_weight_map",
    "choose_engine",
    "deform",
    "keep_memory",
    "label_cells",
    "load_model",
    "part_at_necks",
    "predict",
    "predict_tiles",
    "save_model",
    "seg_score",
    "separate_touching",
    "train",
    "weighted_cross_entropy",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
