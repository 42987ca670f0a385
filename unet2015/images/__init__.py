"""Read and write microscopy images by region.

`open_image` opens TIFF, OME-TIFF, ImageJ stacks, PNG, Zarr, OME-Zarr and folders of frames alike;
`read_image` reads a small image whole. `write_image` writes a small result; `stream_image` writes
one of any size, with pyramid levels, from anything that can be sliced.
"""

from __future__ import annotations

from .channels import select_channels
from .opening import IMAGE_SUFFIXES, open_image, read_image
from .source import Image, PixelSize
from .streaming import STREAMED_FROM, stream_image, write_regions
from .writing import check_output, write_image

__all__ = [
    "IMAGE_SUFFIXES",
    "STREAMED_FROM",
    "Image",
    "PixelSize",
    "check_output",
    "open_image",
    "read_image",
    "select_channels",
    "stream_image",
    "write_image",
    "write_regions",
]
