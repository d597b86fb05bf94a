"""Columns that a study adds to copies of its inputs, through the writers of `compute`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gaecli.array_types import FloatArray
from gaecli.errors import UsageError
from gaecli.formats.base import FileWriter, OutputColumn, RolloutFile, WritePlan, record_of
from gaecli.formats.stored import own_columns
from gaecli.pipeline.apply import Totals
from gaecli.pipeline.column_builder import OUTPUT_DTYPE, ColumnBuilder
from gaecli.pipeline.group_facts import StageFacts
from gaecli.pipeline.opening import OpenFile
from gaecli.pipeline.settle import Settled
from gaecli.pipeline.stream import SummarisedStream
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan
from gaecli.storage.pending import PendingFile
from gaecli.storage.places import Places
from gaecli.summary import EpisodeCounts
from gaecli.writing.data_set_copies import new_records
from gaecli.writing.provenance import make_provenance
from gaecli.writing.targets import Target, check_target, plan_targets
from gaecli.writing.transaction import commit_together


def first_column(
    settled: Settled, numbers: FloatArray, settings: Settings, zeros: FloatArray | None = None
) -> OutputColumn:
    """The numbers of steps as `compute` writes them; `zeros` as in `Staged`."""
    if settings.kind.outputs[0] == "return":
        builder = ColumnBuilder(settled.block, None, settings.mask_fill, settings.convention.masked_returns)
        return builder.returns(numbers)
    builder = ColumnBuilder(settled.block, settled.prepared.values, settings.mask_fill)
    return builder.advantages(numbers, zeros)


@dataclass(frozen=True, eq=False)
class _Begun:
    opened: OpenFile
    target: Target
    new_file: PendingFile
    writer: FileWriter


class ColumnsOut:
    """One copy per input, begun before the rows are read, complete or not there in the end."""

    def __init__(
        self,
        plans: Sequence[StreamPlan],
        settings: Settings,
        columns: Sequence[str],
        places: Places,
    ) -> None:
        self._settings = settings
        self._columns = list(columns)
        self._places = places
        self._overwrite = places.options.overwrite
        self._begun: dict[Path, _Begun] = {}
        self._targets: dict[Path, Target] = {}
        if places.options.output is not None:
            self._targets = plan_targets(plans, places.options)

    def place(self, path: Path) -> str | None:
        return str(self._targets[path].path) if path in self._targets else None

    @property
    def is_wanted(self) -> bool:
        return bool(self._targets)

    def check(self, stream: SummarisedStream) -> None:
        """Whether copies of it may be written, and where they go, before anything is computed for them."""
        if self._targets:
            for opened in stream.files:
                self._replaced(opened.file)
                check_target(self._targets[opened.file.path], self._places)

    def begin(self, stream: SummarisedStream) -> bool:
        """Start the copies; False where nothing is to be written."""
        if not self._targets:
            return False
        self.check(stream)
        for opened in stream.files:
            target = self._targets[opened.file.path]
            own, foreign = self._replaced(opened.file)
            target.path.parent.mkdir(parents=True, exist_ok=True)
            new_file = self._places.results.new_file(target.path)
            plan = WritePlan(
                new_columns=dict.fromkeys(self._columns, OUTPUT_DTYPE),
                like_column=opened.layout.like_column,
                own_columns=own,
                drop_columns=foreign,
                kept_own_columns=[
                    name for name in own_columns(opened.file.provenance) if name not in self._columns
                ],
            )
            try:
                new_file.create()
                writer = opened.file.writer(new_file.temporary, plan)
            except BaseException:
                new_file.discard()
                raise
            self._begun[opened.file.path] = _Begun(opened, target, new_file, writer)
        return True

    def write(self, stream: SummarisedStream, file: int, columns: Mapping[str, OutputColumn]) -> None:
        self._begun[stream.files[file].file.path].writer.write(columns)

    def commit(self, stream: SummarisedStream, counts: EpisodeCounts) -> None:
        begun = [self._begun[opened.file.path] for opened in stream.files]
        for one in begun:
            one.writer.finish(self._provenance(one, counts))
            one.new_file.seal()
        for one in begun:
            self._places.inputs.check_unchanged(one.opened.file.path, one.opened.file.identity)
        records = [
            record
            for one in begun
            for record in new_records(record_of(one.writer), one.target.path, self._places)
        ]
        try:
            commit_together([one.new_file for one in begun], records=records)
        finally:
            for record in records:
                record.discard()
        for one in begun:
            del self._begun[one.opened.file.path]

    def abandon(self) -> None:
        """What was begun and not committed disappears."""
        for one in self._begun.values():
            one.writer.abort()
            one.new_file.discard()
        self._begun.clear()

    def _replaced(self, file: RolloutFile) -> tuple[list[str], list[str]]:
        """(own, foreign) columns that give way to new ones of the same name."""
        own = set(own_columns(file.provenance))
        present = [name for name in self._columns if name in file.columns]
        foreign = [name for name in present if name not in own]
        if foreign and not self._overwrite:
            raise UsageError(
                f"`{file.path}` has a column `{foreign[0]}` already, which carries no mark of gaecli's",
                hint="pass `--overwrite` to replace it, or another `--advantage-column`",
            )
        return [name for name in present if name in own], foreign

    def _provenance(self, one: _Begun, counts: EpisodeCounts) -> dict[str, object]:
        """As of a run of `compute`, but for the columns; its settings are those of no such run."""
        file = one.opened.file
        document = make_provenance(
            self._settings,
            layout=one.opened.layout.kind.name,
            roles=one.opened.layout.roles.names,
            source="",
            inputs="sweep",
            totals=Totals(counts),
            words={},
            facts=StageFacts(),
            earlier=file.provenance,
        )
        return {**document, "columns": self._columns}
