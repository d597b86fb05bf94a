"""Short names for many files, that still tell them apart."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from gaecli.report.text import Canvas


def common_directory(names: Sequence[str]) -> str:
    """`s3://bucket/runs/` of names that all begin with it; empty for a single name."""
    if len(names) < 2:
        return ""
    # Not os.path.commonpath: it would turn s3:// into s3:/.
    prefix = _common_beginning(names)
    return prefix[: prefix.rfind("/") + 1]


def fitted_names(names: Sequence[str], room: int, canvas: Canvas) -> list[str] | None:
    """Clean names of at most `room` cells: in full, without their common ending, or cut once, or at worst twice.

    None if that would make one name of two: a row that could be any of several files tells nothing.
    """
    ellipsis = canvas.glyphs.ellipsis
    full = [canvas.clean(name) for name in names]
    ending = _common_ending(full)
    unended = [name.removesuffix(ending) + ellipsis for name in full] if ending else full
    short = [canvas.shorten(name, room) for name in full]
    candidates = [short, [canvas.shorten(name, room) for name in unended]]
    if all(cell_len(name) <= room for name in unended):
        candidates.reverse()
    for shown in candidates:
        cut = [name if cell_len(name) <= room else other for name, other in zip(full, shown, strict=True)]
        if len(set(cut)) == len(set(full)):
            return cut
    return None


def _common_ending(names: Sequence[str]) -> str:
    """`-of-00200.parquet`: what all names end in, from its first mark on."""
    if len(set(names)) < 2:
        return ""
    ending = _common_beginning([name[::-1] for name in names])[::-1]
    starts = (position for position, letter in enumerate(ending) if not letter.isalnum())
    return ending[next(starts, len(ending)) :]


def _common_beginning(names: Sequence[str]) -> str:
    """What all share lies between the first and the last in order of the alphabet."""
    first, last = min(names), max(names)
    for position, letter in enumerate(first):
        if not last.startswith(letter, position):
            return first[:position]
    return first
