"""Keep fallbacks out of measurements: an engine's results must be its own."""

from __future__ import annotations

import logging


class _Refusing(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError(record.getMessage())


def refuse_fallbacks() -> None:
    """Raise an error where OpenVINO or torch.compile would fall back to PyTorch."""
    logging.getLogger("unet2015.engines.backends").addHandler(_Refusing(logging.WARNING))
