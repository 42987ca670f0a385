"""Two widgets for napari: tile-predict an image layer, and the border weight map of a labels layer.

napari finds them through ``napari.yaml``. Nothing else in this package imports this module, which
needs napari. magicgui reads the annotations, so that they are no mere strings here.
"""

from collections.abc import Generator, Sequence
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
from .checkpoint import Model, load_model
from .device import Engine, choose_engine
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
    min_size={"label": "smallest cell", "max": 10**9, "tooltip": "in pixels"},
)
def predict_widget(
    image: napari.layers.Image,
    model: str,
    model_file: Path = Path("model.safetensors"),
    output: str = CELLS,
    threshold: float = 0.5,
    min_size: int = 0,
) -> FunctionWorker[napari.types.LayerDataTuple]:
    """Predict all planes of an image layer tile by tile, in a thread that shows its progress."""
    loaded = load_model(model_file if model == FROM_FILE else model)
    pixels = _pixels(image)
    planes = pixels.reshape(-1, *pixels.shape[-3:])
    tiles = len(tile_grid(planes.shape[-2:], loaded.network)) * len(planes)
    about = {**_placement(image), "name": f"{image.name} {output}"}

    @thread_worker(progress={"total": tiles, "desc": "predicting"})
    def work() -> Generator[None, None, napari.types.LayerDataTuple]:
        probability = yield from _predict(planes, loaded, choose_engine())
        shape = (*pixels.shape[:-3], *pixels.shape[-2:])
        if output == PROBABILITY:
            shown = {"colormap": "magma", "contrast_limits": (0, 1), "blending": "additive"}
            return probability.reshape(shape), {**about, **shown}, "image"
        cells = np.stack([label_cells(plane > threshold, min_size) for plane in probability])
        return cells.reshape(shape), about, "labels"

    return _started(work())


@magic_factory(
    call_button="Compute",
    w0={"max": 1000.0, "tooltip": "height of the border term"},
    sigma={"min": 0.1, "max": 1000.0, "tooltip": "its width in pixels"},
    class_balance={"label": "class balance", "tooltip": "without it, the border term alone"},
)
def weight_map_widget(
    cells: napari.layers.Labels,
    w0: float = WeightMapConfig.w0,
    sigma: float = WeightMapConfig.sigma,
    class_balance: bool = True,
) -> FunctionWorker[napari.types.LayerDataTuple]:
    """Compute w(x) of a labels layer in a thread."""
    pixels = np.asarray(_finest(cells))
    about = {
        **_placement(cells),
        "name": f"{cells.name} weights",
        "colormap": "turbo",
        "blending": "additive",
    }

    @thread_worker(progress={"desc": "weight map"})
    def work() -> napari.types.LayerDataTuple:
        weights = border_weight_map(pixels, w0, sigma, "balanced" if class_balance else None)
        return weights, about, "image"

    return _started(work())


def _predict(
    planes: NDArray[Any], model: Model, engine: Engine
) -> Generator[None, None, NDArray[np.float32]]:
    """Probability of foreground of each plane; stops after each tile."""
    probability = np.empty((len(planes), *planes.shape[-2:]), np.float32)
    for plane, target in zip(planes, probability, strict=True):
        for part, values in predict_parts(plane, model, engine=engine)[1]:
            target[part.write] = 1 - values[0]
            yield
    return probability


def _started(worker: Any) -> Any:
    """Start a thread as soon as napari waits for its result: one that is fast would be missed."""
    QTimer.singleShot(0, worker.start)
    return worker


def _pixels(layer: napari.layers.Image) -> NDArray[Any]:
    """Grey values of a layer, shape (..., channels, height, width); colours are channels."""
    pixels = np.asarray(_finest(layer))
    if layer.rgb:
        return np.moveaxis(pixels[..., :3], -1, -3)
    return pixels[..., None, :, :]


def _finest(layer: Any) -> Any:
    """The data of a layer, in full resolution if it has levels."""
    levels: Sequence[Any] = layer.data
    return levels[0] if layer.multiscale else layer.data


def _placement(layer: Any) -> dict[str, Any]:
    """Where a layer lies in the world, for the layer made of it."""
    return {name: getattr(layer, name) for name in ("scale", "translate", "rotate", "shear")}
