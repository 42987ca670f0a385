import doctest
import importlib
import pkgutil

import pytest

import unet2015

MODULES = [
    found.name
    for found in pkgutil.walk_packages(unet2015.__path__, "unet2015.")
    if not found.name.endswith(("__main__", "napari_plugin"))  # the latter needs napari
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_pass(name):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert failed == 0
