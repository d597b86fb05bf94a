"""Columns that look like ids of trajectories and that nothing uses: asked about, or told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gaecli.columns import Roles
from gaecli.layouts.evidence.ids import RowsAlternate, role_of_suspect
from gaecli.layouts.keys import as_labels
from gaecli.pipeline.blocks import BlockSummary
from gaecli.pipeline.combine import Combined
from gaecli.records import dataclass
from gaecli.shell_words import word
from gaecli.summary import WarningNote


@dataclass(frozen=True)
class _SeenColumn:
    """What all blocks together say of one column."""

    num_pairs: int
    num_changes: int
    comes_back: bool
    file: int
    row: int


def unused_ids(
    paths: Sequence[Path], roles: Roles, summaries: Sequence[BlockSummary], combined: Combined
) -> list[WarningNote]:
    """A warning per column that changes inside trajectories; `RowsAlternate` where it goes back and forth."""
    notes = []
    strides = {stride for summary in summaries if (stride := summary.facts.step_stride) is not None}
    # Ids and a step that counts every row say that these rows are one trajectory, whoever acts in them.
    is_counted = roles.get("episode") is not None and strides == {1}
    # Of two columns that go back and forth, an episode counted by each environment and the environment, the latter.
    for name in sorted(summaries[0].facts.suspects, key=lambda name: role_of_suspect(name, roles) != "env"):
        if any(name not in summary.facts.suspects for summary in summaries):
            continue  # another file of the stream goes without it
        found = _together(name, summaries, combined)
        if found is None:
            continue
        is_row_id = not found.comes_back and found.num_changes == found.num_pairs
        if is_row_id:
            continue  # a number of its own for every row tells no trajectories apart
        notes.append(_note(name, found, paths, roles, is_counted=is_counted))
    return notes


def _note(
    name: str, found: _SeenColumn, paths: Sequence[Path], roles: Roles, *, is_counted: bool
) -> WarningNote:
    # Rows that alternate may hold several episodes of each: flags cut them, once they stand apart.
    role = "env" if found.comes_back else role_of_suspect(name, roles)
    flag = f"--{role}-column"
    path = paths[found.file]
    share = (
        f"{found.num_changes:,} of {found.num_pairs:,} neighbours differ in it, the first at row {found.row}"
    )
    hint = f"pass `{flag} {word(name)}` if it tells trajectories apart, or `{flag} none` if it does not"
    if not is_counted and found.comes_back and 2 * found.num_changes >= found.num_pairs:
        raise RowsAlternate(
            f"rows of `{path}` alternate by `{name}` within what would be one trajectory: {share}", hint=hint
        )
    message = f"`{name}` changes within what is taken for one trajectory: {share} of `{path}`"
    return WarningNote("unused-id", message, str(path), found.num_changes, hint=hint)


def changes_at_ends_alone(name: str, summaries: Sequence[BlockSummary], combined: Combined) -> bool:
    """It changes within no trajectory, and is another one at the last step of a lane than at the first."""
    traces = [summary.facts.suspects.get(name) for summary in summaries]
    seen = [trace for trace in traces if trace is not None]
    if len(seen) < len(traces) or _together(name, summaries, combined) is not None:
        return False
    return any(
        first != last
        for trace in seen
        for first, last in zip(as_labels(trace.firsts), as_labels(trace.lasts), strict=True)
    )


def _together(name: str, summaries: Sequence[BlockSummary], combined: Combined) -> _SeenColumn | None:
    traces = [summary.facts.suspects[name] for summary in summaries]
    pairs = sum(trace.num_pairs for trace in traces)
    changes = sum(trace.num_changes for trace in traces)
    places = [
        (summary.address.file, trace.first_row)
        for summary, trace in zip(summaries, traces, strict=True)
        if trace.first_row is not None
    ]
    # Trajectories that go on in another block: the column may change just there.
    lanes = np.flatnonzero(combined.successors >= 0)
    firsts, lasts = (
        [label for trace in traces for label in as_labels(getattr(trace, side))]
        for side in ("firsts", "lasts")
    )
    for lane, following in zip(lanes.tolist(), combined.successors[lanes].tolist(), strict=True):
        pairs += 1
        if lasts[lane] != firsts[following]:
            changes += 1
            block = int(combined.block_of(np.array([following]))[0])
            places.append((summaries[block].address.file, summaries[block].start))
    if not changes:
        return None
    file, row = min(places)
    return _SeenColumn(pairs, changes, any(trace.comes_back for trace in traces), file, row)
