"""``python -m unet2015`` does what ``unet2015`` does."""

import sys

from .cli import main

sys.exit(main())
