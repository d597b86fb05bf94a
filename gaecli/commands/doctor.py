"""The whole of `gae doctor`: look, ask what only the user knows, check, verify what is there, and say what to run.

Nothing of it is done here: it is `inspect`, `check`, `verify` and `status` one after the other, each answer being
flags that all of them are given from then on.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from gaecli.advice import Advice, Answer, ColumnVerdict, OpenQuestion, Reason, WhatToDo
from gaecli.commands.answers import MakeSettings, answers_in, keywords_of, merged, named_in
from gaecli.commands.check import check
from gaecli.commands.inspect import InspectOptions, inspect
from gaecli.commands.status import status
from gaecli.commands.unlike_files import is_open, unlike_question
from gaecli.commands.verify import verify_inputs
from gaecli.diagnosis import Checkup
from gaecli.errors import GaeError
from gaecli.inspection import FileInfo, Inspection
from gaecli.names import ADVANTAGE_NAMES, RETURN_NAMES
from gaecli.progress import Progress
from gaecli.records import dataclass
from gaecli.settings import RunOptions, Settings
from gaecli.shell_words import joined, split, word
from gaecli.sources.inputs import plan_streams
from gaecli.storage.places import Places
from gaecli.studies.command import compute_command
from gaecli.studies.reading import file_settings

#: Flags that answer a question; None: nobody does.
AskUser = Callable[[OpenQuestion], str | None]
#: What is told how far a look is, for as long as that takes.
Watch = Callable[[], AbstractContextManager[Progress | None]]

#: Columns that are verified, the first ones.
_MOST_VERIFIED = 4
_OWN_NAME = "{estimator}_{column}"
#: What a hint says where a file of a data set was named that is written all or none.
_ROOT = re.compile(r"name the root, `([^`]+)`")


def doctor(
    sources: Sequence[str | Path],
    make_settings: MakeSettings,
    *,
    ask: AskUser | None = None,
    memory_bytes: int = 1 << 30,
    jobs: int | None = None,
    watch: Watch = contextlib.nullcontext,
) -> Advice:
    """What is to be done with these files.

    Args:
        sources: as for `compute`.
        make_settings: gives those of the user with further fields of `Settings`.
        ask: is asked what the files leave open, one thing at a time; without it the first such thing is the result.
        memory_bytes, jobs: as for `inspect`.
        watch: shows how far each look is.
    """
    with Places(RunOptions(dry_run=True)) as places:
        local = places.inputs.fetched(sources)
        options = InspectOptions(memory_bytes=memory_bytes, jobs=jobs)
        visit = _Visit(sources, local, make_settings, ask, options, watch)
        return places.shown_in(visit.advice())


@dataclass(eq=False)
class _Visit:
    inputs: Sequence[str | Path]
    local: Sequence[str | Path]
    make_settings: MakeSettings
    ask: AskUser | None
    options: InspectOptions
    watch: Watch

    def __post_init__(self) -> None:
        self.settings = self.make_settings({})
        self._said: dict[str, Any] = {}
        self._reasons: list[Reason] = []
        self._columns: list[ColumnVerdict] | None = None
        self._started = time.perf_counter()

    def advice(self) -> Advice:
        inspection, question = self._settled()
        if question is not None:
            return self._ended("question", inspection, question=question)
        if inspection.failures or not inspection.infos:
            return self._ended("failed", inspection)
        if (why := self._why_done(inspection)) is not None:
            return self._ended("nothing to do", inspection, self._checked(), remarks=[why])
        return self._ended("run", inspection, self._checked(), remarks=self._remarks())

    def _settled(self) -> tuple[Inspection, OpenQuestion | None]:
        """What is in the files, once nothing is open about them; or what still is."""
        objection = None
        while True:
            inspection = self._looked(self.settings)
            open_ones = [info for info in inspection.infos if is_open(info)]
            if not open_ones:
                return inspection, None
            info = open_ones[0]
            if info.problem is None and self._why_done(inspection) is not None:
                return inspection, None  # what is in the way of the new columns is what they would be
            unlike = unlike_question(
                inspection.infos,
                self.settings,
                self.make_settings({}),
                lambda other: self._looked(other).infos,
            )
            if unlike is not None:
                return inspection, unlike
            if self._is_recognised(info) or self._is_only_in_the_way(info):
                continue
            question = replace(_question(info, self._inner(info)), objection=objection)
            reply = None if self.ask is None else self.ask(question)
            if reply is None:
                return inspection, question
            objection = self._answered(reply, question)

    def _looked(self, settings: Settings) -> Inspection:
        with self.watch() as progress:
            return inspect(self.local, settings, self.options, progress)

    def _inner(self, info: FileInfo) -> dict[str, str]:
        """Columns within structs of the first file (`infos.value`), each with its type."""
        plans = plan_streams(self.local, self.settings.join)
        plan = next(plan for plan in plans if str(plan.paths[0]) == info.files[0])
        file = plan.open(plan.paths[0])
        found = {name: file.find(name) for name in file.struct_fields()}
        return {name: column.type_name for name, column in found.items() if column is not None}

    def _is_recognised(self, info: FileInfo) -> bool:
        """A library's log has a command of its own, by columns that no other has."""
        log = info.log
        if log is None or log.command is None or self.settings.kind.is_scored or self.settings.columns:
            return False
        flags = joined(split(log.command)[3:])
        return self._take(flags, f"it looks like {log.name}: {log.says}") is None

    def _is_only_in_the_way(self, info: FileInfo) -> bool:
        """New columns get names of their own where somebody else's have theirs."""
        names = {column.name for column in info.existing if not column.is_own}
        taken = [name for name in self.settings.output_columns if name in names]
        if info.problem is not None or not taken:
            return False
        free = {}
        for setting in ("advantage_column", "return_column"):
            name = getattr(self.settings, setting)
            own = _OWN_NAME.format(estimator=self.settings.estimator.replace("-", "_"), column=name)
            if name in taken and own not in info.columns:
                free[setting] = own
        if not free:
            return False
        flags = " ".join(f"--{setting.replace('_', '-')} {word(name)}" for setting, name in free.items())
        listed = " and ".join(f"`{name}`" for name in taken)
        verb = "is" if len(taken) == 1 else "are"
        return self._take(flags, f"{listed} {verb} there already, and gaecli did not write it") is None

    def _answered(self, reply: str, question: OpenQuestion) -> str | None:
        """What the user says holds from now on; or why it cannot."""
        root = question.root
        if root is None or reply != word(root):
            return self._take(reply, f"{question.message.splitlines()[0]}: your answer")
        others = [source for source in self.inputs if not Path(source).is_relative_to(root)]
        self.inputs = self.local = [root, *others]
        self._columns = None
        return None

    def _take(self, flags: str, why: str) -> str | None:
        """From now on the flags are given; or why they cannot be."""
        try:
            new = keywords_of(flags)
            said = merged(self._said, new)
            settings = self.make_settings(said)
        except GaeError as error:
            return f"{error.message}" + (f": {error.hint}" if error.hint else "")
        if settings == self.settings:
            return f"`{flags}` changes nothing"
        self._said, self.settings = said, settings
        held = [one for one in self._reasons if not named_in(keywords_of(one.flags)) <= named_in(new)]
        self._reasons = [*held, Reason(flags, why)]
        return None

    def _checked(self) -> Checkup:
        with self.watch() as progress:
            return check(
                self.local,
                self.settings,
                memory_bytes=self.options.memory_bytes,
                jobs=self.options.jobs,
                progress=progress,
            )

    def _verified(self, inspection: Inspection) -> list[ColumnVerdict]:
        """Columns of advantages and returns that are there already; once."""
        if self._columns is None:
            self._columns = [self._verdict(name, is_own) for name, is_own in _existing(inspection)]
        return self._columns

    def _verdict(self, name: str, is_own: bool) -> ColumnVerdict:
        settings = self.settings
        scored: dict[str, Any] = {}
        if settings.kind.is_scored:
            scored = {"group_column": settings.group_columns, "rewards": list(settings.rewards) or None}
            columns = {role: column for role, column in settings.columns.items() if not settings.rewards}
            settings = Settings(**{**file_settings(settings), "columns": columns})
        try:
            with self.watch() as progress:
                found = verify_inputs(
                    self.local,
                    name,
                    settings,
                    memory_bytes=self.options.memory_bytes,
                    progress=progress,
                    **scored,
                )
        except GaeError as error:
            return ColumnVerdict(name, is_own, None, error.message.split("\n")[0])
        return ColumnVerdict(name, is_own, found)

    def _why_done(self, inspection: Inspection) -> str | None:
        """The results are there already, and the user asked for no others."""
        columns = self._verified(inspection)
        names = " and ".join(f"`{column.column}`" for column in columns)
        if not columns or not all(column.is_reproduced for column in columns):
            return None
        if all(info.plan is not None and info.plan.action == "up to date" for info in inspection.infos):
            return f"{names}: there already, by gaecli with these settings"
        if _asks_for_numbers(self.settings, self._said):
            return None
        if not any(column.is_own for column in columns):
            return f"{names}: there already, as a known rule makes {'it' if len(columns) == 1 else 'them'}"
        try:
            found = status(self.local, RunOptions(dry_run=True), join=self.settings.join)
        except GaeError:  # not to be written as they were named: told where that is asked about
            return None
        if any(result.state != "done" for result in found.results):
            return None
        return f"{names}: there already, by gaecli, of the rows as they are"

    def _remarks(self) -> list[str]:
        remarks = []
        usual = Settings.usual(self.settings.preset, self.settings.estimator)
        for name, symbol in (("gamma", "γ"), ("lam", "λ")):
            if self.settings.uses(name) and getattr(self.settings, name) == usual[name]:
                remarks.append(symbol)
        if not remarks:
            return []
        verb = "is" if len(remarks) == 1 else "are"
        who = "the usual one" if len(remarks) == 1 else "the usual ones"
        return [f"{' and '.join(remarks)} {verb} {who}: nothing in a file tells those of your training"]

    def _ended(
        self,
        verdict: WhatToDo,
        inspection: Inspection,
        checkup: Checkup | None = None,
        *,
        question: OpenQuestion | None = None,
        remarks: Sequence[str] = (),
    ) -> Advice:
        command = None
        if verdict == "run":
            command = compute_command(self.inputs, self.settings)
        return Advice(
            [str(source) for source in self.inputs],
            verdict,
            command,
            self._reasons,
            remarks,
            question,
            inspection,
            checkup,
            self._columns or [],
            self.settings.to_dict(),
            inspection.failures,
            time.perf_counter() - self._started,
        )


def _existing(inspection: Inspection) -> Iterator[tuple[str, bool]]:
    """(name, whether gaecli wrote it) of what holds advantages or returns, in any of the files."""
    found: dict[str, bool] = {}
    for info in inspection.infos:
        for column in info.existing:
            settings = (column.provenance or {}).get("settings") or {}
            own = (settings.get("advantage_column"), settings.get("return_column"))
            if (
                column.name in own
                if column.is_own
                else column.name.lower() in (*ADVANTAGE_NAMES, *RETURN_NAMES)
            ):
                found.setdefault(column.name, column.is_own)
    return iter(list(found.items())[:_MOST_VERIFIED])


def _asks_for_numbers(settings: Settings, said: Mapping[str, Any]) -> bool:
    """The user wants more than to have the rows read in some way; what was answered on the way is such a way."""
    usual = Settings.usual(settings.preset, settings.estimator)
    reading = {*file_settings(settings), *said, "columns"}
    wants = {name: value for name, value in settings.to_dict().items() if name not in reading}
    return any(value != usual.get(name) for name, value in wants.items())


def _question(info: FileInfo, inner: Mapping[str, str]) -> OpenQuestion:
    """`inner`: the columns that stand in others, which nobody lists, by their type."""
    assert info.plan is not None
    found = _ROOT.search(info.plan.hint or "")
    root = None if found is None else found[1]
    return OpenQuestion(
        info.path,
        info.plan.error or "",
        info.plan.hint,
        [*([] if root is None else [Answer(word(root))]), *answers_in(info.plan.hint)],
        {name: kind for name, kind in {**info.columns, **inner}.items() if not name.startswith("(")},
        info.plan.exit_code,
        root,
    )
