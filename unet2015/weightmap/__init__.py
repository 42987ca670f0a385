"""The pixel weights w(x) of Eq. 2 and Fig. 3: class balance plus a border term between cells.

`border_weight_map` works on arrays; `weightmapfiles` does the same for images of any size.
Importing this package imports neither torch nor anything that reads files.
"""

from __future__ import annotations

from .classes import (
    FREIBURG,
    ClassCounts,
    ClassWeights,
    add_counts,
    balanced_class_weights,
    check_balance,
    count_classes,
)
from .map import WeightMapConfig, border_weight_map, check_config, halo
from .ridge import check_ridge, separate_touching

__all__ = [
    "FREIBURG",
    "ClassCounts",
    "ClassWeights",
    "WeightMapConfig",
    "add_counts",
    "balanced_class_weights",
    "border_weight_map",
    "check_balance",
    "check_config",
    "check_ridge",
    "count_classes",
    "halo",
    "separate_touching",
]
