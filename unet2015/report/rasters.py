"""Arrays as images inside the page."""

from __future__ import annotations

import base64
from typing import Any

import imagecodecs
import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from ..pictures import to_grey
from .html import Html, element

LARGEST_SIDE = 1600
"""Longest side of an image on the page in pixels; larger images are reduced."""
SHADES = 64
"""Colours of a weight map, few enough for a small file."""
COLOUR_MAP = "turbo"


def reduction(shape: tuple[int, ...]) -> int:
    """Integer factor by which an image of this shape is reduced to fit the page."""
    return min(-(-max(shape) // LARGEST_SIDE), *shape)


def reduce_labels(labels: NDArray[Any], factor: int) -> NDArray[Any]:
    """Take the label in the middle of each block of `factor` x `factor` pixels."""
    rows, columns = (slice(factor // 2, size // factor * factor, factor) for size in labels.shape)
    return labels[rows, columns]


def grey_uri(image: NDArray[Any], factor: int) -> str:
    """Encode grey values of any range, stretched and reduced, as a JPEG in a data URI."""
    shades = np.rint(255 * to_grey(_blocks(image, factor)).mean(axis=(1, 3))).astype(np.uint8)
    return _uri("jpeg", imagecodecs.jpeg8_encode(shades, level=85))


def weights_uri(weights: NDArray[Any], factor: int) -> str:
    """Encode a weight map, reduced by taking the largest of each block, as a coloured PNG."""
    largest = _blocks(weights, factor).max(axis=(1, 3))
    shades = np.rint(largest / _top(weights) * (SHADES - 1)) / (SHADES - 1)
    colours = colormaps[COLOUR_MAP](shades, bytes=True)[..., :3]
    return _uri("png", imagecodecs.png_encode(np.ascontiguousarray(colours)))


def colour_bar(weights: NDArray[Any]) -> Html:
    """Legend of `weights_uri`: the colours from weight 0 to the largest weight."""
    ramp = colormaps[COLOUR_MAP](np.linspace(0, 1, SHADES)[None], bytes=True)[..., :3]
    uri = _uri("png", imagecodecs.png_encode(np.ascontiguousarray(ramp)))
    return element(
        "p",
        element("span", "w(x) = 0"),
        element("img", src=uri, alt="colours from blue over green to red"),
        element("span", f"{_top(weights):.3g}"),
        class_="bar",
    )


def _blocks(image: NDArray[Any], factor: int) -> NDArray[Any]:
    """Cut an image into blocks of `factor` x `factor` pixels: axes 1 and 3 are those of a block."""
    height, width = (size // factor * factor for size in image.shape)
    return image[:height, :width].reshape(height // factor, factor, -1, factor)


def _top(weights: NDArray[Any]) -> float:
    return max(float(weights.max()), 1e-9)


def _uri(kind: str, encoded: bytes | bytearray | memoryview) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"
