"""What is installed beside the code."""

from importlib.resources import files


def test_type_checkers_are_told_that_the_package_has_types():
    assert files("unet2015").joinpath("py.typed").is_file()
