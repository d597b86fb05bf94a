"""Streams as rules of scores have them, read once for all that take the rows alike.

Rules differ in what becomes of scores beside one another: centre, divisor, ε, what is whitened. That comes after the
scores of all steps are known (`gaecli.estimators.stages`), which most of them share.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import field, replace

from gaecli.columns import Roles, find_roles
from gaecli.engines.local import LocalEngine
from gaecli.engines.threads import Threads
from gaecli.errors import GaeError
from gaecli.estimators.stages import Statistic, scores_of, stages_of
from gaecli.formats.base import RolloutFile
from gaecli.layouts.flag_columns import flag_columns
from gaecli.pipeline.block_stages import StageTables
from gaecli.pipeline.blocks import LastingStore
from gaecli.pipeline.label_tables import MomentTable
from gaecli.pipeline.opening import open_stream
from gaecli.pipeline.stream import RunContext, SummarisedStream, summarised
from gaecli.pipeline.worker import Worker
from gaecli.records import dataclass
from gaecli.setting_fields import said
from gaecli.settings import Settings
from gaecli.studies.asked import Asked
from gaecli.studies.reading import OF_MASKS, SettledStream, plain_estimator, read_by, settled_blocks

#: Rows of a block: groups reach over all of them anyway.
ROWS_PER_BLOCK = 1 << 18
#: Share of the memory limit for the blocks of streams that are kept, and for those of one more that is being read.
_STORE_SHARE = 0.1
#: Settings of what becomes of scores; and of those that are missing, which is a part of the key by itself.
_OF_STAGES = (
    *("preset", "estimator", "normalize", "norm_ddof", "norm_eps", "norm_floor", "norm_over"),
    *("group_ddof", "group_eps", "group_floor", "singleton", "scale_rewards", "step_weight", "ema_decay"),
    "unscored",
)


@dataclass(frozen=True, eq=False)
class _Kept:
    stream: SummarisedStream
    store: LastingStore
    #: Every step has a reward.
    is_scored: bool
    #: Of the first stage.
    tables: dict[Statistic, MomentTable] = field(default_factory=dict)

    def under(self, settings: Settings) -> SettledStream:
        opened = replace(self.stream.opened, settings=settings)
        context = _context(settings, self.store)
        context.worker.files.know(opened)
        stream = replace(self.stream, opened=opened)
        return SettledStream(replace(stream, first=self._measured(stream, context)), context)

    def _measured(self, stream: SummarisedStream, context: RunContext) -> StageTables | None:
        """Moments of what the first stage compares, whatever it makes of them."""
        stages = stages_of(stream.settings)
        if not stages:
            return None
        wanted = dict.fromkeys(scaling.statistic for scaling in stages[0].scalings)
        if not wanted.keys() <= self.tables.keys():
            self.tables.update(stream.measure(context, (), stages[0]).tables)
        found = StageTables(stages[0])
        found.tables = {statistic: self.tables[statistic] for statistic in wanted if statistic in self.tables}
        return found


class ScoredStreams:
    """Those that were asked for last, as many as there is room for."""

    def __init__(self, memory_bytes: int) -> None:
        self._limit_bytes = int(memory_bytes * _STORE_SHARE)
        self._kept: dict[Hashable, _Kept] = {}

    def of(self, asked: Asked, settings: Settings) -> SettledStream:
        """The stream under these settings, summarised; `GaeError` for what keeps it from being read."""
        key = self._key(asked, settings)
        found = self._kept.pop(key, None) or self._read(asked, settings)
        self._kept[key] = found
        while len(self._kept) > 1 and self._num_bytes > self._limit_bytes:
            del self._kept[next(iter(self._kept))]
        return found.under(settings)

    @property
    def _num_bytes(self) -> int:
        return sum(one.store.num_bytes for one in self._kept.values())

    def _read(self, asked: Asked, settings: Settings) -> _Kept:
        opened = open_stream(asked.plan, settings, asked.memory_bytes, block_rows=ROWS_PER_BLOCK)
        store = LastingStore(self._limit_bytes)
        context = _context(settings, store)
        reading = SettledStream(summarised(opened, context), context)
        missing = (one.block.missing_rewards for _, _, one, _ in settled_blocks(reading))
        return _Kept(reading.stream, store, not any(one is not None and one.any() for one in missing))

    def _key(self, asked: Asked, settings: Settings) -> Hashable:
        """Equal where the rows of a file are taken alike, and scored alike."""
        try:
            roles = find_roles(asked.file, settings)
        except GaeError:  # told where it is opened
            return repr(settings)
        taking = (id(asked), *_taking(asked.file, roles, settings))
        if {"mask", "padding"}.isdisjoint(roles.names):
            # Where every step has a reward it does not matter what becomes of those that have none.
            known = self._kept.get((*taking, "zero"))
            if known is not None and known.is_scored:
                return (*taking, "zero")
        return (*taking, settings.unscored)


def _context(settings: Settings, store: LastingStore) -> RunContext:
    worker = Worker(plain_estimator(settings), store)
    return RunContext(LocalEngine(worker, Threads(1)), worker)


def _taking(file: RolloutFile, roles: Roles, settings: Settings) -> tuple[Hashable, ...]:
    kind = settings.kind
    has_mask = "mask" in roles.names
    left_out = {*_OF_STAGES, *kind.unused, *(() if has_mask else OF_MASKS)}
    return (
        said(settings, left_out),
        repr(roles),
        repr(flag_columns(roles, settings)),
        read_by(settings, file, has_mask=has_mask),
        (kind.module, kind.is_grouped, kind.roles),
        (scores_of(settings), settings.extra_columns, settings.output_columns),
    )
