"""Microscopy images on disk: regions in, regions out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from .errors import InputError


def read_image(path: Path | str) -> NDArray[Any]:
    """Read a whole image (TIFF, PNG) as an array."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist: give the path of an image file.")
    return np.asarray(tifffile.imread(path))
