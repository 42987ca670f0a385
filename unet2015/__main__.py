"""``python -m unet2015`` does what ``unet2015`` does."""

from .cli import run

run()
