"""`gae report`: all that a person asks of rollouts, gathered for one page."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gaecli.checks.registry import choose_rules
from gaecli.columns import find_roles
from gaecli.commands.check import checkup_of
from gaecli.commands.explain import is_sum_of_deltas
from gaecli.commands.readable import readable_settings
from gaecli.commands.report_files import checked_target, default_output, write_page
from gaecli.commands.report_parts import episodes_of, groups_of, placed_findings, scatter_of
from gaecli.commands.single_rows import keys_of
from gaecli.commands.warnings import reading_notes
from gaecli.diagnosis import Checkup
from gaecli.engines.threads import Threads, default_jobs
from gaecli.errors import GaeError, UsageError
from gaecli.formats.base import RolloutFile
from gaecli.formats.stored import columns_of, own_entries
from gaecli.pipeline.column_statistics import explained_variance
from gaecli.pipeline.header_notes import stored_settings
from gaecli.pipeline.opening import OpenStream, open_stream
from gaecli.pipeline.reading_errors import told
from gaecli.progress import Progress
from gaecli.records import dataclass
from gaecli.report_page.content import (
    PlacedFinding,
    ReportContent,
    ReportEpisode,
    StoredColumn,
)
from gaecli.report_page.page import page
from gaecli.response_logs import ResponseLog, recognise
from gaecli.settings import RunOptions, Settings
from gaecli.shell_words import file_word
from gaecli.sources.inputs import StreamPlan, watched
from gaecli.storage.places import Places
from gaecli.storage.shown_texts import with_texts
from gaecli.studies.column import Against, find_column
from gaecli.studies.command import flags_of
from gaecli.studies.episode_steps import StepNumbers
from gaecli.studies.episode_table import Chosen, Of
from gaecli.studies.final_numbers import finisher
from gaecli.studies.group_scores import ChosenGroups
from gaecli.studies.reading import only_stream, settled
from gaecli.studies.report_looks import WholeLook, second_look
from gaecli.studies.stored_advantage import OF_NORMALIZATION, differing_settings
from gaecli.studies.thinning import fair_shares
from gaecli.summary import ColumnStatistics
from gaecli.written_report import WrittenReport

#: Points of all curves of a page, and of one of them.
MOST_CURVE_POINTS, MOST_POINTS_EACH = 110_000, 4_000
MOST_GROUPS = 400


@dataclass(frozen=True)
class ReportOptions:
    """Where the page goes, how much is on it, and what it may cost."""

    output: str | Path | None = None
    overwrite: bool = False
    episodes: int = 300
    memory_bytes: int = 1 << 30
    jobs: int | None = None
    #: What stands for the name of the source, if its own says nothing to the user.
    shown: str | None = None
    #: Who asks.
    command: str = "gae report"

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise UsageError(f"`--episodes` is {self.episodes}; it must be 1 or more")


def report(
    source: str | Path,
    settings: Settings | None = None,
    options: ReportOptions | None = None,
    *,
    progress: Progress | None = None,
) -> WrittenReport:
    """Write the page of one file, or of one stream of files.

    Raises:
        GaeError: as `compute` would; or because something else stands where the page is to go.
    """
    options = options or ReportOptions()
    output = str(default_output(source) if options.output is None else options.output)
    run = RunOptions(output=output, memory_bytes=options.memory_bytes)
    with Places(run) as places:
        target = checked_target(places, output, overwrite=options.overwrite)
        content = _gathered(source, settings or Settings(), options, places, progress)
        html = page(content)
        write_page(places, target, html)
    return WrittenReport(
        output,
        len(html),
        len(content.episodes),
        content.num_episodes,
        content.counts.steps,
        content.checkup.num_errors,
        content.checkup.num_warnings,
        content.checkup.num_notes,
        content.remark,
    )


def report_content(
    source: str | Path,
    settings: Settings | None = None,
    options: ReportOptions | None = None,
    *,
    progress: Progress | None = None,
) -> ReportContent:
    """What such a page shows, for who shows it elsewhere: nothing is written.

    Raises:
        GaeError: as `compute` would.
    """
    options = options or ReportOptions()
    with Places(RunOptions(memory_bytes=options.memory_bytes)) as places:
        return _gathered(source, settings or Settings(), options, places, progress)


def _gathered(
    source: str | Path,
    settings: Settings,
    options: ReportOptions,
    places: Places,
    progress: Progress | None,
) -> ReportContent:
    """In the words of the user."""
    threads = Threads(options.jobs or default_jobs())
    with closing(threads):
        (local,) = places.inputs.fetched([source])
        plan = only_stream(local, settings, options.command)
        with told(plan.paths[0]):
            found = _Report(str(source), plan, settings, options, threads).content(progress)
    content = places.shown_in(found)
    if options.shown is None:
        return content
    shown = options.shown
    return with_texts(content, lambda text: text.replace(str(source), shown))  # type: ignore[no-any-return]


class _Report:
    """Of one stream."""

    def __init__(
        self, source: str, plan: StreamPlan, settings: Settings, options: ReportOptions, threads: Threads
    ) -> None:
        self.source, self.plan, self.options, self.threads = source, plan, options, threads
        self.opened, self.log, self.remark = _opened(plan, settings, options.memory_bytes)
        self.settings = self.opened.settings

    def content(self, progress: Progress | None) -> ReportContent:
        options = self.options
        rules, memory_bytes = choose_rules((), ()), options.memory_bytes
        checkup = checkup_of(self._inputs(), self.settings, rules, memory_bytes, self.threads, progress)
        (plan,) = watched([self.plan], progress, "reporting", looks=2)
        self.reading = settled(replace(self.opened, plan=plan), threads=self.threads)
        steps = StepNumbers(self.settings, finisher(self.reading), is_sum_of_deltas(self.settings))
        first = WholeLook(self.reading, steps, self._against(), np.zeros(0, np.int64))
        rows = [self._row_of(finding.file, finding.row, first.first_rows) for finding in checkup.findings]
        first.sought = np.array(sorted({row for row in rows if row is not None}), np.int64)
        first.look()
        groups = None if first.groups is None else first.groups.chosen(MOST_GROUPS)
        chosen = first.table.chosen(options.episodes, None if groups is None else groups.indices)
        lines = chosen.lines
        positions = lines[:, Of.POSITIONS].astype(np.int64)
        shares = fair_shares(positions, MOST_CURVE_POINTS, MOST_POINTS_EACH)
        numbers = lines[:, Of.NUMBER].astype(np.int64).tolist()
        wanted = dict(zip(numbers, zip(positions.tolist(), shares.tolist(), strict=True), strict=True))
        collector = second_look(first, wanted)
        paths = [str(path) for path in self.plan.paths]
        keys = self._keys(lines, first.first_rows)
        episodes = episodes_of(chosen, collector, groups, keys, paths)
        placed = placed_findings(rows, first.found, episodes)
        return self._content(first, checkup, chosen, episodes, placed, groups)

    def _inputs(self) -> Sequence[Path]:
        """As the user named them: a root, or the files that follow one another."""
        data_set = self.plan.data_set
        if data_set is not None and self.plan.is_root and len(data_set.streams) == 1:
            return [data_set.root]
        return self.plan.paths

    def _against(self) -> Against | None:
        """Advantages that are in the files already, with a number for each step."""
        if "advantage" not in self.settings.kind.outputs:
            return None
        opened = self.opened.files[0]
        try:
            found = find_column(
                [one.file for one in self.opened.files],
                (self.log.advantage if self.log else None) or self.settings.advantage_column,
                self.options.memory_bytes,
                ("float",),
            )
        except GaeError:
            return None
        stored = opened.file.find(found.column)
        like = opened.file.find(opened.layout.like_column or opened.layout.roles.names["reward"])
        assert stored is not None
        is_used = found.column in opened.columns
        return None if is_used or like is None or stored.is_list != like.is_list else found

    def _row_of(self, file: str, row: int | None, first_rows: Sequence[int]) -> int | None:
        """Counted over all files."""
        paths = [str(path) for path in self.plan.paths]
        return first_rows[paths.index(file)] + row if row is not None and file in paths else None

    def _keys(self, lines: np.ndarray[Any, Any], first_rows: Sequence[int]) -> list[dict[str, Any]]:
        """What the files call these episodes."""
        keys: list[dict[str, Any]] = [{} for _ in lines]
        for file, opened in enumerate(self.reading.stream.files):
            here = np.flatnonzero(lines[:, Of.FILE] == file)
            here = here[np.argsort(lines[here, Of.ROW], kind="stable")]
            rows = (lines[here, Of.ROW].astype(np.int64) - first_rows[file]).tolist()
            unique = sorted(set(rows))
            known = dict(zip(unique, keys_of(opened, unique), strict=True))
            for index, row in zip(here.tolist(), rows, strict=True):
                keys[index] = known[row]
        return keys

    def _content(
        self,
        first: WholeLook,
        checkup: Checkup,
        chosen: Chosen,
        episodes: list[ReportEpisode],
        placed: list[PlacedFinding],
        groups: ChosenGroups | None,
    ) -> ReportContent:
        stream, settings, totals = self.reading.stream, self.settings, first.totals
        file, layout = stream.files[0].file, stream.files[0].layout
        words = " ".join(flags_of(settings))
        row_is_list = stream.layout.row_is == "trajectory" and layout.has_steps
        notes = [
            *stream.warnings,
            *stored_settings(stream.opened),
            *reading_notes(totals, settings, stream.opened),
        ]
        return ReportContent(
            source=self.source,
            format=file.format_name,
            layout=stream.layout.name,
            files=[str(path) for path in self.plan.paths],
            num_rows=sum(one.file.num_rows for one in stream.files),
            num_bytes=sum(one.file.identity[0] for one in stream.files),
            roles=dict(layout.roles.names),
            provenance=own_entries(file.provenance),
            command=f"{self.options.command} {file_word(self.source)} {words}",
            explain=f"gae explain {file_word(self.source)} {words}",
            is_by_item=row_is_list,
            settings=settings.to_dict(),
            method=settings.kind.summary,
            remark=self.remark,
            has_values=totals.value_errors.count > 0,
            counts=totals.counts,
            bootstrapped=totals.bootstrapped,
            statistics=self._statistics(first),
            explained_variance=explained_variance(totals.value_errors, totals.returns),
            warnings=notes,
            checkup=checkup,
            placed=placed,
            scatter=scatter_of(first.sample),
            stored=self._stored(first, file),
            episodes=episodes,
            num_episodes=first.table.num_episodes,
            how_chosen=chosen.how,
            num_points=sum(len(one.curves.steps) for one in episodes),
            groups=None if groups is None else groups_of(groups, settings.group_columns),
        )

    def _statistics(self, first: WholeLook) -> dict[str, ColumnStatistics]:
        """By what it is; the words of `gae compute`, and those of episodes."""
        tallies = {
            **first.totals.tallies,
            "δ": first.deltas,
            "steps per episode": first.table.lengths,
            "rewards per episode": first.table.total_rewards,
        }
        return {name: tally.statistics() for name, tally in tallies.items() if tally.moments.count}

    def _stored(self, first: WholeLook, file: RolloutFile) -> StoredColumn | None:
        if not first.has_stored or first.against is None or not first.stored.num_compared:
            return None
        column, tally = first.against.column, first.stored
        entry = next((one for one in own_entries(file.provenance) if column in columns_of(one)), None)
        theirs = None if entry is None else entry.get("settings")
        differing = (
            differing_settings(theirs, self.settings, OF_NORMALIZATION) if isinstance(theirs, dict) else {}
        )
        return StoredColumn(
            column,
            entry is not None,
            differing,
            tally.num_compared,
            tally.num_differing,
            tally.num_one_sided,
            tally.max_abs,
        )


def _opened(
    plan: StreamPlan, settings: Settings, memory_bytes: int
) -> tuple[OpenStream, ResponseLog | None, str | None]:
    """The stream; the log that it is, and why it is not read as the settings say."""
    try:
        return open_stream(plan, settings, memory_bytes), None, None
    except UsageError:
        file = plan.open_all(settings)[0]
        log = recognise(file)
        try:
            has_values = "value" in find_roles(file, settings).names
        except GaeError:
            has_values = True
        other = readable_settings(log, settings, has_values=has_values)
        if other is None:
            raise
    remark = (
        f"read as {log.name}: {log.says}"
        if log is not None
        else "no column has values: returns are the rewards to the end of the episode (`--estimator mc`)"
    )
    return open_stream(plan, other, memory_bytes), log, remark
