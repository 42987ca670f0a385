"""The network over the tiles of an image (Fig. 2): exact, whatever the image's size."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from . import normalisation
from .checkpoint import Model
from .engines.backends import runner
from .engines.device import Engine
from .errors import InputError
from .prefetch import in_thread, lagging
from .tiles import ArraySource, Source, Tile, TileGrid, read_mirrored
from .tilesize import tile_grid

Key = TypeVar("Key")


def predict_tiles(
    source: Source | NDArray[Any],
    network: nn.Module,
    *,
    border: int | None = None,
    halo: int | None = None,
    tile: int | tuple[int, int] = 512,
    step: int = 1,
    engine: Engine | None = None,
    activation: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
    """Run any network over an image of any size, tile by tile, without seams.

    Tiles are read ahead in a thread while the network computes.

    Parameters
    ----------
    source : Source or ndarray
        The image as the network wants it: an array of shape (channels, height, width) or (height,
        width), of which those of Zarr, Dask and HDF5 are read region by region, or anything with
        ``shape`` (channels, height, width) and ``read(rows, columns)``. It is read in another
        thread.
    network : nn.Module
        Takes float32 of shape (1, channels, height, width), height and width of the tile. Is put
        into evaluation mode: after a prediction in between, training needs ``network.train()``.
    border : int, optional
        For a network of valid convolutions: pixels that it takes off each side, so that it gives
        (1, classes, height - 2 * border, width - 2 * border).
    halo : int, optional
        For a network that gives (1, classes, height, width): pixels on each side that are cropped
        because padding spoils them, a multiple of `step`. With half of the receptive field there
        are no seams; at the edge of the image the network sees it mirrored, not zeros.
    tile : int or (int, int)
        Height and width of what the network sees; the image is mirrored where it leaves the image.
    step : int
        Tiles are moved by multiples of this: 2**poolings for a network that pools.
    engine : Engine, optional
        Device and precision, see `choose_engine`; by default float32 where the network is.
    activation : callable, optional
        Applied to the network's output of shape (1, classes, height, width), for example
        `class_probabilities` or a ``torch.nn.Softmax(1)``; by default the output is given as it is.

    Returns
    -------
    iterator of (Tile, ndarray of float32)
        A tile and the pixels that it alone writes, shape (classes, tile.height, tile.width).

    Raises
    ------
    InputError
        If the network is none, not exactly one of `border` and `halo` is given, the halo is no
        multiple of `step`, the tile is too small, or the network's output is no tensor of the size
        that it should have.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((300, 400), dtype=np.float32)
    >>> result = np.empty((2, 300, 400), np.float32)
    >>> for part, values in predict_tiles(image, nn.Conv2d(1, 2, 5), border=2, tile=128):
    ...     result[:, *part.write] = values
    """
    if not isinstance(network, nn.Module):
        raise InputError(
            f"predict_tiles takes a network (nn.Module), not a {type(network).__name__}: a model "
            "from `load_model` goes to `predict`, which normalises the image first."
        )
    if (border is None) == (halo is None):
        raise InputError("give either the border of a valid network or the halo of a padded one.")
    margin = border or halo or 0
    source = source if hasattr(source, "read") else ArraySource(source)
    if len(source.shape) != 3:
        raise InputError(
            f"the source has the shape {tuple(source.shape)}: give (channels, height, width)."
        )
    if np.shape(tile) not in ((), (2,)):
        raise InputError(f"the tile is {tile}: give one number, or its height and width.")
    height, width = np.broadcast_to(tile, 2).tolist()
    grid = TileGrid(source.shape[1:], (height - 2 * margin, width - 2 * margin), margin, step)
    if halo and halo % step:
        raise InputError(
            f"a halo of {halo} shifts tiles against the steps of {step} pixels: give a multiple of "
            f"{step}, such as {-(-halo // step) * step}."
        )
    expected = grid.output if halo is None else grid.input

    def finish(output: Tensor) -> Tensor:
        if output.shape[-2:] != expected:
            raise InputError(
                f"the network makes {tuple(output.shape[-2:])} pixels of {grid.input}, where "
                f"{expected} were expected: check border, halo and tile."
            )
        if halo:
            output = output[..., halo:-halo, halo:-halo]
        return activation(output) if activation else output

    inputs = in_thread(lambda part: read_mirrored(source, *grid.read(part)), grid)
    outputs = run_network(inputs, network, engine or engine_of(network), finish)
    return ((part, values[:, : part.height, : part.width]) for part, values in outputs)


def engine_of(network: nn.Module) -> Engine:
    """Float32 on the device where a network is."""
    first = next(chain(network.parameters(), network.buffers()), None)
    return Engine(torch.device("cpu") if first is None else first.device)


def class_probabilities(logits: Tensor) -> Tensor:
    """Softmax over the classes (Sec. 3), of logits of shape (images, classes, height, width)."""
    return torch.softmax(logits, dim=1)


def run_network(
    inputs: Iterable[tuple[Key, NDArray[Any]]],
    network: nn.Module,
    engine: Engine,
    finish: Callable[[Tensor], Tensor],
) -> Generator[tuple[Key, NDArray[np.float32]]]:
    """Put images through a network one after the other.

    Parameters
    ----------
    inputs : iterable of (key, ndarray)
        What to give back with the result, and an image of shape (channels, height, width).
    network : nn.Module
        Is brought to the engine's device and into evaluation mode, and left so.
    engine : Engine
        Where and in which precision to compute. A GPU computes one image while the result of the
        one before is used.
    finish : callable
        Turns the output, float32 of shape (1, classes, height, width), into the result of that
        shape, on the device.

    Yields
    ------
    (key, ndarray of float32)
        The result's shape is (classes, height, width).
    """
    network = engine.place(network).eval()
    call = runner(network, engine.dtype, engine.backend)

    def begin(image: NDArray[Any]) -> Tensor:
        # Files may have the other byte order, which PyTorch does not take.
        pixels = engine.send(torch.from_numpy(np.asarray(image, np.float32))[None])
        with torch.inference_mode(), engine.autocast():
            output = call(pixels)
        if not (isinstance(output, Tensor) and output.ndim == 4):
            found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise InputError(
                f"the network gives {found}: wrap it so that it gives one tensor of shape "
                "(1, classes, height, width)."
            )
        with torch.inference_mode():
            return finish(output.float())[0]

    begun = ((key, engine.fetch(begin(image))) for key, image in inputs)
    for key, result in lagging(begun, engine.ahead):
        yield key, result()


def predict(
    image: NDArray[Any],
    model: Model,
    tile: int | None = None,
    engine: Engine | None = None,
) -> NDArray[np.float32]:
    """Compute class probabilities of an image in memory.

    Parameters
    ----------
    image : ndarray
        Shape (channels, height, width) or (height, width), any real dtype, of any size from 1 x 1.
    model : Model
        From `load_model` or `train`. Its network is put into evaluation mode: after a prediction in
        between, training needs ``model.network.train()``.
    tile : int, optional
        Height and width of the tiles that the network sees, a valid input size. By default chosen
        from the image's size and the memory that is free.
    engine : Engine, optional
        Device and precision, see `choose_engine`; by default float32 where the network is.

    Returns
    -------
    ndarray of float32
        Shape (classes, height, width), adding up to 1 over the classes.

    Raises
    ------
    InputError
        If the image does not have the model's channels or the tile is not a valid size.
    """
    grid, parts = predict_parts(image, model, tile, engine)
    probabilities = np.empty((model.network.config.num_classes, *grid.shape), np.float32)
    for part, values in parts:
        probabilities[:, *part.write] = values
    return probabilities


def predict_parts(
    image: NDArray[Any], model: Model, tile: int | None = None, engine: Engine | None = None
) -> tuple[TileGrid, Iterator[tuple[Tile, NDArray[np.float32]]]]:
    """Compute class probabilities tile by tile, for those who want to do something in between.

    Parameters
    ----------
    image, model, tile, engine
        As for `predict`.

    Returns
    -------
    (TileGrid, iterator of (Tile, ndarray of float32))
        The tiles, and for each of them the pixels that it alone writes, shape (classes,
        tile.height, tile.width).
    """
    if not isinstance(model, Model):
        raise InputError(f"predict takes a model from `load_model`, not a {type(model).__name__}.")
    source = ArraySource(np.asarray(image))
    channels, wanted = source.shape[0], model.network.config.in_channels
    if channels != wanted:
        raise InputError(
            f"the image has {channels} channels, the model takes {wanted}: give an image, of shape "
            f"(channels, height, width) and not {tuple(source.shape)}, or a model that fits."
        )
    engine = engine or engine_of(model.network)
    grid = tile_grid(source.shape[1:], model.network, tile, engine.device)
    found = normalisation.gather_statistics(source)
    outputs = predict_tiles(
        normalisation.NormalisedSource(
            source, normalisation.fit(model.normalisation, found, source.dtype)
        ),
        model.network,
        border=grid.border,
        tile=grid.input,
        step=grid.step,
        engine=engine,
        activation=class_probabilities,
    )
    return grid, outputs
