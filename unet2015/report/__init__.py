"""A self-contained HTML page about a training run, a scored result, or both.

`content` defines what a page can show, `gathering` reads it from disk, `page` writes it. Importing
this package imports no torch.
"""

from __future__ import annotations

from .content import Report
from .page import check_page, write_page

__all__ = ["Report", "check_page", "write_page"]
