"""What napari reads before it loads the plugin."""

import ast
import inspect
from pathlib import Path

import pytest

import unet2015


def test_the_manifest_is_valid_and_its_commands_exist():
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_distribution("unet2015")
    assert len(manifest.contributions.widgets) == 2
    source = Path(inspect.getfile(unet2015)).with_name("napari_plugin.py").read_text()
    functions = {node.name for node in ast.walk(ast.parse(source)) if hasattr(node, "name")}
    for command in manifest.contributions.commands:
        module, name = command.python_name.split(":")
        assert module == "unet2015.napari_plugin"
        assert name in functions
