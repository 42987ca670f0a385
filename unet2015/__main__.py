"""Make ``python -m unet2015`` the same as ``unet2015``."""

from .cli import run

run()
