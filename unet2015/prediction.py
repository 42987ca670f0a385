"""The network over the tiles of an image (Fig. 2): exact, whatever the image's size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from . import normalisation
from .checkpoint import Model
from .device import Engine
from .errors import InputError
from .tiles import Source, Tile, TileGrid, read_mirrored
from .unet import UNet

LARGEST_OUTPUT = 1024
"""Larger tiles recompute less border, but past some size they fall out of the caches."""
MEMORY_SHARE = 0.25
"""Share of the machine's free memory that the network's maps for one tile may take."""


class ArraySource:
    """A normalised array in memory as a source of regions."""

    def __init__(self, image: NDArray[Any]) -> None:
        if image.ndim != 3:
            raise InputError(
                f"the image has the shape {image.shape}: give (channels, height, width)."
            )
        self.image = image

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.image.shape
        return channels, height, width

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Pixels of a region, shape (channels, rows, columns)."""
        return self.image[:, rows, columns]


def predict_tiles(
    source: Source, network: nn.Module, grid: TileGrid, engine: Engine
) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
    """Compute class probabilities tile by tile.

    Parameters
    ----------
    source : Source
        The normalised image.
    network : nn.Module
        Takes (1, channels, height, width) and gives logits (1, classes, height - 2 * border,
        width - 2 * border).
    grid : TileGrid
        How the image is cut; its border and step must be the network's.
    engine : Engine
        Where and in which precision to compute.

    Yields
    ------
    (Tile, ndarray of float32)
        A tile and the probabilities of the pixels that it writes, shape (classes, height, width).
    """
    network = engine.place(network).eval()
    for tile in grid:
        pixels = torch.from_numpy(read_mirrored(source, *grid.read(tile)))[None]
        pixels = pixels.to(engine.device, torch.float32)
        pixels = pixels.contiguous(memory_format=engine.memory_format)
        with torch.inference_mode(), engine.autocast():
            logits = network(pixels)[0, :, : tile.height, : tile.width]
        yield tile, torch.softmax(logits.float(), dim=0).cpu().numpy()


def predict(
    image: NDArray[Any],
    model: Model,
    tile: int | None = None,
    engine: Engine | None = None,
    progress: Callable[[], object] = lambda: None,
) -> NDArray[np.float32]:
    """Compute class probabilities of an image in memory.

    Parameters
    ----------
    image : ndarray
        Shape (channels, height, width) or (height, width), any real dtype, of any size from 1 x 1.
    model : Model
        From `load_model` or `train`.
    tile : int, optional
        Height and width of the tiles that the network sees, a valid input size. By default chosen
        from the image's size and the memory that is free.
    engine : Engine, optional
        Device and precision; float32 on the CPU by default.
    progress : callable, optional
        Called after each tile.

    Returns
    -------
    ndarray of float32
        Shape (classes, height, width), adding up to 1 over the classes.

    Raises
    ------
    InputError
        If the image does not have the model's channels or the tile is not a valid size.
    """
    if image.ndim == 2:
        image = image[None]
    source = ArraySource(image)
    check_channels(source, model)
    engine = engine or Engine(torch.device("cpu"))
    grid = tile_grid(image.shape[1:], model.network, tile)
    normalised = ArraySource(normalisation.normalise(image, model.normalisation))
    classes = model.network.config.num_classes
    probabilities = np.empty((classes, *grid.shape), np.float32)
    for part, values in predict_tiles(normalised, model.network, grid, engine):
        probabilities[:, *part.write] = values
        progress()
    return probabilities


def check_channels(source: Source, model: Model) -> None:
    """Refuse an image whose number of channels is not the model's."""
    channels, wanted = source.shape[0], model.network.config.in_channels
    if channels != wanted:
        raise InputError(
            f"the image has {channels} channels, the model takes {wanted}: "
            "give an image or a model that fits."
        )


def tile_grid(shape: tuple[int, ...], network: UNet, tile: int | None = None) -> TileGrid:
    """Cut an image of a given height and width into tiles for a U-Net.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image.
    network : UNet
        Determines border, step and valid sizes.
    tile : int, optional
        Height and width of what the network sees at once; by default as large as the image and the
        memory allow.

    Raises
    ------
    InputError
        If `tile` is not a valid input size that is large enough to move by a step.
    """
    height, width = shape
    if tile is not None:
        output = (network.output_size(tile),) * 2
    else:
        largest = _largest_output(network)
        output = (_output_for(height, network, largest), _output_for(width, network, largest))
    return TileGrid((height, width), output, network.border, network.step)


def _output_for(size: int, network: UNet, largest: int) -> int:
    """Output height or width of equal tiles, none above `largest`, that just cover `size`."""
    count = max(math.ceil(size / largest), 1)
    return network.valid_input_size(max(math.ceil(size / count), network.step)) - 2 * network.border


def _largest_output(network: UNet) -> int:
    """Largest output size whose maps fit into the memory that is to be used."""
    # The widest moment is the last level of the expanding path: the skip, the up-convolution's
    # map, their concatenation and one result, all float32, at the size of the input.
    bytes_per_pixel = 4 * 6 * network.config.base_channels
    side = math.isqrt(int(MEMORY_SHARE * _free_memory()) // bytes_per_pixel)
    fitting = min(side - 2 * network.border, LARGEST_OUTPUT)
    smallest = network.valid_input_size(network.step) - 2 * network.border
    return smallest + max(fitting - smallest, 0) // network.step * network.step


def _free_memory() -> int:
    """Bytes of memory that are free; 4 GiB where the system does not tell."""
    try:
        with open("/proc/meminfo") as lines:
            free = dict(line.split(":") for line in lines)["MemAvailable"]
        return int(free.split()[0]) * 1024
    except (OSError, KeyError):
        return 4 * 2**30
