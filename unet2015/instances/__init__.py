"""From foreground to numbered cells, also for images that do not fit in memory.

`components` does what the authors did; `necks` goes beyond it. `stitching` does both for images of
any size, from the `pieces` into which blocks cut each component.
"""

from .components import SMALLEST, foreground, label_cells

__all__ = ["SMALLEST", "foreground", "label_cells"]
