"""`gae status`: which results of a run are there, by what they store of themselves, and which are left."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from gaecli.done_work import Leftover, ResultStatus, UsedSettings, WorkStatus
from gaecli.errors import GaeError
from gaecli.formats.base import RolloutFile
from gaecli.formats.registry import open_file
from gaecli.formats.stored import columns_of, own_entries
from gaecli.pipeline.reading_errors import not_done
from gaecli.progress import Progress
from gaecli.records import dataclass
from gaecli.settings import RunOptions
from gaecli.sources.inputs import StreamPlan, plan_streams, watched
from gaecli.storage.new_file import directory_of, temporary_files
from gaecli.storage.places import Places
from gaecli.writing.provenance import (
    Fingerprint,
    fingerprint_of,
    inputs_of_prints,
    payload_of,
    source_of,
    why_stale,
)
from gaecli.writing.targets import Target, plan_targets


def status(
    sources: Sequence[str | Path],
    options: RunOptions,
    *,
    join: bool | None = None,
    progress: Progress | None = None,
) -> WorkStatus:
    """What there is of the results of these inputs; nothing is written, and no row is read.

    Raises `GaeError` only for what concerns all of them: a file that cannot be opened has failed.
    """
    with Places(options) as places:
        plans = plan_streams(places.inputs.sources(sources), join)
        plans = watched(plans, progress, "looking up", is_in_step=False)
        targets = plan_targets(plans, places.options, may_convert=True)
        results = list(dict.fromkeys(target.path for target in targets.values()))
        places.results.expect(results)
        seen = [_seen(plan, targets, places) for plan in plans]
        everything = _inputs_of(chain.from_iterable(seen))
        used = _Used()
        states = []
        for some in seen:
            inputs = {"", everything, _inputs_of(some)}
            states += [used.result(one, inputs) for one in some]
        return places.shown_in(WorkStatus(states, used.listed(), list(_leftovers(results, places))))


def _inputs_of(seen: Iterable[_Seen]) -> str:
    return inputs_of_prints([one.made_of for one in seen if one.made_of is not None])


@dataclass(frozen=True)
class _Seen:
    """What is known of an input and its result, once both were opened."""

    path: Path
    target: Target
    #: None where the input could not be opened.
    made_of: Fingerprint | None = None
    error: GaeError | None = None
    #: What the result stores of the run that made it; None: there is no result.
    entry: Mapping[str, Any] | None = None
    #: As of `source_of`; None where it may be any.
    source: str | None = None
    payload: str = ""
    names: Sequence[str] = ()
    modified: str | None = None


def _seen(plan: StreamPlan, targets: Mapping[Path, Target], places: Places) -> list[_Seen]:
    found = []
    for path in plan.paths:
        target = targets[path]
        try:
            places.inputs.attach([path])
            is_shared = sum(targets[other] == target for other in plan.paths) > 1
            found.append(_of_file(plan.open(path), path, target, places, is_shared=is_shared))
        except (GaeError, OSError) as error:
            found.append(_Seen(path, target, error=not_done(error, path, target.path)))
        finally:
            places.inputs.release([path])
            if plan.progress is not None:
                plan.progress.end([path])
    return found


def _of_file(file: RolloutFile, path: Path, target: Target, places: Places, *, is_shared: bool) -> _Seen:
    made_of = fingerprint_of(file)
    source = None
    if not target.in_place:
        places.results.look_up(target.path)
        if not target.path.exists():
            return _Seen(path, target, made_of)
        source = None if is_shared else source_of(file, in_place=False)
        file = open_file(target.path)
    entries = own_entries(file.provenance)
    if not entries or not set(columns_of(entries[0])) & set(file.columns):
        return _Seen(path, target, made_of)
    return _Seen(
        path,
        target,
        made_of,
        entry=entries[0],
        source=source,
        payload=payload_of(file),
        names=list(file.columns),
        modified=_time(file.identity[1]),
    )


def _tells_of_inputs(entry: Mapping[str, Any], seen: _Seen) -> bool:
    """Whether other files that its numbers depend on can be compared: not where what stands beside them takes part,
    nor where the inputs are elsewhere, and only the results were named.
    """
    settings = entry.get("settings")
    has_success = isinstance(settings, dict) and settings.get("success_column") is not None
    is_elsewhere = seen.target.in_place and entry.get("source") != seen.payload
    return not (has_success or is_elsewhere)


class _Used:
    """The settings that results were made with, in the order in which they are met."""

    def __init__(self) -> None:
        #: As JSON: (number, what it is, when files of it were written)
        self._found: dict[str, tuple[int, Mapping[str, Any], list[str]]] = {}

    def result(self, seen: _Seen, inputs: Collection[Any]) -> ResultStatus:
        """`inputs`: what the result may say of the files that its numbers depend on."""
        names = str(seen.path), str(seen.target.path if not seen.target.in_place else seen.path)
        if seen.error is not None:
            return ResultStatus(*names, "failed", seen.error.message, exit_code=seen.error.exit_code)
        if seen.entry is None:
            return ResultStatus(*names, "left")
        if not _tells_of_inputs(seen.entry, seen):
            inputs = {seen.entry.get("inputs")}
        why = why_stale(
            seen.entry,
            payload=seen.payload,
            source=seen.source,
            inputs=inputs,
            columns=columns_of(seen.entry),
            names=seen.names,
        )
        number = self._number(seen.entry, seen.modified)
        return ResultStatus(*names, "done" if why is None else "stale", why, number, seen.modified)

    def _number(self, entry: Mapping[str, Any], modified: str | None) -> int:
        told = {
            "version": entry.get("version"),
            "settings": entry.get("settings"),
            "columns": columns_of(entry),
        }
        key = json.dumps(told, sort_keys=True)
        number, _, times = self._found.setdefault(key, (len(self._found), told, []))
        times.append(modified or "")
        return number

    def listed(self) -> list[UsedSettings]:
        return [
            UsedSettings(
                str(told["version"]),
                told["settings"] if isinstance(told["settings"], dict) else {},
                told["columns"],
                len(times),
                min(times) or None,
                max(times) or None,
            )
            for _, told, times in self._found.values()
        ]


def _leftovers(results: Sequence[Path], places: Places) -> Iterator[Leftover]:
    for path, upload in places.results.begun_uploads(results):
        modified = _time(int(upload.last_sign.timestamp()) * 10**9)
        yield Leftover(str(path), not upload.is_stale, upload.num_bytes, modified)
    for folder in dict.fromkeys(directory_of(path) for path in results if places.is_local(path)):
        for found in temporary_files(folder):
            yield Leftover(str(found.path), found.in_use, found.num_bytes, _time(found.modified_ns))


def _time(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
