"""Warnings whose words hold numbers, and how the same warning about many inputs becomes one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gaecli.summary import WarningNote


@dataclass(frozen=True)
class _CountedNote(WarningNote):
    """A warning whose words hold numbers, which add up over inputs."""

    say: Callable[..., str] = str
    numbers: tuple[int, ...] = ()


def counted(
    code: str, say: Callable[..., str], numbers: tuple[int, ...], file: str | None, hint: str | None = None
) -> WarningNote:
    return _CountedNote(code, say(*numbers), file, numbers[0], hint, say, numbers)


def merged(notes: Sequence[WarningNote]) -> list[WarningNote]:
    """The same warning about a thousand inputs is one warning, with the numbers of all of them."""
    together: dict[tuple[str, str | None], list[WarningNote]] = {}
    for note in notes:
        words = None if isinstance(note, _CountedNote) else note.message
        together.setdefault((note.code, words), []).append(note)
    return [_sum(same) for same in together.values()]


def _sum(same: Sequence[WarningNote]) -> WarningNote:
    first = same[0]
    message = first.message
    if isinstance(first, _CountedNote):
        numbers = [note.numbers for note in same if isinstance(note, _CountedNote)]
        message = first.say(*map(sum, zip(*numbers, strict=True)))
    if len(same) > 1:
        message = f"{message} (in {len(same):,} inputs)"
    file = first.file if len({note.file for note in same}) == 1 else None
    return WarningNote(first.code, message, file, sum(note.count for note in same), first.hint)
