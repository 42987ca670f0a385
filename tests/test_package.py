"""What is installed along with the code, and how its parts depend on each other."""

import ast
from graphlib import TopologicalSorter
from importlib.resources import files
from pathlib import Path

import unet2015

ROOT = Path(unet2015.__file__).parent


def test_the_package_is_marked_as_typed():
    assert files("unet2015").joinpath("py.typed").is_file()


def test_the_public_names_are_those_that_can_be_imported():
    assert sorted(unet2015.__all__) == sorted(["__version__", *unet2015._HOME])
    assert all(hasattr(unet2015, name) for name in unet2015.__all__)


def test_the_parts_of_the_package_have_no_circular_imports():
    needs = {}
    for module in ROOT.rglob("*.py"):
        part, *_ = names = module.relative_to(ROOT).with_suffix("").parts
        if part != "__init__":
            needs.setdefault(part, set()).update(parts_needed(module, len(names)) - {part})
    TopologicalSorter(needs).prepare()  # raises CycleError and names the parts


def parts_needed(module, depth):
    """Modules and folders right under unet2015 that a module at this depth imports from."""
    imports = [n for n in ast.walk(ast.parse(module.read_text())) if isinstance(n, ast.ImportFrom)]
    reaching = [each for each in imports if each.level == depth]  # up to unet2015 itself
    named = {each.module.split(".")[0] for each in reaching if each.module}
    return named | {alias.name for each in reaching if not each.module for alias in each.names}
