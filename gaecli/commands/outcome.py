"""What became of each stream, and the summary of them all."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gaecli.errors import GaeError
from gaecli.estimators.stages import stages_of
from gaecli.kernels.devices import Device
from gaecli.pipeline.apply import Totals
from gaecli.pipeline.clock import Stopwatch
from gaecli.pipeline.column_statistics import Explained
from gaecli.pipeline.group_facts import GroupFacts, StageFacts, facts_of
from gaecli.pipeline.judging.continuity import Continuity, Edges
from gaecli.pipeline.notes import merged
from gaecli.pipeline.opening import FilePlace, OpenStream
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan
from gaecli.summary import (
    Baseline,
    EpisodeCounts,
    Failure,
    FileSummary,
    Normalization,
    Seconds,
    Status,
    Summary,
    UnitCounts,
    WarningNote,
)
from gaecli.writing.kept_report import facts_of_entry, report_of, thresholds_of
from gaecli.writing.kept_words import edges_of, notes_of
from gaecli.writing.output import Output
from gaecli.writing.targets import Target

if TYPE_CHECKING:
    from gaecli.gallery import Gallery
    from gaecli.pipeline.sketches import SketchBook

MAX_GROUPS_SHOWN = 32


@dataclass(eq=False)
class Outcome:
    """One stream, done or failed."""

    files: list[FileSummary]
    totals: Totals = field(default_factory=Totals)
    facts: StageFacts = field(default_factory=StageFacts)
    #: Of labels, by group.
    thresholds: Mapping[Hashable, float] = field(default_factory=dict)
    num_label_groups: int = 0
    warnings: list[WarningNote] = field(default_factory=list)
    sketches: SketchBook | None = None
    edges: Edges | None = None

    @classmethod
    def failed(cls, plan: StreamPlan, error: GaeError) -> Outcome:
        return cls([FileSummary.of(failure) for failure in Failure.of_stream(plan.paths, error)])

    @classmethod
    def not_written(cls, plan: StreamPlan, because_of: Outcome) -> Outcome:
        """Nothing was wrong with it, but with another stream that is written all or none with it."""
        bad = because_of.files[0]
        told = f"`{bad.input}` of the same data set failed"
        failures = [Failure(str(path), told, None, bad.exit_code, bad.input) for path in plan.paths]
        return cls([FileSummary.of(failure) for failure in failures])

    @property
    def is_failure(self) -> bool:
        return any(file.status in ("failed", "not written") for file in self.files)

    @classmethod
    def up_to_date(
        cls, stream: OpenStream, targets: Mapping[Path, Target], entries: Sequence[Mapping[str, Any]]
    ) -> Outcome:
        """With what the earlier run found out, as far as the files keep it."""
        files = []
        totals = Totals()
        facts = facts_of_entry(entries[0])
        warnings = list(stream.warnings)
        known = {(note.code, note.message) for note in warnings}
        for number, (opened, entry) in enumerate(zip(stream.files, entries, strict=True)):
            found = report_of(entry)
            totals.merge(found)
            notes = notes_of(entry, stream.plan.paths)
            warnings += [note for note in notes if (note.code, note.message) not in known]
            if number:
                facts = facts.with_file(facts_of_entry(entry), stream.settings)
            file = opened.file
            files.append(_file(file.path, stream, targets, "up to date", found.counts, file.format_name))
        edges = edges_of(entries[0], stream.plan.paths)
        thresholds, num_groups = thresholds_of(entries[0])
        return cls(files, totals, facts, thresholds, num_groups, warnings, edges=edges)

    @classmethod
    def done(
        cls,
        stream: OpenStream,
        targets: Mapping[Path, Target],
        outputs: Sequence[Output],
        *,
        dry_run: bool,
    ) -> Outcome:
        files: list[FileSummary] = []
        totals = Totals()
        for output in outputs:
            totals.merge(output.totals)
            status: Status = "dry run" if dry_run else "written"
            file = output.opened.file
            files.append(
                _file(
                    file.path,
                    stream,
                    targets,
                    status,
                    output.totals.counts,
                    file.format_name,
                    output.method,
                )
            )
        facts = StageFacts()
        for output in outputs:
            own = facts_of(output.constants, stream.settings, FilePlace(stream.number, output.index))
            facts = own if output is outputs[0] else facts.with_file(own, stream.settings)
        labels = outputs[0].labels if outputs else None
        thresholds = {} if labels is None else labels.thresholds
        return cls(files, totals, facts, thresholds, len(thresholds))


def summarize(
    outcomes: Iterable[Outcome],
    *,
    settings: Settings,
    device: Device,
    streams: str,
    clock: Stopwatch,
    started: float,
) -> Summary:
    """Adds outcomes up as they come and keeps none: each holds samples of its columns."""
    totals, explained = Totals(), Explained()
    facts: StageFacts | None = None
    files: list[FileSummary] = []
    notes: list[WarningNote] = []
    sketches: list[SketchBook] = []
    thresholds: dict[Hashable, float] = {}
    num_label_groups = 0
    continuity = Continuity()
    for outcome in outcomes:
        totals.merge(outcome.totals)
        explained.add(outcome.totals.value_errors, outcome.totals.returns)
        facts = outcome.facts if facts is None else _with(facts, outcome.facts, settings)
        thresholds.update(outcome.thresholds)
        num_label_groups = max(num_label_groups, outcome.num_label_groups)
        files += outcome.files
        notes += outcome.warnings
        continuity.add(outcome.edges)
        sketches += [outcome.sketches] if outcome.sketches is not None else []
    return Summary(
        settings={**settings.to_dict(), "overrides": settings.overrides},
        device=device.name,
        backend=device.backend,
        files=files,
        bootstrapped=totals.bootstrapped,
        columns={name: tally.statistics() for name, tally in totals.tallies.items()},
        explained_variance=explained.within,
        explained_variances=explained.over_streams,
        normalization=_normalization(
            settings, facts.normalization if facts is not None else GroupFacts(), totals
        ),
        baseline=_baseline(settings, facts.baseline) if facts is not None else None,
        warnings=merged([*notes, *continuity.notes()]),
        seconds=Seconds(time.perf_counter() - started, clock["read"], clock["kernel"], clock["write"]),
        streams=streams,
        device_reason=device.reason,
        exit_code=max((file.exit_code for file in files), default=0),
        gallery=_gallery(totals, sketches) if sketches else None,
        units=_units(files, totals),
        **_told_of_labels(settings, thresholds, num_label_groups, totals),
    )


def _gallery(totals: Totals, sketches: Sequence[SketchBook]) -> Gallery:
    from gaecli.pipeline.sketches import gallery_of

    return gallery_of(totals.tallies, sketches)


def _told_of_labels(
    settings: Settings, thresholds: Mapping[Hashable, float], num_groups: int, totals: Totals
) -> dict[str, Any]:
    if settings.labelling is None and settings.success_column is None:
        return {}
    from gaecli.commands.told_labels import labels_told, success_told

    labels = labels_told(settings, thresholds, num_groups, totals)
    return {"labels": labels, "success": success_told(settings, totals)}


def _file(
    path: Path,
    stream: OpenStream,
    targets: Mapping[Path, Target],
    status: Status,
    counts: EpisodeCounts,
    format_name: str,
    method: str | None = None,
) -> FileSummary:
    layout = stream.files[0].layout
    return FileSummary(
        input=str(path),
        # Where nothing was to be done, no new version of a file lies beside it.
        output=str(path if status == "up to date" and targets[path].in_place else targets[path].path),
        status=status,
        format=format_name,
        layout=layout.kind.name,
        counts=counts,
        method=method,
        columns=_roles(layout.roles.names, stream.settings),
    )


def _units(files: Sequence[FileSummary], totals: Totals) -> UnitCounts | None:
    column = next((file.columns["unit"] for file in files if "unit" in file.columns), None)
    if column is None:
        return None
    reading: Literal["id", "end"] = "end" if totals.units_by_end else "id"
    return UnitCounts(column, reading, totals.units_by_id + totals.units_by_end)


def _roles(names: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Which column was taken for what; success stands in place of the rewards, and so do several of them."""
    if settings.success_column is None and not settings.rewards:
        return dict(names)
    success = {} if settings.success_column is None else {"success": settings.success_column}
    return {**success, **{role: name for role, name in names.items() if role != "reward"}}


def _with(facts: StageFacts, others: StageFacts, settings: Settings) -> StageFacts:
    """Of another stream, which has the same groups or its own; where it failed it has none."""
    baseline = facts.baseline if facts.baseline.num_groups else others.baseline
    if settings.normalize == "all" or settings.normalize_by is not None:
        is_known = facts.normalization.num_groups > 0
        return StageFacts(baseline, facts.normalization if is_known else others.normalization)
    return StageFacts(baseline, facts.normalization.merge(others.normalization))


def _normalization(settings: Settings, facts: GroupFacts, totals: Totals) -> Normalization:
    scope = f"by {settings.normalize_by}" if settings.normalize_by is not None else settings.normalize
    rule = (settings.norm_ddof, settings.norm_eps, settings.norm_floor)
    if scope == "none":
        return Normalization("none", *rule)
    is_single = settings.normalize != "episode" and settings.normalize_by is None and facts.num_groups == 1
    whole = facts.groups[0] if is_single else None
    return Normalization(
        scope,
        *rule,
        mean=whole.mean if whole is not None else None,
        std=whole.std if whole is not None else None,
        num_groups=totals.local_groups + facts.num_groups,
        groups=facts.groups[:MAX_GROUPS_SHOWN] if settings.normalize_by is not None else (),
    )


def _baseline(settings: Settings, facts: GroupFacts) -> Baseline | None:
    if not settings.kind.is_grouped:
        return None
    from gaecli.estimators.baselines import divided_by

    (stage, *_) = stages_of(settings)
    rule = stage.components[-1].scalings[-1].rule
    return Baseline(
        settings.estimator,
        settings.group_columns,
        rule.ddof,
        rule.eps,
        rule.floor,
        settings.singleton,
        divided_by(settings) if settings.uses("scale_rewards") else None,
        num_groups=facts.num_groups,
        num_flat=facts.num_degenerate,
        num_alone=facts.num_alone,
        groups=facts.groups[:MAX_GROUPS_SHOWN],
    )
