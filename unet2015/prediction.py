"""Overlap-tile prediction (Fig. 2): exact for images of any size."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from . import normalisation
from .arrays import as_array
from .checkpoint import Model
from .engines.backends import runner
from .engines.device import Engine, check_engine
from .errors import InputError
from .prefetch import in_thread, lagging
from .symmetries import averaged
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
        The image as the network expects it: an array of shape (channels, height, width) or (height,
        width), or anything with ``shape`` (channels, height, width) and ``read(rows, columns)``.
        Arrays of Zarr, Dask and HDF5 are read region by region; all are read in another thread.
    network : nn.Module
        Takes float32 of shape (1, channels, height, width), height and width of the tile. Moved to
        the engine's device and left in evaluation mode: call ``network.train()`` before training
        it further.
    border : int, optional
        For a network of valid convolutions: pixels that it takes off each side, so that its output
        has shape (1, classes, height - 2 * border, width - 2 * border).
    halo : int, optional
        For a padded network, whose output has shape (1, classes, height, width): pixels to crop
        from each side because padding spoils them, a multiple of `step`. With half the receptive
        field there are no seams; beyond its edges, the image is mirrored, not padded with zeros.
    tile : int or (int, int)
        Height and width of the network's input in pixels, mirrored where it exceeds the image.
    step : int
        Tile offsets are multiples of this: 2**poolings for a network with pooling.
    engine : Engine, optional
        Device and precision, see `choose_engine`; by default float32 on the network's device.
    activation : callable, optional
        Applied to the network's output of shape (1, classes, height, width), for example
        `class_probabilities` or a ``torch.nn.Softmax(1)``; by default the output is left as it is.

    Returns
    -------
    iterator of (Tile, ndarray of float32)
        A tile and the pixels that it alone writes, shape (classes, tile.height, tile.width); of
        another dtype if the `activation` returns one.

    Raises
    ------
    InputError
        If `network` is not an ``nn.Module``, not exactly one of `border` and `halo` is given, the
        halo is not a multiple of `step`, the tile is too small, the network is not of float32, or
        its output or the activation's is not a tensor of the expected size.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((300, 400), dtype=np.float32)
    >>> result = np.empty((2, 300, 400), np.float32)
    >>> for part, values in predict_tiles(image, nn.Conv2d(1, 2, 5), border=2, tile=128):
    ...     result[:, *part.write] = values
    """
    if not isinstance(network, nn.Module):
        raise InputError(
            f"predict_tiles takes a network (nn.Module), not a {type(network).__name__}: pass a "
            "model from `load_model` to `predict`, which normalises the image first."
        )
    source = source if hasattr(source, "read") else ArraySource(source)
    grid = _grid(source, border, halo, tile, step)
    inputs = in_thread(lambda part: read_mirrored(source, *grid.read(part)), grid)
    finish = partial(_finish, grid=grid, halo=halo, activation=activation)
    return _written(run_network(inputs, network, engine_of(network, engine), finish))


def _grid(
    source: Source, border: int | None, halo: int | None, tile: int | tuple[int, int], step: int
) -> TileGrid:
    """Tiles of an image; the parameters are those of `predict_tiles`."""
    if (border is None) == (halo is None):
        raise InputError("give either the border of a valid network or the halo of a padded one.")
    if len(source.shape) != 3:
        raise InputError(
            f"the source has the shape {tuple(source.shape)}: give (channels, height, width)."
        )
    if np.shape(tile) not in ((), (2,)):
        raise InputError(f"the tile is {tile}: give one number, or its height and width.")
    height, width = np.broadcast_to(tile, 2).tolist()
    margin = border or halo or 0
    grid = TileGrid(source.shape[1:], (height - 2 * margin, width - 2 * margin), margin, step)
    if halo and halo % step:
        raise InputError(
            f"the halo is {halo} pixels, the step {step}: make the halo a multiple of {step}, "
            f"such as {-(-halo // step) * step}."
        )
    return grid


def _finish(
    output: Tensor,
    grid: TileGrid,
    halo: int | None,
    activation: Callable[[Tensor], Tensor] | None,
) -> Tensor:
    """Crop the halo off the output of a network, and apply the activation."""
    expected = grid.output if halo is None else grid.input
    if output.shape[-2:] != expected:
        raise InputError(
            f"the network's output is {tuple(output.shape[-2:])} pixels for {grid.input}, but "
            f"{expected} were expected: check border, halo and tile."
        )
    if halo:
        output = output[..., halo:-halo, halo:-halo]
    result = activation(output) if activation else output
    if result.ndim != 4 or result.shape[-2:] != output.shape[-2:]:
        raise InputError(
            f"the activation turns {tuple(output.shape)} into {tuple(result.shape)}: it must "
            "keep batch, height and width."
        )
    return result


def _written(
    outputs: Iterable[tuple[Tile, NDArray[np.float32]]],
) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
    """Cut each output down to the pixels that its tile alone writes."""
    return ((part, values[:, : part.height, : part.width]) for part, values in outputs)


def engine_of(network: nn.Module, given: Engine | None = None) -> Engine:
    """The engine that is given, by default float32 on the device of a network."""
    if given is not None:
        check_engine(given)
        return given
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
    """Run a network on images one after the other.

    Parameters
    ----------
    inputs : iterable of (key, ndarray)
        A key to return with the result, and an image of shape (channels, height, width).
    network : nn.Module
        Moved to the engine's device, put into evaluation mode, and left so.
    engine : Engine
        Device, precision and averaging. A GPU computes one image while the caller uses the result
        of the one before.
    finish : callable
        Turns the output, float32 of shape (1, classes, height, width), into a result of the same
        axes, on the device.

    Yields
    ------
    (key, ndarray of float32)
        The result has shape (classes, height, width).
    """
    first = next(network.parameters(), None)
    if first is not None and first.dtype != torch.float32:
        raise InputError(
            f"the network's weights are {first.dtype}: convert them with network.float(); the "
            "engine computes in bfloat16 if choose_engine(precision='bfloat16') made it."
        )
    network = engine.place(network).eval()
    call = runner(network, engine.dtype, engine.backend)

    def run(images: Tensor) -> Tensor:
        with engine.autocast():
            output = call(images)
        if not (isinstance(output, Tensor) and output.ndim == 4):
            found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise InputError(
                f"the network returns {found}: wrap it so that it returns one tensor of shape "
                "(1, classes, height, width)."
            )
        return output.float()

    def start(image: NDArray[Any]) -> Tensor:
        # Files may have a non-native byte order, which PyTorch rejects.
        pixels = engine.send(torch.from_numpy(np.asarray(image, np.float32))[None])
        # Without the caller's autocast, which would apply to `finish`, too.
        with torch.inference_mode(), torch.autocast(engine.device.type, enabled=False):
            return finish(averaged(run, engine.average)(pixels))[0]

    pending = ((key, engine.fetch(start(image))) for key, image in inputs)
    for key, result in lagging(pending, engine.ahead):
        yield key, result()


def predict(
    image: NDArray[Any], model: Model, *, tile: int | None = None, engine: Engine | None = None
) -> NDArray[np.float32]:
    """Compute class probabilities of an image in memory.

    Parameters
    ----------
    image : ndarray
        Shape (channels, height, width) or (height, width), any real dtype, of any size from 1 x 1.
    model : Model
        From `load_model` or `train`. Its network is left in evaluation mode: call
        ``model.network.train()`` before training it further.
    tile : int, optional
        Height and width of the network's input in pixels, a valid size; by default chosen by image
        size and free memory.
    engine : Engine, optional
        Device and precision, see `choose_engine`; by default float32 on the network's device.

    Returns
    -------
    ndarray of float32
        Shape (classes, height, width); the classes add up to 1.

    Raises
    ------
    InputError
        If the image has other channels than the model or cannot be normalised, or the tile is not
        a valid size.
    """
    parts = predict_parts(image, model, tile=tile, engine=engine)
    shape = (model.network.config.num_classes, *np.shape(image)[-2:])
    probabilities = np.empty(shape, np.float32)
    for part, values in parts:
        probabilities[:, *part.write] = values
    return probabilities


def predict_parts(
    image: NDArray[Any], model: Model, *, tile: int | None = None, engine: Engine | None = None
) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
    """Compute class probabilities as `predict` does, but return them tile by tile.

    Parameters
    ----------
    image, model, tile, engine
        As for `predict`.

    Returns
    -------
    iterator of (Tile, ndarray of float32)
        A tile and the pixels that it alone writes, shape (classes, tile.height, tile.width).
    """
    if not isinstance(model, Model):
        raise InputError(f"predict takes a model from `load_model`, not a {type(model).__name__}.")
    source = ArraySource(as_array(image))
    channels, wanted = source.shape[0], model.network.config.in_channels
    if channels != wanted:
        raise InputError(
            f"the image has {channels} channels, the model takes {wanted}: give an image of shape "
            f"({wanted}, height, width), not {tuple(source.shape)}, or another model."
        )
    engine = engine_of(model.network, engine)
    grid = tile_grid(source.shape[1:], model.network, tile, engine.device)
    found = normalisation.gather_statistics(source)
    normalise = normalisation.fit(model.normalisation, found, source.dtype)
    inputs = in_thread(lambda part: normalise(read_mirrored(source, *grid.read(part))), grid)
    outputs = run_network(inputs, model.network, engine, class_probabilities)
    return _written(outputs)
