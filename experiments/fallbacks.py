"""Measurements of an engine are not to be those of what stands in for it."""

from __future__ import annotations

import logging


class _Refusing(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError(record.getMessage())


def refuse_fallbacks() -> None:
    """Make it an error that OpenVINO or torch.compile fails and PyTorch goes on without it."""
    logging.getLogger("unet2015.engines.backends").addHandler(_Refusing(logging.WARNING))
