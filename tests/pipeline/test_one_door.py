"""What one command refuses all refuse, in the same words; what one accepts all accept.

Every input and every setting through all six commands and `gaecli.read`. What `compute` says is the law.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.commands import inspect as inspection
from gaecli.commands.check import check
from gaecli.diagnosis import Checkup
from gaecli.formats.parquet.reader import ParquetInput
from gaecli.settings import Settings
from gaecli.summary import WarningNote

Verdict = tuple[type[gaecli.GaeError], str, str | None]

STEPS = {
    "reward": [1.0, 2.0, 0.5, -1.0, 1.0, 3.0],
    "value": [0.5, 0.25, 0.125, 0.5, 1.0, 2.0],
    "episode": [0, 0, 0, 1, 1, 1],
    "step": [0, 1, 2, 0, 1, 2],
    "terminated": [False, False, True, False, False, False],
    "truncated": [False, False, False, False, False, True],
    "adv": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
}


def _table(folder: Path, name: str = "r.parquet", **changes: Any) -> Path:
    """STEPS with other columns; None leaves one out."""
    columns = {key: column for key, column in {**STEPS, **changes}.items() if column is not None}
    pq.write_table(pa.table(columns), folder / name)
    return folder / name


def _shards(folder: Path, **second: Any) -> Path:
    """One stream of two files; the episode of the last row goes on in the second."""
    root = folder / "shards"
    root.mkdir()
    _table(root, "r-00000-of-00002.parquet", truncated=[False] * 6)
    _table(root, "r-00001-of-00002.parquet", episode=[1, 1, 1, 2, 2, 2], step=[3, 4, 5, 0, 1, 2], **second)
    return root


def _archive(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "r.npz", **arrays)
    return folder / "r.npz"


def _dense(folder: Path, **more: Any) -> Path:
    random = np.random.default_rng(0)
    arrays = {name: random.normal(size=(5, 3)) for name in ("rewards", "values", "adv")}
    return _archive(folder, **arrays, terminated=random.random((5, 3)) < 0.3, **more)


def _lists(folder: Path, **changes: Any) -> Path:
    columns = {
        "reward": [[1.0, 2.0, 0.5], [1.0, -1.0]],
        "value": [[0.5, 0.25, 0.125], [0.5, 1.0]],
        "truncated": [[False, False, True], [False, False]],
        "adv": [[0.1, 0.2, 0.3], [0.4, 0.5]],
        **changes,
    }
    pq.write_table(pa.table(columns), folder / "r.parquet")
    return folder / "r.parquet"


INPUTS: Mapping[str, Callable[[Path], Path]] = {
    "rows": _table,
    "rows with open ends": lambda folder: _table(folder, truncated=None),
    "rows without ids": lambda folder: _table(folder, episode=None, step=None),
    "rows without ends": lambda folder: _table(folder, episode=None, step=None, terminated=None, truncated=None),
    "rows without values": lambda folder: _table(folder, value=None),
    "rows out of order": lambda folder: _table(folder, step=[2, 0, 1, 0, 1, 2], terminated=None, truncated=None),
    "a step that is missing": lambda folder: _table(folder, step=[0, 1, 3, 0, 1, 2]),
    "an id that comes back": lambda folder: _table(folder, episode=[0, 0, 1, 1, 0, 0], step=None,
                                                   terminated=None, truncated=None),
    "a reward that is NaN": lambda folder: _table(folder, reward=[1.0, np.nan, 0.5, -1.0, 1.0, 3.0]),
    "a value that is text": lambda folder: _table(folder, value=list("abcdef")),
    "flags inside an episode": lambda folder: _table(folder, terminated=[True] + [False] * 5),
    "starts for ends": lambda folder: _table(folder, terminated=None, truncated=None,
                                             done=[True, False, False, True, False, False]),
    "masked rows": lambda folder: _table(folder, mask=[1, 1, 0, 1, 1, 1]),
    "padding": lambda folder: _table(folder, episode=None, step=None, terminated=None, truncated=None,
                                     is_first=[True, False, False] * 2, is_last=[False, False, True] * 2,
                                     is_terminal=[False, False, True, False, False, False]),
    "lists": _lists,
    "lists of other lengths": lambda folder: _lists(folder, value=[[0.5, 0.25], [0.5, 1.0]]),
    "lists with a mask": lambda folder: _lists(folder, response_mask=[[1, 1, 0], [0, 1]]),
    "arrays of either axis": _dense,
    "arrays with last values": lambda folder: _dense(folder, last_values=np.zeros(3)),
    "arrays with a mask": lambda folder: _dense(folder, mask=np.ones((5, 3))),
    "arrays of other lengths": lambda folder: _archive(folder, rewards=np.ones(5), values=np.ones(3),
                                                       dones=np.zeros(5, bool), adv=np.ones(5)),
    "files of one stream": _shards,
    "files of other columns": lambda folder: _shards(folder, value=None, values=STEPS["value"]),
    "files of which one is damaged": lambda folder: _damaged(_shards(folder)),
    "text": lambda folder: _text(folder),
}  # fmt: skip


def _damaged(root: Path) -> Path:
    path = root / "r-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    return root


def _text(folder: Path) -> Path:
    path = folder / "r.parquet"
    path.write_text("what rewards and values were\n")
    return path


SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "defaults": {},
    "brax": {"preset": "brax"},
    "finite-horizon": {"preset": "finite-horizon"},
    "spinup": {"preset": "spinup"},
    "pufferlib": {"preset": "pufferlib"},
    "skrl": {"preset": "skrl-2.1"},
    "cleanrl, every end known": {"preset": "cleanrl", "bootstrap": "error"},
    "openrlhf, every end known": {"preset": "openrlhf", "bootstrap": "error"},
    "lam alpha": {"lam_alpha": 0.5},
    "every end known": {"bootstrap": "error"},
    "drop-episode": {"on_nan": "drop-episode"},
    "groups": {"normalize_by": "episode"},
    "no groups": {"normalize_by": "nothing"},
    "masked rows as zero": {"mask_mode": "zero"},
    "gated": {"mask_mode": "gated"},
    "time-major": {"layout": "time-major"},
    "long": {"layout": "long"},
    "ends at the start": {"done_at": "start"},
    "little memory": {"memory_bytes": 300, "preset": "spinup"},
}


def verdict(call: Callable[[], object]) -> Verdict | None:
    try:
        call()
    except gaecli.GaeError as error:
        return _kind(error.exit_code), error.message, error.hint
    return None


class Case(NamedTuple):
    path: Path
    settings: Mapping[str, Any]

    def computed(self) -> tuple[Verdict | None, Sequence[WarningNote]]:
        """What `compute` says, and what it warns of."""
        summaries: list[gaecli.Summary] = []
        found = verdict(lambda: summaries.append(gaecli.compute(self.path, dry_run=True, **self.settings)))
        if found is not None:
            return found, []
        file = summaries[0].files[0]
        is_failed = file.status == "failed"
        return (_kind(file.exit_code), file.error or "", file.hint) if is_failed else None, summaries[
            0
        ].warnings

    def read_settings(self) -> tuple[Settings, dict[str, int]]:
        given = dict(self.settings)
        memory = {"memory_bytes": given.pop("memory_bytes")} if "memory_bytes" in given else {}
        return Settings.from_preset(given.pop("preset", "exact"), **given), memory


def _kind(exit_code: int) -> type[gaecli.GaeError]:
    kinds = (gaecli.UsageError, gaecli.DataError, gaecli.FileError)
    return next(kind for kind in kinds if kind.exit_code == exit_code)


#: Every input meets the defaults, and some by turns another setting; every setting a file or a stream of two.
OF_ALL_INPUTS = ("defaults",)
OF_ALL_SETTINGS = ("rows with open ends", "files of one stream")


def _is_met(input: str, given: str) -> bool:
    number = list(SETTINGS).index(given)
    turn = (list(INPUTS).index(input) + number) % 54
    return input == OF_ALL_SETTINGS[number % 2] or given in OF_ALL_INPUTS or turn == 0


EACH = [pair for pair in product(INPUTS, SETTINGS) if _is_met(*pair)]
OTHERS = [pair for pair in product(INPUTS, SETTINGS) if pair not in EACH]


@pytest.mark.few(26)
@pytest.mark.parametrize(
    ("input", "given"), [*EACH, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in OTHERS)]
)
def test_all_commands_say_what_compute_says(tmp_path: Path, input: str, given: str) -> None:
    case = Case(INPUTS[input](tmp_path), SETTINGS[given])
    law, warnings = case.computed()
    found = {
        "inspect": inspected(case, warnings),
        "read": verdict(lambda: gaecli.read(case.path, **case.settings)),
        "sweep": swept(case, warnings),
    }
    if is_sum(case):
        found["explain"] = explained(case)
    assert found == dict.fromkeys(found, law)
    assert_checked(case, law)
    if set(case.settings) <= {"preset", "bootstrap", "done_at", "layout"}:
        verified = verdict(lambda: gaecli.verify(case.path, "adv", **{"preset": "exact", **case.settings}))
        # What has no values may be scores in groups, so that it is those that are asked for.
        asks_for_groups = input == "rows without values" and "--group-column" in str(verified)
        is_told = verified is not None and "`adv`" in verified[1]
        assert verified == law or (law is None and is_told) or asks_for_groups


#: Warnings that need the numbers themselves, or that are about writing them.
OF_NUMBERS, OF_WRITING = {"zero-variance", "overflow", "single-precision"}, {"names-alike"}


def told(notes: Iterable[WarningNote], *without: set[str]) -> list[tuple[str, str, str | None]]:
    codes = set().union(*without)
    return sorted((note.code, note.message, note.hint or "") for note in notes if note.code not in codes)


def inspected(case: Case, warnings: Sequence[WarningNote]) -> Verdict | None:
    """The page says what is wrong, and what `compute` would do and warn of."""
    pages: list[gaecli.FileInfo] = []
    found = verdict(lambda: pages.append(gaecli.inspect(case.path, **case.settings)))
    if found is not None:
        return found
    (page,) = pages
    assert page.plan is not None
    assert (page.plan.error, page.plan.hint) == (page.problem, page.hint)
    if page.problem is None:
        assert page.plan.action == "write"
        assert told(page.warnings) == told(warnings, OF_NUMBERS)
        return None
    return _kind(page.plan.exit_code), page.problem, page.hint


def swept(case: Case, warnings: Sequence[WarningNote]) -> Verdict | None:
    sweeps: list[Any] = []
    # Where lengths decide λ there is none to sweep.
    lams = [] if "lam_alpha" in case.settings else [0.5]
    found = verdict(lambda: sweeps.append(gaecli.sweep(case.path, [0.9], lams, **case.settings)))
    if found is not None:
        return found
    (sweep,) = sweeps
    file = sweep.files[0]
    if file.error is not None:
        return _kind(file.exit_code), file.error, file.hint
    assert told(sweep.warnings) == told(warnings, OF_NUMBERS, OF_WRITING)
    return None


def is_sum(case: Case) -> bool:
    settings, _ = case.read_settings()
    is_plain = settings.convention.recursion == "gae" and settings.lam_alpha is None
    return is_plain and settings.mask_mode != "gated"


#: What `explain` says of single steps.
NO_ADVANTAGE = (
    "there is no row 0",
    "holds no step",
    "is padding: ",
    "holds a last state",
    "is masked",
    "is left out",
    "gets no advantage",
)


def explained(case: Case) -> Verdict | None:
    """Of a step that has an advantage; which rows those are is another question."""
    found = verdict(lambda: gaecli.explain(case.path, 0, **case.settings))
    if found is not None and found[1].startswith("every row of"):
        found = verdict(lambda: gaecli.explain(case.path, 0, step=0, **case.settings))
    return None if found is not None and any(words in found[1] for words in NO_ADVANTAGE) else found


def assert_checked(case: Case, law: Verdict | None) -> None:
    """Rules name what is wrong in words of their own; the last of them, and what cannot be opened, in these."""
    settings, memory = case.read_settings()
    checkup = check([case.path], settings, **memory)
    refused = [
        (finding.message, finding.fix) for finding in checkup.findings if finding.rule.code == "GAE900"
    ]
    said = [(failure.error, failure.hint) for failure in checkup.failures] + refused
    if law is None:
        assert said == []
    else:
        assert checkup.exit_code != 0
        assert said == [law[1:]] or (not said and checkup.num_errors)


COMMANDS: Mapping[str, Callable[[Path], Verdict | None]] = {
    "compute": lambda path: Case(path, {}).computed()[0],
    "inspect": lambda path: verdict(lambda: gaecli.inspect(path)),
    "check": lambda path: failure_of(check([path])),
    "explain": lambda path: verdict(lambda: gaecli.explain(path, 0)),
    "sweep": lambda path: swept(Case(path, {}), []),
    "verify": lambda path: verdict(lambda: gaecli.verify(path, "adv")),
    "read": lambda path: verdict(lambda: gaecli.read(path)),
}


def failure_of(checkup: Checkup) -> Verdict:
    (failure,) = checkup.failures
    return _kind(failure.exit_code), failure.error, failure.hint


@pytest.mark.turns
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EIO, "Input/output error"), "cannot be read: Input/output error"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left for the temporary files"),
        (PermissionError(errno.EACCES, "Permission denied"), "no permission to read"),
        (MemoryError(), "does not fit into memory"),
    ],
    ids=["disk", "space", "leave", "memory"],
)
def test_what_the_system_refuses_is_an_error_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, error: Exception, words: str
) -> None:
    """Never a traceback, nor a word of writing where nobody writes."""
    path = _table(tmp_path, is_over=[False] * 5 + [True])  # one that is looked at before the others

    def blocks(*arguments: object) -> Iterator[None]:
        raise error
        yield

    monkeypatch.setattr(ParquetInput, "blocks", blocks)
    found = COMMANDS[command](path)
    assert found is not None
    assert found[0] is gaecli.FileError
    assert words in found[1]
    assert str(path) in found[1]


def test_files_that_go_on_in_one_another_are_told_by_all_commands(tmp_path: Path) -> None:
    """They are taken apart, as nothing in their names says that they are one stream."""
    paths = [
        _table(tmp_path, "a.parquet", truncated=[False] * 6),
        _table(tmp_path, "b.parquet", episode=[1, 1, 1, 2, 2, 2], step=[3, 4, 5, 0, 1, 2]),
    ]
    told_by = {
        "compute": gaecli.compute(paths, dry_run=True).warnings,
        "sweep": gaecli.sweep(paths, [0.9], [0.5]).warnings,
        "inspect": [note for info in inspection.inspect(paths).infos for note in info.warnings],
    }
    for command, warnings in told_by.items():
        assert [note.code for note in warnings].count("goes-on-in-next-file") == 1, command


@pytest.mark.parametrize("command", ["inspect", "check", "sweep"])
def test_stdin_is_an_input_of_commands_that_only_read(
    run_gae: Callable[..., CompletedProcess[bytes]], tmp_path: Path, command: str
) -> None:
    found = run_gae(command, "-", "--json", input=_table(tmp_path).read_bytes(), text=False)
    assert found.returncode == 0, found.stderr
    assert b"/tmp" not in found.stdout
