"""From foreground to numbered cells, also of images that do not fit in memory.

`components` is what the authors did; `necks` is more than that. `stitching` does both for images of
any size, by the `pieces` that blocks cut of each component.
"""

from .components import EIGHT_NEIGHBOURS, SMALLEST, as_mask, foreground, label_cells

__all__ = ["EIGHT_NEIGHBOURS", "SMALLEST", "as_mask", "foreground", "label_cells"]
