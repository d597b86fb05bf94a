"""Lists that hold several sequences, where nothing that is used says so: told by what is beside them.

Trainers pack sequences into rows of one length, and `position_ids`, `cu_seqlens` or `segment_ids` keep them apart.
Without these a row is computed with as one trajectory, and rewards flow from one response into the one before it.
"""

from __future__ import annotations

import numpy as np

from gaecli.array_types import BoolArray
from gaecli.columns import Roles
from gaecli.errors import UsageError
from gaecli.formats.base import Column, RolloutFile
from gaecli.layouts.base import Layout
from gaecli.layouts.evidence.ids import role_of_suspect
from gaecli.layouts.evidence.rows_of_steps import RowsOfSteps
from gaecli.layouts.keys import has_duplicates
from gaecli.layouts.packed_lists import are_lengths, is_position, positions_begin, sequences_begin
from gaecli.names import word_set, words_of
from gaecli.settings import Settings
from gaecli.shell_words import word

_SEQUENCE_WORDS = word_set(
    "segment segments sequence sequences seq seqs doc docs document documents sample samples example examples "
    "episode episodes ep traj trajs trajectory trajectories rollout rollouts response responses conversation dialog"
)
_NO_ROLES = Roles({})
_ID_WORDS = word_set("id ids idx index indices no nr num number")
#: What begins anew within one response.
_PART_WORDS = word_set("turn turns step steps action actions message messages chunk chunks")


def may_pack(name: str) -> bool:
    """Whether an item per step, by its name, may keep sequences apart."""
    return is_position(name) or _is_id(name)


def is_open(layout: Layout, settings: Settings) -> bool:
    """Neither the file nor the user says what a list holds."""
    is_said = settings.layout != "auto" or "episode" in settings.columns
    roles = layout.roles
    has_keys = bool(roles.key_parts) or any(roles.get(role) for role in ("episode", "env", "step"))
    return layout.kind.name == "nested" and not is_said and not has_keys


def check_packed(file: RolloutFile, rows: RowsOfSteps) -> None:
    """`UsageError` where a row is several sequences."""
    for name, column in {**rows.columns, **rows.others}.items():
        begins = _begins(name, column, rows)
        if begins is None:
            continue
        inner = begins.copy()
        inner[rows.offsets[:-1][rows.lengths > 0]] = False
        if not inner.any():
            continue
        step = int(np.argmax(inner))
        row = int(np.searchsorted(rows.offsets, step, side="right")) - 1
        own_ids = " --layout nested" if name in rows.columns and not is_position(name) else ""
        raise UsageError(
            f"lists of `{file.path}` hold several sequences by `{name}`, which no role uses: row {row} has another "
            f"one from item {step - int(rows.offsets[row])} on",
            hint=f"pass `--episode-column {word(name)}{own_ids}` if a trajectory ends there, or `--episode-column "
            "none` if each row is one",
        )


def _begins(name: str, column: Column, rows: RowsOfSteps) -> BoolArray | None:
    words, kind = set(words_of(name)), column.values.dtype.kind
    if column.is_null is not None or kind not in "iuU" or words & _PART_WORDS:
        return None
    if kind != "U" and column.offsets is not None and are_lengths(name):
        return sequences_begin(column.values, column.offsets, rows.offsets)
    if kind != "U" and column.offsets is None and is_position(name):
        begins = positions_begin(column.values, rows.offsets)
        return begins if begins is not None and _goes_back(column.values, begins, rows) else None
    return _ids_begin(column.values, rows) if _is_id(name) and column.offsets is None else None


def _goes_back(positions: np.ndarray, begins: BoolArray, rows: RowsOfSteps) -> bool:
    """Within a row: padding before its tokens has the first position over and over."""
    falls = begins[1:] & (positions[1:] < positions[:-1])
    borders = rows.offsets[1:-1]
    falls[borders[(borders > 0) & (borders <= len(falls))] - 1] = False
    return bool(falls.any())


def _ids_begin(values: np.ndarray, rows: RowsOfSteps) -> BoolArray | None:
    """One id for a while, then another that was not there before; None where one comes back. 0 may be padding."""
    begins = np.ones(len(values), np.bool_)
    begins[1:] = values[1:] != values[:-1]
    begins[rows.offsets[:-1][rows.lengths > 0]] = True
    starts = np.flatnonzero(begins)
    _, codes = np.unique(values[starts], return_inverse=True)
    of_rows = np.searchsorted(rows.offsets, starts, side="right")
    if has_duplicates(of_rows * (len(starts) + 1) + codes) or len(starts) > len(values) // 2 + len(
        rows.lengths
    ):
        return None
    if values.dtype.kind in "iu":
        begins &= values != 0
        real = np.flatnonzero(begins)
        first = np.unique(np.searchsorted(rows.offsets, real, side="right"), return_index=True)[1]
        begins[real[first]] = False  # behind padding that stands before it
    return begins


def _is_id(name: str) -> bool:
    """Those of trajectories and environments are told of by their own evidence (`ids`)."""
    words = words_of(name)
    is_one = not _SEQUENCE_WORDS.isdisjoint(words) and role_of_suspect(name, _NO_ROLES) is None
    return is_one and all(one in _SEQUENCE_WORDS or one in _ID_WORDS for one in words)
