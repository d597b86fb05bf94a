"""Files in which something is passed over, and what is told of it."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

import gaecli
from gaecli.commands.check import check
from gaecli.settings import Settings

GAMMA, LAM = 0.99, 0.95


def plain_gae(rewards, values, ends) -> np.ndarray:
    """A plain loop; every end is terminal, and so is that of the data."""
    found, running = np.zeros(len(rewards)), 0.0
    for step in range(len(rewards) - 1, -1, -1):
        if ends[step] or step == len(rewards) - 1:
            running = rewards[step] - values[step]
        else:
            running = rewards[step] + GAMMA * values[step + 1] - values[step] + GAMMA * LAM * running
        found[step] = running
    return found


def write(folder, columns, suffix):
    path = folder / f"rollout{suffix}"
    if suffix == ".npz":
        np.savez(path, **{name: np.asarray(cells) for name, cells in columns.items()})
    elif suffix == ".jsonl":
        lines = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
        path.write_text(
            "".join(json.dumps(line, default=lambda cell: cell.tolist()) + "\n" for line in lines)
        )
    elif suffix == ".arrow":
        pyarrow.feather.write_feather(pa.table(columns), path, compression="uncompressed")
    else:
        pq.write_table(pa.table(columns), path)
    return path


def notes_of(path, code, **settings):
    """(notes of `compute`, findings of `gae check`) with this code; the check has a rule of the same name."""
    summary = gaecli.compute(path, dry_run=True, **settings)
    notes = [note for note in summary.warnings if note.code == code]
    found = [finding for finding in check([path], Settings(**settings)).findings if finding.rule.name == code]
    assert len(notes) == len(found)
    assert [note.count for note in notes] == [finding.count for finding in found]
    return notes
