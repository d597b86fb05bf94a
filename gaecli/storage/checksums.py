"""The checksum that Hadoop keeps beside a local file: `.NAME.crc`.

Spark writes one with each of its files. It does not read a file whose bytes do not fit it, and reads without
a check where there is none. So whoever replaces the file owes it a new one.

    crc\\0, bytes per checksum as a big-endian int32, then the CRC-32 of each piece of so many bytes, big-endian
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from pathlib import Path

_MAGIC = b"crc\0"
_HEADER = struct.Struct(">4si")
#: Not more than a checksum of Hadoop's would cover; a number from a damaged file decides about memory.
_MAX_PIECE_BYTES = 1 << 24
_BLOCK_PIECES = 2048


def checksum_path(file: Path) -> Path:
    return file.with_name(f".{file.name}.crc")


def piece_bytes(checksum: Path) -> int | None:
    """How many bytes each checksum covers; None if this is no such file."""
    if not os.access(checksum, os.F_OK):  # nearly always
        return None
    try:
        with checksum.open("rb") as file:
            magic, size = _HEADER.unpack(file.read(_HEADER.size))
    except (OSError, struct.error):
        return None
    return size if magic == _MAGIC and 0 < size <= _MAX_PIECE_BYTES else None


def write_checksum(source: Path, target: Path, like: Path, size: int) -> None:
    """The checksums of a file, on the disk and with the mode of those that they are to replace."""
    with source.open("rb") as file, target.open("xb") as out:
        os.fchmod(out.fileno(), stat.S_IMODE(like.stat().st_mode))
        out.write(_HEADER.pack(_MAGIC, size))
        while block := file.read(size * max(1, min(_BLOCK_PIECES, _MAX_PIECE_BYTES // size))):
            sums = [zlib.crc32(block[start : start + size]) for start in range(0, len(block), size)]
            out.write(struct.pack(f">{len(sums)}I", *sums))
        out.flush()
        os.fsync(out.fileno())
