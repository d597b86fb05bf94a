"""What is written beside the new files of a data set, so that its loaders know of them.

Marks are its lists of columns and digests; a version is what some make of new files whose old ones never change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gaecli.datasets.base import DataSet, NewColumns
from gaecli.formats.base import item_types
from gaecli.pipeline.column_builder import output_dtypes
from gaecli.pipeline.opening import OpenStream
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan
from gaecli.storage.places import Places
from gaecli.writing.companions import check_companions, copy_companions
from gaecli.writing.data_set_copies import lacking_marks, new_marks, other_root
from gaecli.writing.output import Output
from gaecli.writing.provenance import digest_of
from gaecli.writing.targets import Target

#: Stream number -> its outputs.
ByStream = Mapping[int, Sequence[Output]]


class DataSetMarks:
    """Those of one run. `targets`: input path -> where its result goes."""

    def __init__(self, settings: Settings, places: Places, targets: Mapping[Path, Target]) -> None:
        self.settings = settings
        self.options = places.options
        self.places = places
        self.targets = targets
        #: Those that this run has put in their places.
        self._written: set[Path] = set()
        #: What is stored in the files of streams that had all of their columns before.
        self._found: dict[int, Sequence[Mapping[str, Any]]] = {}
        #: Streams whose loader may go on with what it has in its cache.
        self.behind_caches: set[int] = set()

    def found(self, stream: OpenStream, entries: Sequence[Mapping[str, Any]]) -> None:
        """All files of the stream have their columns from an earlier run, which stored these entries.

        They are told where the data set that it is of is marked.
        """
        if stream.plan.data_set is not None:
            self._found[stream.number] = entries

    def check_free(self, plan: StreamPlan) -> None:
        """Where a copy of the data set is made, it takes the place of nothing else."""
        root = self._copied_root(plan)
        if root is not None and not self.options.overwrite:
            check_companions(plan, root, self.places, self._written)

    def made_for(self, group: Sequence[OpenStream], pending: ByStream) -> Mapping[Path, bytes]:
        """Of streams that are written together; what else a copy of the data set has is copied."""
        plan = group[0].plan
        has_outputs = any(pending.get(stream.number) for stream in group)
        root = self._copied_root(plan)
        if root is not None and has_outputs:
            copy_companions(plan, root, self.places)
        marks = self._marks(group, pending, has_outputs=has_outputs)
        if plan.data_set is not None and plan.data_set.is_cached and has_outputs:
            self._note_cache(group, marks)
        return marks

    def are_there(self, marks: Mapping[Path, bytes]) -> None:
        """In their places."""
        self._written.update(marks)

    def publication(self, plan: StreamPlan, outputs: Sequence[Output]) -> Callable[[], None] | None:
        """What makes the new files the next version of a data set whose own files never change."""
        data_set = plan.data_set
        successors = {
            output.opened.file.path: output.target.path
            for output in outputs
            if output.target.in_place and output.target.path != output.opened.file.path
        }
        if data_set is None or not successors:
            return None
        return lambda: data_set.publish(successors, item_types(output_dtypes(self.settings)))

    def _copied_root(self, plan: StreamPlan) -> Path | None:
        """Where a copy of the whole data set is made, if one is."""
        return None if self.options.sidecar else other_root(plan, self.options.output)

    def _note_cache(self, group: Sequence[OpenStream], marks: Mapping[Path, bytes]) -> None:
        """A loader that goes by the marks takes the files for what it has in its cache."""
        plan = group[0].plan
        is_written = self._copied_root(plan) is not None or self.targets[plan.paths[0]].in_place
        if is_written and all(path.is_file() and path.read_bytes() == text for path, text in marks.items()):
            self.behind_caches.update(stream.number for stream in group)

    def _marks(
        self, group: Sequence[OpenStream], pending: ByStream, *, has_outputs: bool
    ) -> dict[Path, bytes]:
        plan = group[0].plan
        root = self._copied_root(plan)
        in_place = all(self.targets[path].in_place for stream in group for path in stream.plan.paths)
        if plan.data_set is None or plan.is_part or (root is None and not in_place):
            return {}
        marks_of = new_marks if has_outputs else lacking_marks
        return marks_of(
            plan.data_set, root, self._new_columns(plan.data_set, group, pending), self.places, self._written
        )

    def _new_columns(self, data_set: DataSet, group: Sequence[OpenStream], pending: ByStream) -> NewColumns:
        named = {path.absolute(): path for path in data_set.paths}
        digests: dict[Path, str] = {}
        for stream in group:
            entries = self._found.get(stream.number) or [
                output.provenance for output in pending.get(stream.number, [])
            ]
            for path, entry in zip(stream.plan.paths, entries, strict=True):
                digests[named[path.absolute()]] = digest_of(entry)
        first = group[0].files[0]
        like = first.file.find(first.layout.like_column) if first.layout.like_column is not None else None
        types = dict.fromkeys(self.settings.output_columns, None if like is None else like.type_name)
        return NewColumns(types, list(digests), digests, item_types(output_dtypes(self.settings)))
