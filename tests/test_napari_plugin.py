"""The napari plugin: its manifest, and its widgets without a screen."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
napari = pytest.importorskip("napari")
pytest.importorskip("qtpy.QtWidgets")

from unet2015.checkpoint import Model, save_model  # noqa: E402
from unet2015.errors import InputError  # noqa: E402
from unet2015.instances import label_cells  # noqa: E402
from unet2015.napari_plugin import FROM_FILE, PROBABILITY, predict_widget, weight_map_widget  # noqa: E402
from unet2015.prediction import predict  # noqa: E402
from unet2015.unet import UNet  # noqa: E402
from unet2015.weightmap import border_weight_map  # noqa: E402


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    model = Model(UNet(base_channels=2, depth=1).eval(), "standard")
    save_model(tmp_path / "model.safetensors", model)
    return model


@pytest.fixture(scope="module")
def application():
    from qtpy.QtWidgets import QApplication

    return QApplication.instance() or QApplication([])


def call(widget, **values):
    """Run the function behind a widget in its thread; return the layer it makes."""
    from qtpy.QtCore import QEventLoop, QTimer

    made = []
    loop = QEventLoop()
    worker = widget.keywords["function"](**values)
    worker.returned.connect(made.append)
    worker.finished.connect(loop.quit)
    QTimer.singleShot(60_000, loop.quit)
    loop.exec()
    return napari.layers.Layer.create(*made[0])


@pytest.mark.usefixtures("application")
def test_a_stack_becomes_numbered_cells_at_its_position(model, tmp_path):
    stack = np.random.default_rng(0).integers(0, 255, (2, 70, 90), dtype=np.uint8)
    affine = np.diag([1.0, 2, 3, 1])
    where = {"scale": (1, 0.5, 0.5), "translate": (0, 7, 3), "affine": affine, "units": "um"}
    image = napari.layers.Image(stack, name="cells", **where)
    file = tmp_path / "model.safetensors"
    layer = call(predict_widget, image=image, model=FROM_FILE, model_file=file, threshold=0.4)
    assert isinstance(layer, napari.layers.Labels)
    assert layer.name == "cells numbered cells"
    np.testing.assert_array_equal(layer.scale, (1, 0.5, 0.5))
    np.testing.assert_array_equal(layer.translate, (0, 7, 3))
    np.testing.assert_array_equal(layer.affine.affine_matrix, affine)
    assert layer.units == image.units
    expected = np.stack([predict(plane, model)[1] > 0.4 for plane in stack])
    np.testing.assert_array_equal(layer.data > 0, expected)


@pytest.mark.usefixtures("application")
def test_the_minimum_cell_size_defaults_to_that_of_the_model(model, tmp_path):
    file = tmp_path / "model.safetensors"
    save_model(file, replace(model, min_size=9))
    plane = np.random.default_rng(0).integers(0, 255, (70, 90), dtype=np.uint8)
    given = {"image": napari.layers.Image(plane), "model": FROM_FILE, "model_file": file}
    inside = predict(plane, model)[1] > 0.5
    for choice, least in (({}, 9), ({"min_size": 3}, 3)):
        layer = call(predict_widget, **given, **choice)
        np.testing.assert_array_equal(layer.data, label_cells(inside, least))


@pytest.mark.usefixtures("application")
def test_colours_are_channels_and_the_finest_level_is_used(tmp_path):
    torch.manual_seed(0)
    model = Model(UNet(in_channels=3, base_channels=2, depth=1).eval(), "standard")
    save_model(tmp_path / "model.safetensors", model)
    picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    image = napari.layers.Image([picture, picture[::2, ::2]], rgb=True, multiscale=True)
    layer = call(
        predict_widget,
        image=image,
        model=FROM_FILE,
        model_file=tmp_path / "model.safetensors",
        output=PROBABILITY,
    )
    expected = predict(np.moveaxis(picture, -1, 0), model)[1]
    np.testing.assert_allclose(layer.data, expected, atol=1e-6)


@pytest.mark.usefixtures("application")
def test_channels_are_taken_from_the_third_to_last_axis(tmp_path):
    torch.manual_seed(0)
    model = Model(UNet(in_channels=2, base_channels=2, depth=1).eval(), "standard")
    save_model(tmp_path / "model.safetensors", model)
    stack = np.random.default_rng(0).integers(0, 255, (3, 2, 40, 50), dtype=np.uint8)
    affine = np.eye(5)
    affine[2:4, 4] = 5, 6
    where = {"rotate": 30, "shear": (0, 0, 0, 0, 0, 0.5), "affine": affine}
    image = napari.layers.Image(stack, scale=(9, 1, 2, 3), translate=(0, 0, 7, 8), **where)
    given = {"model": FROM_FILE, "model_file": tmp_path / "model.safetensors"}
    layer = call(predict_widget, image=image, output=PROBABILITY, **given)
    np.testing.assert_allclose(layer.data[2], predict(stack[2], model)[1], atol=1e-6)
    np.testing.assert_array_equal(layer.scale, (9, 2, 3))
    corner = image.data_to_world((2, 0, 30, 40))
    np.testing.assert_allclose(layer.data_to_world((2, 30, 40)), np.delete(corner, 1))
    with pytest.raises(InputError, match="2 channels"):
        call(predict_widget, image=napari.layers.Image(stack[:, 0]), **given)


@pytest.mark.usefixtures("application")
def test_the_widgets_offer_choices_and_require_a_layer():
    widget = predict_widget()
    assert widget.output.choices == ("numbered cells", "probability")
    assert widget.threshold.max == 1
    for empty in (widget, weight_map_widget()):
        with pytest.raises(InputError, match="no layer"):
            empty()


@pytest.mark.usefixtures("application")
def test_a_labels_layer_becomes_its_weight_map():
    labels = np.zeros((40, 50), np.uint16)
    labels[5:20, 5:20], labels[5:20, 22:40] = 1, 2
    layer = call(weight_map_widget, cells=napari.layers.Labels(labels), balanced=False, sigma=4.0)
    expected = border_weight_map(labels, sigma=4.0, class_weights=None)
    np.testing.assert_array_equal(layer.data, expected)
