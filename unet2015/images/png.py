"""PNG files, which can only be read whole."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from .source import Image

DEPTH, COLOUR_TYPE = 24, 25
"""Offsets of the bytes in the file that hold the bit depth and the colour type."""
GREY, RGB, PALETTE = 0, 2, 3


class PngImage(Image):
    """A PNG file: grey, or with its samples (RGB, alpha) as channels.

    Parameters
    ----------
    path : Path
        An existing file.
    indices : bool
        Whether to return the stored numbers, as needed for labels, instead of palette colours or
        grey values of less than 8 bits rescaled to 0...255.
    """

    def __init__(self, path: Path, indices: bool = False) -> None:
        data = path.read_bytes()
        pixels = np.asarray(imagecodecs.png_decode(data))
        # Of a colour that is declared transparent, decoding makes an alpha channel: drop it.
        if data[COLOUR_TYPE] == GREY and pixels.ndim == 3:
            pixels = pixels[..., 0]
        elif data[COLOUR_TYPE] in (RGB, PALETTE):
            pixels = pixels[..., :3]
        if indices and data[COLOUR_TYPE] == PALETTE:
            pixels = _indices(data)
        elif indices and data[COLOUR_TYPE] == GREY and data[DEPTH] < 8:
            pixels //= 255 // (2 ** data[DEPTH] - 1)  # decoding rescales them to 0...255
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


def _indices(data: bytes) -> NDArray[Any]:
    """Decode palette indices, which imagecodecs would turn into colours."""
    from PIL.PngImagePlugin import PngImageFile  # without the size limit of `Image.open`

    with PngImageFile(io.BytesIO(data)) as image:
        return np.asarray(image)
