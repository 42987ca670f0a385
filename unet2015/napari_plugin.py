"""Two widgets for napari: tile-predict an image layer, and the border weight map of a labels layer.

napari finds them through ``napari.yaml``. Nothing else in this package imports this module, which
needs napari. Annotations are not postponed, because magicgui reads them.
"""

import math
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import napari.layers
import napari.types
import numpy as np
from magicgui import magic_factory
from napari.qt.threading import FunctionWorker, thread_worker
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from .builtin import built_in_models
from .checkpoint import load_model
from .engines.device import choose_engine
from .errors import InputError
from .instances import label_cells
from .prediction import predict_parts
from .tilesize import tile_grid
from .weightmap import WeightMapConfig, border_weight_map

FROM_FILE = "the file below"
CELLS, PROBABILITY = "numbered cells", "probability"


def _models(_widget: object) -> list[str]:
    return [*built_in_models(), FROM_FILE]


@magic_factory(
    call_button="Predict",
    model={"choices": _models},
    output={"choices": [CELLS, PROBABILITY]},
    model_file={"label": "model file", "filter": "*.safetensors"},
    threshold={"widget_type": "FloatSlider", "min": 0.0, "max": 1.0, "step": 0.01},
    min_size={
        "label": "smallest cell",
        "min": -1,
        "max": 10**9,
        "tooltip": "in pixels; -1 for the model's own value",
    },
)
def predict_widget(
    image: napari.layers.Image,
    model: str,
    model_file: Path = Path("model.safetensors"),
    output: str = CELLS,
    threshold: float = 0.5,
    min_size: int = -1,
) -> FunctionWorker[napari.types.LayerDataTuple]:
    """Predict all planes of an image layer tile by tile, in a thread that shows its progress."""
    _require(image)
    loaded = load_model(model_file if model == FROM_FILE else model)
    config = loaded.network.config
    if config.num_classes != 2:
        raise InputError(f"the model has {config.num_classes} classes: choose one with 2.")
    planes = _Planes(image, config.in_channels)
    engine = choose_engine(model=loaded)
    grid = tile_grid(planes.shape[-2:], loaded.network, device=engine.device)
    attributes = {**_placement(image, planes.axes), "name": f"{image.name} {output}"}

    @thread_worker(progress={"total": len(grid) * len(planes), "desc": "predicting"})
    def work() -> Generator[None, None, napari.types.LayerDataTuple]:
        numbered = output == CELLS
        least = loaded.min_size if min_size < 0 else min_size
        result = np.empty(planes.shape, np.uint32 if numbered else np.float32)
        for index in planes:
            probability = np.empty(planes.shape[-2:], np.float32)
            for part, values in predict_parts(planes.read(index), loaded, engine=engine):
                probability[part.write] = values[1]
                yield
            result[index] = label_cells(probability > threshold, least) if numbered else probability
        if numbered:
            return result, attributes, "labels"
        shown = {"colormap": "magma", "contrast_limits": (0, 1), "blending": "additive"}
        return result, {**attributes, **shown}, "image"

    return _start_later(work())


@magic_factory(
    call_button="Compute",
    w0={"max": 1000.0, "tooltip": "height of the border term"},
    sigma={"min": 0.1, "max": 1000.0, "tooltip": "its width in pixels"},
    balanced={"label": "class balance", "tooltip": "without it, the border term alone"},
)
def weight_map_widget(
    cells: napari.layers.Labels,
    w0: float = WeightMapConfig.w0,
    sigma: float = WeightMapConfig.sigma,
    balanced: bool = True,
) -> FunctionWorker[napari.types.LayerDataTuple]:
    """Compute w(x) of a labels layer in a thread."""
    _require(cells)
    attributes = {
        **_placement(cells, list(range(cells.ndim))),
        "name": f"{cells.name} weights",
        "colormap": "turbo",
        "blending": "additive",
    }

    @thread_worker(progress={"desc": "weight map"})
    def work() -> napari.types.LayerDataTuple:
        pixels = np.asarray(_finest(cells))
        weights = border_weight_map(
            pixels, w0, sigma, class_weights="balanced" if balanced else None
        )
        return weights, attributes, "image"

    return _start_later(work())


class _Planes:
    """The planes of a layer, each of shape (channels, height, width), read one at a time.

    Channels are the colours or, for a model of several channels, the axis before the last two.

    Attributes
    ----------
    shape : tuple of int
        Shape of the layer without its channels.
    axes : list of int
        The layer's axes without its channels.
    """

    def __init__(self, layer: napari.layers.Image, channels: int) -> None:
        self.data, self.rgb = _finest(layer), layer.rgb
        self.axes = list(range(layer.ndim))
        if channels > 1 and not layer.rgb:
            if layer.ndim < 3 or self.data.shape[-3] != channels:
                raise InputError(
                    f"the model takes {channels} channels: choose a layer of shape "
                    f"(..., {channels}, height, width)."
                )
            del self.axes[-3]
        self.shape = tuple(self.data.shape[axis] for axis in self.axes)
        self.channels = channels

    def __len__(self) -> int:
        return math.prod(self.shape[:-2])

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return iter(np.ndindex(self.shape[:-2]))

    def read(self, index: tuple[int, ...]) -> NDArray[Any]:
        """Grey values of a plane."""
        pixels = np.asarray(self.data[index])
        if self.rgb:
            return np.moveaxis(pixels[..., :3], -1, 0)
        return pixels.reshape(self.channels, *self.shape[-2:])


def _require(layer: object) -> None:
    if layer is None:
        raise InputError("there is no layer to work on: open an image, or make a labels layer.")


def _start_later(worker: Any) -> Any:
    """Start a thread only once napari waits for it: the result of a fast one would be missed."""
    QTimer.singleShot(0, worker.start)
    return worker


def _finest(layer: Any) -> Any:
    """The data of a layer, at full resolution if it is multiscale."""
    return layer.data[0] if layer.multiscale else layer.data


def _placement(layer: Any, axes: list[int]) -> dict[str, Any]:
    """World transform of some axes of a layer, for the layer computed from it."""
    shear = np.asarray(layer.shear)
    if shear.ndim == 1:  # the entries above the diagonal
        shear = np.eye(layer.ndim)
        shear[np.triu_indices(layer.ndim, 1)] = layer.shear
    by_axis = ("scale", "translate", "units", "axis_labels")
    return {
        **{name: [getattr(layer, name)[axis] for axis in axes] for name in by_axis},
        "rotate": np.asarray(layer.rotate)[np.ix_(axes, axes)],
        "shear": shear[np.ix_(axes, axes)],
        "affine": layer.affine.affine_matrix[np.ix_([*axes, -1], [*axes, -1])],
    }
