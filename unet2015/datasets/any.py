"""Read a data set of any known layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from . import em
from .ctc import load_sequence
from .frames import AnnotatedFrame
from .pairs import load_pairs


def load_frames(
    data: Path | str, sequences: Sequence[str] = (), silver: bool = False
) -> list[AnnotatedFrame]:
    """Read the annotated frames of a data set, whatever its layout.

    Parameters
    ----------
    data : Path or str
        The folder of a data set of the Cell Tracking Challenge (CTC), of the ISBI 2012 EM
        challenge, or of ``images/`` and ``labels/``.
    sequences : sequence of str
        CTC sequences to read, such as ``01``; empty for the other layouts.
    silver : bool
        Whether frames of these without gold truth are read with their silver truth.

    Raises
    ------
    InputError
        If the layout is unknown, `sequences` is empty for a CTC data set or names one that is
        missing, or files cannot be read.
    """
    data = Path(data)
    if not data.is_dir():
        what = "is not a folder" if data.exists() else "does not exist"
        raise InputError(f"{data} {what}: give the folder of a data set.")
    if len(set(sequences)) < len(sequences):
        raise InputError(f"a sequence of {' '.join(sequences)} is named twice: name each once.")
    is_ctc = (data / "01_GT").is_dir() or (data / "02_GT").is_dir()
    is_em = em.is_challenge(data)
    if sequences and not is_ctc and (is_em or (data / "images").is_dir()):
        raise InputError(f"{data} has no sequences: leave them out.")
    if sequences:
        found = [load_sequence(data, sequence, silver) for sequence in sequences]
        return [frame for frames in found for frame in frames]
    if silver:
        raise InputError("--silver is for CTC sequences: choose them, as in --sequences 01.")
    if is_ctc:
        raise InputError(
            f"{data} is a CTC data set: choose its sequences, as in --sequences 01 or "
            "--validation-sequences 02."
        )
    return em.load_slices(data) if is_em else load_pairs(data)
