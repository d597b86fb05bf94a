"""Groups of trajectories that go on from block to block: each is compared once all of its steps are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gaecli.checks.base import Context
from gaecli.checks.group_ledger import GroupLedger, Trajectories, beside
from gaecli.estimators.scores import SCORE
from gaecli.formats.base import Column
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.opening import OpenFile
from gaecli.pipeline.settle import Settled
from gaecli.pipeline.stream import RunContext, SummarisedStream


def add_groups(
    ledger: GroupLedger, stream: SummarisedStream, run: RunContext, contexts: Sequence[Context]
) -> None:
    """All trajectories of the stream, in the block in which each ends. `contexts`: of each of its files."""

    def look(file: int, start: int, settled: Settled, carry: Carry) -> tuple[int, int, Trajectories]:
        return file, start, _ended(settled)

    rows = stream.opened.rows_per_block
    cells = [
        _cells(opened, beside(context), rows) for opened, context in zip(stream.files, contexts, strict=True)
    ]
    for file, start, found in stream.visit(run, look):
        columns = next((columns for first, columns in cells[file] if first == start), {})
        ledger.add(contexts[file], start, columns, found)


def _ended(settled: Settled) -> Trajectories:
    scores = settled.scores.get(SCORE, settled.advantages)
    ends = settled.entering("trajectories")
    last = np.flatnonzero(settled.prepared.cuts if ends is None else ends)
    if settled.unscored is not None:
        last = last[~settled.unscored[last]]
    return Trajectories.of(settled.block, last, scores[last])


def _cells(
    opened: OpenFile, names: Sequence[str], rows_per_block: int
) -> Iterator[tuple[int, Mapping[str, Column]]]:
    """(first row, cells) of every block, as the stream has them."""
    if not names:
        return
    for unit in opened.units:
        for start, _, columns in opened.file.blocks(unit, list(dict.fromkeys(names)), rows_per_block):
            yield start, columns
