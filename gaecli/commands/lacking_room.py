"""One error for all results that a full disk had no room for: how many there are, and how to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gaecli.sources.inputs import size_of
from gaecli.summary import FileSummary, Summary
from gaecli.writing.targets import Target

#: What new columns add to a file, at most by experience.
_GROWTH = 0.2
_LEAST_BYTES = 1_000_000


def told_once(summary: Summary, targets: Mapping[Path, Target]) -> Summary:
    """The first input whose result had no room is failed; the others, tried or not, are not written."""
    lacking = [file for file in summary.files if file.lacks_room]
    first = next(file for file in lacking if file.status == "failed")
    if len(summary.files) == 1:
        return summary
    done = sum(file.status in ("written", "up to date") for file in summary.files)
    message = f"{first.error}\n{done:,} of {len(summary.files):,} files are done"
    if len(lacking) > 1:
        message += f", and for {len(lacking) - 1:,} more there is no space either"
    needed = f"{_needed(lacking, targets) / 1e6:,.0f} MB"
    hint = (
        f"free some space, about {needed}, and run the same command again: what is done stays done, "
        "and it goes on from there"
    )
    followed = f"there was no space left for that of `{first.input}`"

    def told(file: FileSummary) -> FileSummary:
        if file is first:
            return replace(file, error=message, hint=hint)
        if file.lacks_room:
            return replace(file, status="not written", error=followed, hint=None)
        return file

    return replace(summary, files=[told(file) for file in summary.files])


def _needed(lacking: list[FileSummary], targets: Mapping[Path, Target]) -> float:
    """Bytes: a new file takes the place of an old one only when it is complete."""
    room, largest = 0.0, 0
    for file in lacking:
        path = Path(file.input)
        size = size_of(path)
        room += size * _GROWTH
        if targets[path].in_place:
            largest = max(largest, size)
        else:
            room += size
    return max(room + largest, _LEAST_BYTES)
