"""What a run found to tell about a stream, as the provenance of its first file keeps it: a second run tells it again.

That is the warnings, and the ends of the stream, by which it is compared with its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from gaecli.pipeline.judging.continuity import Edge, Edges
from gaecli.pipeline.notes import CountedNote, counted
from gaecli.summary import WarningNote

#: A stream has a handful of warnings; what more there is was not written by gaecli.
_MOST_WARNINGS = 32
#: Ends of more lanes than these are not kept: a header is no place for megabytes.
_MOST_LANES = 1024


def kept_words(warnings: Iterable[WarningNote], edges: Edges | None, paths: Sequence[Path]) -> dict[str, Any]:
    """As JSON. Files go by their number in the stream: they may have other names by then."""
    names = [str(path) for path in paths]
    document: dict[str, Any] = {
        "warnings": [_note_document(note, names) for note in list(warnings)[:_MOST_WARNINGS]]
    }
    if edges is not None and max(len(edges.heads), len(edges.tails)) <= _MOST_LANES:
        found = {
            "heads": [_edge_document(*item) for item in edges.heads.items()],
            "tails": [_edge_document(*item) for item in edges.tails.items()],
            "stride": edges.stride,
        }
        if _is_plain(found):
            document["edges"] = found
    return document


def notes_of(entry: Mapping[str, Any], paths: Sequence[Path]) -> list[WarningNote]:
    """The warnings in an entry of the provenance of a file, which anybody may have edited."""
    kept = _report_of(entry).get("warnings")
    found = [_note_of(note, paths) for note in kept[:_MOST_WARNINGS]] if isinstance(kept, list) else []
    return [note for note in found if note is not None]


def edges_of(entry: Mapping[str, Any], paths: Sequence[Path]) -> Edges | None:
    """The ends of the stream, if they were kept and make sense."""
    kept = _report_of(entry).get("edges")
    if not isinstance(kept, dict):
        return None
    heads, tails, stride = (kept.get(name) for name in ("heads", "tails", "stride"))
    if not isinstance(heads, list) or not isinstance(tails, list) or not _is_whole(stride):
        return None
    found = [[_edge_of(one) for one in ends[:_MOST_LANES]] for ends in (heads, tails)]
    head, tail = ({one[0]: one[1] for one in ends if one is not None} for ends in found)
    return Edges(str(paths[0]), str(paths[-1]), head, tail, stride)


def _is_whole(number: object) -> TypeGuard[int]:
    return isinstance(number, int) and not isinstance(number, bool)


def _report_of(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    kept = entry.get("report")
    return kept if isinstance(kept, dict) else {}


def _note_document(note: WarningNote, names: Sequence[str]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "code": note.code,
        "message": note.message,
        "count": note.count,
        "hint": note.hint,
        "file": names.index(note.file) if note.file in names else None,
    }
    if isinstance(note, CountedNote):
        document.update(numbers=list(note.numbers), names=list(note.names))
    return document


def _note_of(document: object, paths: Sequence[Path]) -> WarningNote | None:
    if not isinstance(document, dict):
        return None
    code, message, hint, count = (document.get(name) for name in ("code", "message", "hint", "count"))
    if not isinstance(code, str) or not isinstance(message, str):
        return None
    number = document.get("file")
    file = str(paths[number]) if _is_whole(number) and 0 <= number < len(paths) else None
    hint = hint if isinstance(hint, str) else None
    again = _counted_again(code, document.get("numbers"), document.get("names"), file, hint)
    if again is not None and again.message == message:
        return again
    return WarningNote(code, message, file, count if _is_whole(count) and count >= 0 else 0, hint)


def _counted_again(
    code: str, numbers: object, names: object, file: str | None, hint: str | None
) -> WarningNote | None:
    """With the numbers that add up over inputs; None where they are not those of this warning."""
    if not isinstance(numbers, list) or not isinstance(names, list):
        return None
    if not numbers or not all(map(_is_whole, numbers)) or not all(isinstance(name, str) for name in names):
        return None
    try:
        return counted(code, tuple(numbers), file, names=tuple(names), hint=hint)
    except (KeyError, TypeError):  # no such words, or more or fewer numbers in them
        return None


def _edge_document(key: Hashable, edge: Edge) -> list[Any]:
    return [_label_document(key), _label_document(edge.identity), edge.step, edge.is_only]


def _edge_of(document: object) -> tuple[Hashable, Edge] | None:
    if not isinstance(document, list) or len(document) != 4:
        return None
    key, identity, step, is_only = document
    if not (_is_label(key) and _is_label(identity) and (step is None or _is_whole(step))):
        return None
    return _label(key), Edge(_label(identity), step, is_only is True)


def _label_document(label: Any) -> Any:
    return list(label) if isinstance(label, tuple) else label


def _is_label(document: object) -> bool:
    parts = document if isinstance(document, list) else [document]
    return all(part is None or isinstance(part, str | int | float) for part in parts)


def _label(document: Any) -> Hashable:
    return tuple(document) if isinstance(document, list) else document


def _is_plain(value: Any) -> bool:
    """It comes back from JSON as it is; ids may be dates, or numbers that are none."""
    if isinstance(value, dict):
        return all(_is_plain(inner) for inner in value.values())
    if isinstance(value, list):
        return all(_is_plain(inner) for inner in value)
    return (
        value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    )
