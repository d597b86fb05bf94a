"""What scores may be and what may group them: the columns that are tried, and what they leave of a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain, zip_longest

import numpy as np

from gaecli.array_types import FloatArray
from gaecli.columns import find_roles
from gaecli.errors import GaeError, UsageError
from gaecli.layouts.tokens import names_tokens
from gaecli.missing_columns import not_found
from gaecli.records import dataclass
from gaecli.response_logs import ResponseLog, likely
from gaecli.setting_fields import names_of, setting_flag
from gaecli.settings import Settings
from gaecli.studies.asked import Asked, GroupColumns
from gaecli.studies.baseline_candidates import (
    group_columns,
    other_columns,
    reading_with,
    reward_columns,
    says_reward,
    step_column,
)
from gaecli.studies.baseline_trials import ScoredColumn
from gaecli.studies.column import Against, find_column
from gaecli.studies.group_sample import GroupSample, GroupSamples
from gaecli.studies.reward_weights import reward_weights
from gaecli.studies.scored_streams import ScoredStreams
from gaecli.studies.scores import ScoredCells, cells_of, scored_cells, written_numbers

#: So many choices of a group and a reward column are held against all rules.
MOST_CHOICES = 4


@dataclass(frozen=True, eq=False)
class Choice:
    """A column of groups and one of rewards, and how much of the column they leave unexplained by any rule."""

    settings: Settings
    #: The groups of the stream that it is held against, or all of them.
    sample: GroupSample
    streams: ScoredStreams
    cells: ScoredCells
    column: ScoredColumn
    num_unexplained: int
    num_telling: int
    #: A trajectory may be more than a cell.
    has_steps: bool
    #: The weights of the rewards were solved for.
    is_fitted: bool = False

    def written(self, settings: Settings) -> FloatArray:
        """[C] what `gae compute` writes of these cells under these settings."""
        return written_numbers(self.streams.of(self.sample.asked, settings))

    @property
    def is_per_row(self) -> bool:
        """The column has one number for all items of a list."""
        return len(self.sample.asked.against.numbers) != len(self.cells.scores)

    @property
    def is_of_several(self) -> bool:
        """No straight line in the sum of these rewards: scaled one by one they may be it all the same."""
        return bool(self.num_unexplained) and len(self.settings.rewards) > 1

    @property
    def rank(self) -> tuple[bool, int, int, int]:
        """Of columns that tell the same groups the fewest; where nothing tells anything, those that are named."""
        num_columns = len(self.settings.group_columns)
        nearest = num_columns if self.num_telling else -num_columns
        return (not self.num_telling, self.num_unexplained, -self.num_telling, nearest)


class Choices:
    """Of the columns of one file."""

    def __init__(self, asked: Asked) -> None:
        self._asked, self._only = asked, asked.only
        self._samples = GroupSamples(asked)
        self._streams = ScoredStreams(asked.memory_bytes)
        self.groups = group_columns(asked.file, asked.only.group_column)
        #: Of names that say nothing: they count if they are it.
        self.others = [] if self.groups else other_columns(asked.file, asked.against.column)
        given = [("--reward", name) for name in asked.only.rewards]
        given += [(setting_flag(name), column) for name, column in asked.only.score_columns.items()]
        for flag, name in given:
            if asked.file.find(name) is None:
                raise not_found(name, flag, asked.file)

    def worth_hearing(self) -> list[Choice]:
        """What is no straight line in the score is hardly any rule's: of those the nearest, to say where it leaves
        it, and groups of usual names, for baselines that are none themselves (`passk`, `grpo-loo`).
        """
        choices = self._all()
        found = [one for one in choices if one.num_telling and not one.num_unexplained][: 2 * MOST_CHOICES]
        several = [one for one in choices if one.is_of_several][:MOST_CHOICES]
        plain = [one for one in choices if not one.is_of_several]
        usual = [one for one in plain[1:] if one.settings.group_column in self.groups][:MOST_CHOICES]
        return [*found, *several] if found else [*several, *plain[:1], *usual]

    def like(self, settings: Settings) -> Choice | None:
        """The groups and rewards of these settings."""
        reward = None if settings.rewards else settings.columns.get("reward")
        group = settings.group_column
        made = reading_with(self._base, group, reward, settings.rewards or None, self._sample_of)
        return None if made is None else self._choice(made)

    @property
    def named_rewards(self) -> list[str]:
        """By the user, or by the log that the file is."""
        return list(self._only.rewards) or list(self._log.rewards if self._log is not None else ())

    def numbers(self, choice: Choice, names: Sequence[str]) -> dict[str, FloatArray]:
        """By name: [n] of the cells that are compared."""
        held, asked = choice.column.held, choice.sample.asked
        loaded = self._loaded.setdefault(id(choice.sample), {})
        missing = [name for name in names if name not in loaded]
        files = asked.plan.open_all(asked.settings) if missing else []
        kinds = ("float", "int", "bool")  # a reward may be whether it was right
        for name in missing:
            loaded[name] = find_column(files, name, asked.memory_bytes, kinds)
        return {name: cells_of(loaded[name], choice.cells, asked.path)[held] for name in names}

    @cached_property
    def _loaded(self) -> dict[int, dict[str, Against]]:
        """By sample."""
        return {}

    @cached_property
    def _log(self) -> ResponseLog | None:
        """What the file says itself, where it is of a writer that is known."""
        return None if "reward" in self._asked.settings.columns else likely(self._asked.file)

    @cached_property
    def _base(self) -> Settings:
        layout = None if self._log is None or not self._log.can_be_computed else self._log.layout
        settings = self._asked.settings
        column = self._asked.file.find(self._asked.against.column)
        if layout is None and settings.layout == "auto" and column is not None and not column.is_list:
            layout = "responses" if names_tokens(self._asked.file) else None
        return settings if layout is None else settings.replace(layout=layout)

    def _all(self) -> list[Choice]:
        """By how little of the column they leave open. Sums of rewards where no single one is it."""
        found = self._as_said()
        if found and all(one.num_unexplained for one in found):
            weighed = self._sums(found, self.named_rewards, [])
            if any(len(one.settings.rewards) > 1 for one in weighed):
                return [*weighed, *found]
        first_error: GaeError | None = None
        seen: set[tuple[GroupColumns, str | None]] = {
            (one.settings.group_column, one.settings.columns["reward"])
            for one in found
            if "reward" in one.settings.columns
        }
        for reward in [] if self._only.rewards else self._rewards():
            for group in self._groups_to_try():
                settings = reading_with(self._base, group, reward, sample_of=self._sample_of)
                try:
                    if settings is None:
                        continue
                    names = find_roles(self._asked.file, settings).names
                    key = (group, names.get("reward"))
                    if key in seen or names.get("reward") in settings.group_columns:
                        continue
                    seen.add(key)
                    found.append(self._choice(settings))
                except GaeError as error:
                    first_error = first_error or error
        if not found:
            raise first_error or self._no_rewards()
        found.sort(key=lambda choice: choice.rank)
        if found[0].num_unexplained or not found[0].num_telling:
            tried = [] if self._only.rewards else [name for name in self._rewards() if name]
            return [*self._sums(found, tried, [name for name in tried if says_reward(name)]), *found]
        return found

    def _no_rewards(self) -> UsageError:
        by = " and ".join(f"`{name}`" for name in names_of(self._only.group_column))
        return UsageError(
            f"no column of `{self._asked.file.path}` can be the reward: groups are told by {by}",
            hint="pass another column with `--group-column`, or with `--reward-column`",
        )

    def _rewards(self) -> Sequence[str | None]:
        return reward_columns(self._asked.file, self._asked.settings, self._asked.against.column)

    @property
    def _sample_of(self) -> str | None:
        return self._only.score_columns.get("sample_of")

    def _as_said(self) -> list[Choice]:
        """With the rewards and groups that the user names, and else those of a log that is known."""
        rewards, groups = dict(self._only.rewards), self._groups_to_try()
        if self._log is not None and self._log.can_be_computed:
            log = self._log
            rewards = rewards or {name: log.weights.get(name, 1.0) for name in log.rewards}
            own = log.group[0] if len(log.group) == 1 else log.group
            if self._only.group_column is None:
                groups = [own, *(groups if self._only.rewards else [])]
        elif not rewards:
            return []
        # A column alone is found by its name, as the one of a file is that is no log.
        alone = next(iter(rewards)) if list(rewards.values()) == [1.0] else None
        found, first_error = [], None
        for group in dict.fromkeys(groups):
            made = reading_with(self._base, group, alone, None if alone else rewards, self._sample_of)
            try:
                found += [] if made is None else [self._choice(made)]
            except GaeError as error:
                first_error = first_error or error
        if not found and self._only.rewards:
            raise first_error or self._no_rewards()
        return found

    def _groups_to_try(self) -> list[GroupColumns]:
        """One column, or the step of training and it: a prompt that comes again is another group then."""
        if self._only.group_column is not None:
            return list(self.groups)
        step = step_column(self._asked.file)
        names = [name for name in self.groups if isinstance(name, str) and name != step]
        pairs = [] if step is None else [(step, name) for name in names]
        return [*self.groups, *self.others, *pairs, None]

    def _choice(self, settings: Settings, *, is_fitted: bool = False) -> Choice:
        sample = self._samples.of(settings.group_column)
        asked = sample.asked
        cells = scored_cells(self._streams.of(asked, settings))
        numbers = cells_of(asked.against, cells, asked.path)
        column = ScoredColumn.of(cells, numbers, asked.against.rounding)
        return Choice(
            settings,
            sample,
            self._streams,
            cells,
            column,
            column.num_unexplained(),
            int(np.count_nonzero(column.is_telling)),
            has_steps=bool((cells.is_scored & ~cells.is_last).any()),
            is_fitted=is_fitted,
        )

    def _sums(self, singles: Sequence[Choice], names: Sequence[str], named: Sequence[str]) -> list[Choice]:
        """Weighted sums of `names` that make a straight line of the column, then the plain sum of `named`."""
        if len(names) < 2 or not self._only.are_weights_open:
            return []
        by_group = {choice.settings.group_column: choice for choice in singles}
        found: list[list[Choice | None]] = []
        plain: list[Choice | None] = []
        for group, choice in by_group.items():
            weights = reward_weights(self.numbers(choice, names), choice.column.column, choice.column.groups)
            found.append([self._sum(group, one) for one in weights])
            plain += [self._sum(group, dict.fromkeys(named, 1.0))] if len(named) > 1 else []
        # By turns: a part of a group is on the same line as the whole group is, in weights of the same sizes.
        by_turns = chain.from_iterable(zip_longest(*found))
        sums = [one for one in by_turns if one is not None and not one.num_unexplained]
        # Several rewards that are scaled one by one are no straight line in any sum of them.
        last = [one for one in plain if one is not None][:MOST_CHOICES]
        return [*sums[: 2 * MOST_CHOICES - len(last)], *last]

    def _sum(self, group: GroupColumns, rewards: Mapping[str, float]) -> Choice | None:
        settings = reading_with(self._base, group, None, rewards, self._sample_of)
        is_fitted = set(rewards.values()) != {1.0}
        try:
            return None if settings is None else self._choice(settings, is_fitted=is_fitted)
        except GaeError:
            return None
