"""Check that no directory (IFD) of a TIFF is missing.

tifffile reads as many pages as it finds, so that a truncated file looks like one with fewer pages.
The chain of directories is therefore followed here first.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

from ..errors import ImageError

# Bytes per value, by TIFF data type.
_TYPE_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8,
    18: 8,
}  # fmt: skip
# Tags without which the pixels or their order are lost: the description, and offsets and byte
# counts of strips and tiles. Wrong values in other tags do no harm and are common in private ones.
_NEEDED = frozenset((270, 273, 279, 324, 325))
_NDPI_TAG = 65420


def check_directories(path: Path) -> None:
    """Raise unless every directory of a TIFF, and the data it needs, lies within the file.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    InputError
        If the file is not a TIFF, is empty or is truncated.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        header = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(header[:2])
        version = struct.unpack(order + "H", header[2:4])[0] if order and len(header) >= 4 else 0
        if size == 0:
            raise ImageError(f"{path} is an empty file: copy or export it again.")
        if version not in (42, 43):
            raise ImageError(f"{path} is not a TIFF, despite its name: check the file.")
        if path.suffix.lower() == ".ndpi":
            return  # its offsets are wider than the format says; tifffile handles them
        big = version == 43
        if len(header) < (16 if big else 8) or not _complete(file, size, header, str(order), big):
            raise ImageError(
                f"{path} is truncated: a page's directory lies beyond its end, so copy or export "
                "it again."
            )


def _complete(file: BinaryIO, size: int, header: bytes, order: str, big: bool) -> bool:
    offset_format = order + ("Q" if big else "I")
    count_format = order + ("Q" if big else "H")
    entry_format = order + ("HHQ8s" if big else "HHI4s")
    entry_bytes = struct.calcsize(entry_format)
    inline = 8 if big else 4
    offset = struct.unpack_from(offset_format, header, 8 if big else 4)[0]
    seen = set()
    while offset and offset not in seen:
        seen.add(offset)
        if offset >= size:
            return False
        file.seek(offset)
        start = file.read(struct.calcsize(count_format))
        if len(start) < struct.calcsize(count_format):
            return False
        count = struct.unpack(count_format, start)[0]
        entries = file.read(count * entry_bytes + inline) if count < 1 << 16 else b""
        if len(entries) < count * entry_bytes + inline:
            return False
        for tag, kind, values, value in struct.iter_unpack(entry_format, entries[:-inline]):
            if tag == _NDPI_TAG:
                return True  # its offsets are wider than the format says; tifffile handles them
            length = values * _TYPE_BYTES.get(kind, 0)
            if (
                tag in _NEEDED
                and length > inline
                and struct.unpack(offset_format, value)[0] + length > size
            ):
                return False
        offset = struct.unpack(offset_format, entries[-inline:])[0]
    return bool(seen)
