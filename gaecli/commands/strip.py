"""`gae strip`: the files without what `gae compute` put there."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gaecli.datasets.base import NewColumns
from gaecli.datasets.tables import LakeTable
from gaecli.errors import GaeError, NoSpaceError, UsageError
from gaecli.formats.base import RolloutFile, WritePlan
from gaecli.formats.record_beside import record_path
from gaecli.formats.registry import open_file, suffix_format
from gaecli.formats.stored import own_columns, own_entries
from gaecli.pipeline.reading_errors import not_done, told
from gaecli.progress import Progress
from gaecli.records import dataclass
from gaecli.settings import RunOptions
from gaecli.sources.inputs import StreamPlan, plan_streams, watched
from gaecli.storage.full_disks import FullDisks
from gaecli.storage.new_file import directory_of, sweep
from gaecli.storage.pending import PendingFile
from gaecli.storage.places import Places
from gaecli.stripped import StrippedFile, StripResult
from gaecli.summary import Failure
from gaecli.unfinished import leave_word
from gaecli.writing.companions import check_companions, copy_companions
from gaecli.writing.data_set_copies import new_marks, other_root, whole_file
from gaecli.writing.targets import Target, check_target, plan_targets
from gaecli.writing.transaction import commit_together


def strip(
    sources: Sequence[str | Path],
    options: RunOptions | None = None,
    *,
    join: bool | None = None,
    progress: Progress | None = None,
) -> StripResult:
    """Take gaecli's columns, and what it stored of them, out of all sources.

    A Parquet file that they were spliced to is what it was before, byte for byte; others have the same content.
    Files that are written all or none (those of a data set) are stripped all or none, and what lists their columns
    with them. Raises `GaeError` only for what concerns all of them.
    """
    with Places(options or RunOptions()) as places:
        plans = plan_streams(places.inputs.sources(sources), join)
        plans = watched(plans, progress, "stripping", is_in_step=False)
        _refuse_tables(plans, places)
        places.results.check([path for plan in plans for path in plan.paths])
        targets = plan_targets(plans, places.options)
        results = list(dict.fromkeys(target.path for target in targets.values()))
        places.results.expect(results)
        if not places.options.dry_run:
            places.results.sweep(results)
            for folder in dict.fromkeys(map(directory_of, results)):
                sweep(folder)
        done: list[StrippedFile] = []
        full_disks = FullDisks()
        try:
            for group in _groups(plans):
                done += _stripped(group, targets, places, full_disks)
                if progress is not None:
                    progress.end([path for _, path in group])
        except KeyboardInterrupt:
            num_done = sum(one.state == "stripped" for one in done)
            leave_word(f"nothing was left half-written; {num_done:,} files are stripped")
            raise
        places.results.deliver()
        return places.shown_in(StripResult(done))


def _refuse_tables(plans: Sequence[StreamPlan], places: Places) -> None:
    for plan in plans:
        if isinstance(plan.data_set, LakeTable) and places.options.output is None:
            raise UsageError(
                f"`{plan.data_set.root}` is a {plan.data_set.title}, whose files never change",
                hint="go back to the version before `gae compute` with what the table is kept by (`restore`, "
                "`rollback`), or write its files elsewhere with `--output`",
            )


def _groups(plans: Sequence[StreamPlan]) -> list[list[tuple[StreamPlan, Path]]]:
    """Files that are written all or none: those of a data set, and every other one for itself."""
    groups: dict[Hashable, list[tuple[StreamPlan, Path]]] = {}
    for plan in plans:
        for path in plan.paths:
            is_whole = plan.data_set is not None and not plan.is_part
            key: Hashable = plan.data_set.root if plan.data_set is not None and is_whole else path
            groups.setdefault(key, []).append((plan, path))
    return list(groups.values())


@dataclass(eq=False)
class _Work:
    """A file of a group."""

    file: RolloutFile
    target: Target
    own: tuple[str, ...]
    new_file: PendingFile | None = None
    method: str = ""


def _stripped(
    group: Sequence[tuple[StreamPlan, Path]],
    targets: Mapping[Path, Target],
    places: Places,
    full_disks: FullDisks,
) -> list[StrippedFile]:
    """What became of the files of a group: all that is to be done of them, or nothing."""
    paths = [path for _, path in group]
    works: list[_Work] = []
    try:
        for plan, path in group:
            works.append(_decided(plan, path, targets[path], places))
        if not places.options.dry_run:
            full_disks.check(work.target.path for work in works if _is_new(work))
            _carry_out(group[0][0], works, places)
        return [_told(work, is_dry=places.options.dry_run) for work in works]
    except (GaeError, OSError, MemoryError) as error:
        bad = _bad(error, paths, works)
        told_error = not_done(error, bad, targets[bad].path)
        if isinstance(told_error, NoSpaceError):
            full_disks.add(bad, targets[bad].path)
        return [_failed(one, targets[one], told_error, bad) for one in paths]
    finally:
        for work in works:
            if work.new_file is not None:
                work.new_file.discard()
        places.inputs.release(paths)


def _bad(error: Exception, paths: Sequence[Path], works: Sequence[_Work]) -> Path:
    """The file that an error is about: the one that it names, else the one that was at work."""
    named = next((path for path in paths if f"`{path}`" in str(error)), None)
    if named is not None:
        return named
    if len(works) < len(paths):
        return paths[len(works)]
    begun = [work.file.path for work in works if work.new_file is not None]
    return begun[-1] if begun else paths[0]


def _decided(plan: StreamPlan, path: Path, target: Target, places: Places) -> _Work:
    if path in plan.failures:
        raise plan.failures[path]
    places.inputs.attach([path])
    with told(path):
        file = open_file(path)
        own = tuple(name for name in own_columns(file.provenance) if name in file.columns)
        method = file.planned_method(own, (), adds=False) if own else ""
    if own and _is_sidecar(file):
        raise UsageError(
            f"`{path}` is what `--sidecar` writes: keys, and nothing but gaecli's columns beside them",
            hint="delete the file",
        )
    check_target(target, places)
    return _Work(file, target, own, method=method)


def _is_sidecar(file: RolloutFile) -> bool:
    """What was spliced knows where the columns of others end."""
    return file.format_name == "parquet" and not any(
        "payload_end" in entry for entry in own_entries(file.provenance)
    )


def _carry_out(plan: StreamPlan, works: Sequence[_Work], places: Places) -> None:
    """The new files, complete, all of them put into their places, and what lists their columns."""
    root = other_root(plan, places.options.output)
    if root is not None:
        if not places.options.overwrite:
            check_companions(plan, root, places, ())
        copy_companions(plan, root, places)
    changed = [work for work in works if _is_new(work)]
    for work in changed:
        _write(work, places)
    marks = [] if not changed else _marks(plan, root, works, places)
    try:
        for work in works:
            places.inputs.check_unchanged(work.file.path, work.file.identity)
        commit_together([work.new_file for work in changed if work.new_file is not None], marks)
    finally:
        for mark in marks:
            mark.discard()
    for work in changed:
        _forget_record(work, places)


def _is_new(work: _Work) -> bool:
    return bool(work.own) or not work.target.in_place


def _write(work: _Work, places: Places) -> None:
    path = work.file.path
    if not work.target.in_place:
        work.target.path.parent.mkdir(parents=True, exist_ok=True)
    work.new_file = places.results.new_file(work.target.path)
    work.new_file.create()
    places.inputs.fill(path)
    if work.own:
        writer = work.file.writer(work.new_file.temporary, WritePlan({}, own_columns=work.own))
        try:
            writer.finish(None)
        except BaseException:
            writer.abort()
            raise
        work.method = writer.method
    else:
        shutil.copyfile(path, work.new_file.temporary)
    work.new_file.seal()


def _marks(plan: StreamPlan, root: Path | None, works: Sequence[_Work], places: Places) -> list[PendingFile]:
    """What says which columns a data set has, where it is stripped as a whole."""
    is_whole = root is not None or all(work.target.in_place for work in works)
    if plan.data_set is None or plan.is_part or not is_whole:
        return []
    gone = sorted({name for work in works for name in work.own})
    named = {path.absolute(): path for path in plan.data_set.paths}
    digests = {named[work.file.path.absolute()]: work.file.fingerprint(work.own) for work in works}
    new = NewColumns({}, list(digests), digests, gone=gone)
    return [
        whole_file(place, content, places)
        for place, content in new_marks(plan.data_set, root, new, places, ()).items()
    ]


def _forget_record(work: _Work, places: Places) -> None:
    """What stood beside the file tells of columns that are gone."""
    known = suffix_format(work.file.path)
    if known is None or not known.has_record_beside or not places.is_local(work.target.path):
        return
    place = record_path(work.target.path)
    if place is not None and not place.is_symlink() and place.is_file():
        with contextlib.suppress(OSError):  # without its columns it is not believed
            place.unlink()


def _told(work: _Work, *, is_dry: bool) -> StrippedFile:
    size = work.file.identity[0]
    path, target = work.file.path, work.target.path
    if not work.own:
        return StrippedFile(
            str(path), str(target), "clean", num_bytes_before=size, num_bytes_after=None if is_dry else size
        )
    found = StrippedFile(
        str(path), str(target), "would strip" if is_dry else "stripped", work.own, work.method, size
    )
    return found if is_dry else replace(found, num_bytes_after=target.stat().st_size)


def _failed(path: Path, target: Target, error: GaeError, bad: Path) -> StrippedFile:
    """`bad` is the file that has the error, without which this one is not done either."""
    failure = Failure.of(path, error)
    if path != bad:
        failure = Failure(str(path), f"`{bad}` of the same data set failed", None, error.exit_code, str(bad))
    return StrippedFile(str(path), str(target.path), "failed", failure=failure)
