"""Every name of every role, in every layout and format: the numbers are right, or the file is refused.

A cell is one file in which `name` alone tells what its role tells. Names come from the table of aliases, so
that a new one is tried by itself; a new role needs an entry in `FILES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest
from matrix.files import CELLS, LAYOUTS, outcome, write
from matrix.rollout import GAMMA, LAM, Rollout, advantages, rollout

from gaecli.errors import GaeError
from gaecli.names import ALIASES

Arrays = Mapping[str, np.ndarray]
#: What is written is float32.
TOLERANCE = {"rtol": 2e-6, "atol": 2e-6}


def as_terminated(given: Rollout) -> Rollout:
    return given.with_ends(terminated=given.ended, truncated=np.zeros_like(given.ended))


def as_truncated(given: Rollout) -> Rollout:
    return given.with_ends(terminated=np.zeros_like(given.ended), truncated=given.ended)


def starts(given: Rollout) -> np.ndarray:
    found = np.zeros_like(given.ended)
    found[:, 1:] = given.ended[:, :-1]
    return found


def without_last_end(given: Rollout) -> Rollout:
    """Start flags say nothing of the last step: it is open."""
    ended = given.ended.copy()
    ended[:, -1] = False
    return given.with_ends(terminated=ended, truncated=np.zeros_like(ended))


def longer(flags: np.ndarray, first: object = 0) -> np.ndarray:
    """[N, T + 1] flags of states: what a step led to stands behind it."""
    return np.concatenate((np.full((len(flags), 1), first, flags.dtype), flags), axis=1)


#: Role -> (the cells of its column, the rollout that they tell of) for each way to write it.
FILES: Mapping[str, Mapping[str, tuple[Callable[[Rollout], np.ndarray], Callable[[Rollout], Rollout]]]] = {
    "terminated": {
        "bool": (lambda r: r.ended, as_terminated),
        "float": (lambda r: r.ended.astype(np.float32), as_terminated),
        "longer": (lambda r: longer(r.ended), as_terminated),
    },
    "truncated": {
        "bool": (lambda r: r.ended, as_truncated),
        "int": (lambda r: r.ended.astype(np.int64), as_truncated),
        "longer": (lambda r: longer(r.ended), as_truncated),
    },
    "done": {
        "bool": (lambda r: r.ended, as_terminated),
        "float": (lambda r: r.ended.astype(np.float64), as_terminated),
        "longer": (lambda r: longer(r.ended), as_terminated),
    },
    "done_start": {
        "bool": (starts, without_last_end),
        "float": (lambda r: starts(r).astype(np.float32), without_last_end),
        "longer": (lambda r: longer(r.ended, 1), as_terminated),
    },
    "not_done": {
        "bool": (lambda r: ~r.ended, as_terminated),
        "float": (lambda r: 1 - r.ended.astype(np.float32), as_terminated),
        "discount": (lambda r: GAMMA * (1 - r.ended.astype(np.float32)), as_terminated),
        "longer": (lambda r: longer(1 - r.ended.astype(np.float32), 1), as_terminated),
    },
    "not_truncated": {
        "bool": (lambda r: ~r.ended, as_truncated),
        "float": (lambda r: 1 - r.ended.astype(np.float32), as_truncated),
        "longer": (lambda r: longer(1 - r.ended.astype(np.float32), 1), as_truncated),
    },
}
NAMES = [(role, name) for role in FILES for name in ALIASES[role]]


def base(given: Rollout, layout: str) -> dict[str, np.ndarray]:
    arrays = {"reward": given.rewards, "value": given.values, "next_value": given.following}
    if layout == "long":
        arrays["env_id"] = np.repeat(np.arange(len(given.rewards)), given.rewards.shape[1]).reshape(
            given.rewards.shape
        )
    return arrays


def _cells(role: str, name: str, is_whole: bool) -> Iterator[tuple[str, str, str]]:
    """(way, layout, suffix): all of them, or of most names each way in one layout that is usual, by diagonals.

    Of the first name of its role all that are usual, and each other in one of the ways.
    """
    is_first = name == ALIASES[role][0]
    turn = ALIASES[role].index(name)
    for number, way in enumerate(FILES[role]):
        for place, cell in enumerate(CELLS if is_first else LAYOUTS):
            has_room = way != "longer" or cell[0] != "long"
            # Each way, and each layout, has its turn.
            is_due = is_first or (number + place + turn) % len(LAYOUTS) == 0
            if is_first and cell not in LAYOUTS:
                is_due = place % (len(FILES[role]) - 1) == number  # the last one has no room in most
            if has_room and (is_whole or is_due):
                yield way, *cell


@pytest.mark.parametrize("is_whole", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("role", "name"), NAMES)
def test_a_name_is_read_as_its_role_or_refused(tmp_path, role, name, is_whole):
    right = 0
    for way, layout, suffix in _cells(role, name, is_whole):
        cells, told = FILES[role][way]
        given = rollout(ends_inside=layout != "nested")
        path = write(tmp_path, layout, suffix, {**base(given, layout), name: cells(given)})
        found = outcome(path, layout, gamma=GAMMA, lam=LAM)
        if isinstance(found, GaeError):
            assert found.exit_code in (2, 3), f"{way}, {layout}, {suffix}: {found}"
            continue
        right += 1
        expected = advantages(told(given))
        np.testing.assert_allclose(
            found.reshape(expected.shape), expected, **TOLERANCE, err_msg=f"{way}, {layout}, {suffix}"
        )
    assert right, "a name that is refused everywhere names nothing"
