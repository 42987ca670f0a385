"""From foreground to numbered cells, also for images that do not fit in memory.

`components` does what the authors did; `necks` goes beyond it. `stitching` does both for images of
any size, from the `pieces` into which blocks cut each component.
"""

from .components import EIGHT_NEIGHBOURS, SMALLEST, as_mask, foreground, label_cells

__all__ = ["EIGHT_NEIGHBOURS", "SMALLEST", "as_mask", "foreground", "label_cells"]
