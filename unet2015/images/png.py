"""PNG, which can only be read whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from .source import Image, damaged


class PngImage(Image):
    """A PNG file: grey, or with its samples (RGB, alpha) as channels.

    Parameters
    ----------
    path : Path
        An existing file.

    Raises
    ------
    InputError
        If it is truncated or damaged.
    """

    def __init__(self, path: Path) -> None:
        try:
            pixels = np.asarray(imagecodecs.png_decode(path.read_bytes()))
        except (imagecodecs.PngError, ValueError) as error:
            raise damaged(path, error) from error
        self._pixels = pixels[np.newaxis] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
        axes = "YX" if pixels.ndim == 2 else "CYX"
        super().__init__(path, axes, self._pixels.shape[-len(axes) :], pixels.dtype)

    def _read(
        self, plane: tuple[int, ...], channel: int, rows: slice, columns: slice
    ) -> NDArray[Any]:
        del plane  # a PNG has one
        return self._pixels[channel, rows, columns]

    def close(self) -> None:
        """Do nothing: the file was read whole."""
