"""Files of responses as libraries log them: recognised by their columns, and the command that they take.

Nothing is computed by recognition: a file says what it may be, and the user says what to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import field, replace

import numpy as np

from gaecli.errors import GaeError, UsageError
from gaecli.formats.base import Column, ColumnInfo, RolloutFile
from gaecli.formats.stored import own_columns
from gaecli.layouts.demands import likely_flags
from gaecli.layouts.tokens import names_tokens
from gaecli.likely_names import (
    has_lists_of_responses,
    is_measure,
    likely_group,
    likely_scores,
    likely_training_step,
    names_in,
    says_anything,
)
from gaecli.missing_columns import MissingRoleError
from gaecli.names import RESULT_NAMES
from gaecli.records import dataclass
from gaecli.response_log_kinds import RESPONSE_LOGS, ResponseLogKind
from gaecli.settings import Settings
from gaecli.shell_words import file_word, word

#: Under another name than what the library wrote.
_OWN_ADVANTAGE = "{estimator}_advantage"
_ROWS_OF_WEIGHTS = 1 << 16
#: Of so many first rows it is looked whether ids come again.
_FIRST_ROWS = 1 << 12
_WEIGHTS_DIFFER = "the `weight` beside a score changes from row to row, and is not applied"
#: More reward columns than these are counted.
_MOST_NAMED = 6


@dataclass(frozen=True)
class ResponseLog:
    """What a file was recognised as."""

    name: str
    writer: str
    #: The columns of its rewards; none: they could not be told.
    rewards: tuple[str, ...]
    group: tuple[str, ...]
    estimator: str
    preset: str
    #: The column of advantages that is there already.
    advantage: str | None = None
    #: Where something in the file speaks against the layout that it has.
    layout: str | None = None
    remark: str = ""
    is_sharded: bool = False
    #: The column by which several rows are one response.
    sample_of: str | None = None
    #: Of the rewards that have one beside them that is not 1.
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def can_be_computed(self) -> bool:
        return bool(self.rewards and self.group)

    @property
    def says(self) -> str:
        """`2 reward columns (accuracy, format), groups = (step, prompt), `advantage` already there`"""
        number = len(self.rewards)
        named = (
            ", ".join(self.rewards) if number <= _MOST_NAMED else f"{self.rewards[0]} … {self.rewards[-1]}"
        )
        facts = [f"{number} reward column{'' if number == 1 else 's'} ({named})" if number else "no rewards"]
        facts.append(f"groups = ({', '.join(self.group)})" if self.group else "nothing that tells groups")
        if self.advantage is not None:
            facts.append(f"`{self.advantage}` already there")
        return ", ".join(facts)

    def settings(self, base: Settings) -> Settings:
        """What the command says, and all that the user said of other things."""
        alone = {"columns": {**base.columns, "reward": self.rewards[0]}}
        weighed = {"rewards": {name: self.weights.get(name, 1.0) for name in self.rewards}}
        asked = weighed if self._are_summed else alone
        return Settings.from_preset(
            self.preset,
            estimator=self.estimator,
            group_column=self.group,
            layout=self.layout,
            sample_of=self.sample_of,
            advantage_column=self.new_column or base.advantage_column,
            on_nan=base.on_nan,
            join=base.join,
            **asked,
        )

    @property
    def _are_summed(self) -> bool:
        return len(self.rewards) > 1 or bool(self.weights)

    @property
    def new_column(self) -> str | None:
        """Where `advantage` would be in the way."""
        if self.advantage != "advantage":
            return None
        return _OWN_ADVANTAGE.format(estimator=self.estimator.replace("-", "_"))

    def command(self, path: str, command: str = "gae compute", more: Sequence[str] = ()) -> str:
        """As one would type it; `more` stands behind the path."""
        words = [command, file_word(path), *map(word, more)]
        if self.preset != "exact":
            words += ["--preset", self.preset]
        words += ["--estimator", self.estimator]
        for name in self.group:
            words += ["--group-column", word(name)]
        flag = "--reward" if self._are_summed else "--reward-column"
        for name in self.rewards:
            weight = f"={self.weights[name]:.17g}" if name in self.weights else ""
            words += [flag, word(f"{name}{weight}")]
        if self.sample_of is not None:
            words += ["--sample-of", word(self.sample_of)]
        if self.layout is not None:
            words += ["--layout", self.layout]
        if self.new_column is not None and command == "gae compute":
            words += ["--advantage-column", self.new_column]
        return " ".join(words)

    def hint(self, path: str, command: str = "gae compute", more: Sequence[str] = ()) -> str:
        if not self.rewards:
            return (
                "name the column of rewards with `--reward-column`, and that of prompts with `--group-column`"
            )
        if not self.group:
            more = "" if self.layout is None else f", beside `--layout {self.layout}`"
            return (
                "no column says which prompt a response is to; where responses to one prompt stand one after the "
                f"other, N each, add a column with row // N and name it with `--group-column`{more}"
            )
        words = f"`{self.command(path, command, more)}`"
        if len(self.rewards) > 1:
            words += ", which sums the rewards (`--reward NAME=WEIGHT` weighs one; leave out what is none)"
        return f"{words}; {self.remark}" if self.remark else words


class ResponseLogError(UsageError):
    """The settings are not those that a file of responses takes, which are known or guessed."""

    log: ResponseLog
    path: str
    #: Of a guess: what to do if it is wrong.
    otherwise: str | None = None

    @classmethod
    def of(cls, message: str, log: ResponseLog, path: str, otherwise: str | None = None) -> ResponseLogError:
        error = cls(message)
        error.log, error.path, error.otherwise = log, path, otherwise
        error.hint = error.hint_of("gae compute")
        return error

    def hint_of(self, command: str, more: Sequence[str] = ()) -> str:
        hint = self.log.hint(self.path, command, more)
        if self.otherwise is None:
            return hint
        return f"where each row is a response to a prompt, {hint}; else {self.otherwise}"

    def of_command(self, command: str, more: Sequence[str] = ()) -> UsageError:
        """As the command tells it that was typed, with what it was told beside the file."""
        return UsageError(self.message, hint=self.hint_of(command, more))


def recognise(file: RolloutFile) -> ResponseLog | None:
    """By the columns of a known writer, all of them; None for other files."""
    if file.structure != "table":
        return None
    return next((_found(file, kind) for kind in RESPONSE_LOGS if _is(file, kind)), None)


def likely(file: RolloutFile) -> ResponseLog | None:
    """A known log, or what has a score, and a column that people tell prompts by."""
    known = recognise(file)
    if known is not None or file.structure != "table":
        return known
    group, rewards = likely_group(file), likely_scores(file)
    if group is None or not rewards:
        return None
    advantage = next((name for name in ("advantage", "advantages") if name in file.columns), None)
    step = likely_training_step(file)
    if step is not None and "id" in group and not _come_again(file, group, step, rewards[0]):
        step = None
    names = (group,) if step is None else (step, group)
    layout = _layout(file, rewards, names, advantage)
    return ResponseLog("a log of responses", "", rewards, names, "grpo", "exact", advantage, layout)


def _come_again(file: RolloutFile, group: str, step: str, like: str) -> bool:
    """Whether ids of the first rows are there at several steps, with several responses at each: those of prompts."""
    try:
        _, _, columns = next(iter(file.blocks(file.units(_FIRST_ROWS, like)[0], [group, step], _FIRST_ROWS)))
    except (GaeError, StopIteration, IndexError):
        return False
    ids, steps = (columns[name].as_ids().values for name in (group, step))
    if ids.ndim != 1 or ids.shape != steps.shape:
        return False
    pairs = Counter(zip(ids.tolist(), steps.tolist(), strict=True))
    # A step of the response itself, such as a turn, has one row of each.
    return len(pairs) > len(set(ids.tolist())) and min(pairs.values()) > 1


def as_asked(error: GaeError, file: RolloutFile, settings: Settings) -> GaeError:
    """What is told where a file cannot be read as the settings have it: the command that it takes, if one is known.

    Whoever names a column of values, or an end, has something else in mind.
    """
    is_asked = settings.kind.is_scored and "reward" in settings.columns
    if is_asked or settings.columns.keys() - {"reward"}:
        return error
    log = recognise(file)
    if log is None:
        return _with_guess(error, file, settings)
    if settings.kind.is_scored:
        log = replace(log, estimator=settings.estimator)
    first, *rest = error.message.split("\n")
    lines = [f"{first}, which looks like {log.name}: {log.says}", *rest]
    return ResponseLogError.of("\n".join(lines), log, str(file.path))


def _with_guess(error: GaeError, file: RolloutFile, settings: Settings) -> GaeError:
    """Of no writer that is known: a command is only one thing that may be meant."""
    log = None if settings.kind.is_scored or not isinstance(error, MissingRoleError) else likely(file)
    if log is None:
        return error
    return ResponseLogError.of(error.message, log, str(file.path), error.hint)


def _is(file: RolloutFile, kind: ResponseLogKind) -> bool:
    texts = [file.find(name) for name in kind.texts]
    if not all(info is not None and _is_text(info) for info in texts):
        return False
    return all(file.find(name) is not None for name in kind.others)


def _is_text(info: ColumnInfo) -> bool:
    """Or messages of a chat."""
    return info.kind in ("id", "null") or info.has_whole_cells


def _found(file: RolloutFile, kind: ResponseLogKind) -> ResponseLog:
    has_advantage = kind.advantage is not None and file.find(kind.advantage) is not None
    rewards = tuple(_rewards(file, kind))
    found = [[name for name in names.split(" or ") if says_anything(file.find(name))] for names in kind.group]
    group = tuple(names[0] for names in found if names)
    weights = _weights(file, rewards)
    return ResponseLog(
        kind.name,
        kind.writer,
        rewards,
        group,
        kind.estimator,
        kind.preset,
        kind.advantage if has_advantage else None,
        _layout(file, rewards, group, kind.advantage if has_advantage else None),
        kind.remark if weights is not None else f"{kind.remark}; {_WEIGHTS_DIFFER}".removeprefix("; "),
        kind.is_sharded,
        kind.sample_of,
        weights or {},
    )


def _weights(file: RolloutFile, rewards: Sequence[str]) -> dict[str, float] | None:
    """Of scores that have a weight beside them, where it is not 1; None where one changes from row to row.

    By the first rows: the rest of a file comes from the same configuration.
    """
    found: dict[str, float] = {}
    for name in rewards:
        beside = name.removesuffix("score") + "weight"
        if not name.endswith(".score") or not _is_number(file.find(beside)):
            continue
        column = _first_rows(file, beside)
        if column is None:
            continue
        given = column.values if column.is_null is None else column.values[~column.is_null]
        distinct = np.unique(given[~np.isnan(given)])
        if len(distinct) > 1:
            return None
        if len(distinct) and distinct[0] != 1:
            found[name] = float(distinct[0])
    return found


def _first_rows(file: RolloutFile, name: str) -> Column | None:
    for unit in file.units(_ROWS_OF_WEIGHTS, name):
        for _, _, columns in file.blocks(unit, [name], _ROWS_OF_WEIGHTS):
            return columns[name]
    return None


def _layout(
    file: RolloutFile, rewards: Sequence[str], group: Sequence[str], advantage: str | None
) -> str | None:
    """To be named where rewards of tokens stand in lists, where a column looks like a flag of ends, and where the
    writer's own advantages are of responses, whatever lists of their tokens there are. A row that holds lists of
    texts is one prompt with all responses to it.
    """
    if any(_is_list(file.find(name)) for name in rewards):
        if any(_is_list(file.find(name)) for name in group):
            return None
        return "responses" if has_lists_of_responses(file) else "nested"
    is_of_responses = advantage is not None and not _is_list(file.find(advantage)) and names_tokens(file)
    return "responses" if is_of_responses or likely_flags(file) else None


def _is_list(info: ColumnInfo | None) -> bool:
    return info is not None and info.is_list


def _rewards(file: RolloutFile, kind: ResponseLogKind) -> Sequence[str]:
    for form in kind.rewards:
        found = [name for name in names_in(file) if _has_form(name, form) and _is_number(file.find(name))]
        if found:
            return found
    if kind.rewards:
        return ()
    known = {
        *kind.texts,
        *kind.others,
        *kind.group,
        *kind.no_rewards,
        *RESULT_NAMES,
        *own_columns(file.provenance),
    }
    others = [name for name, info in file.columns.items() if name not in known and _is_number(info)]
    return [name for name in others if not is_measure(name)] or others


def _has_form(name: str, form: str) -> bool:
    head, star, tail = form.partition("*")
    if not star:
        return name == form
    middle = name.removeprefix(head).removesuffix(tail)
    return name.startswith(head) and name.endswith(tail) and (bool(tail) or "." not in middle)


def _is_number(info: ColumnInfo | None) -> bool:
    return info is not None and info.unusable is None and info.kind in ("float", "int")
