"""Data sets as a whole: what may be written where, what is copied along, and what is written last."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from gaecli.columns import Roles
from gaecli.errors import UsageError
from gaecli.formats.base import RolloutFile
from gaecli.pipeline.commit import sync_directory
from gaecli.pipeline.inputs import StreamPlan
from gaecli.pipeline.places import NewThing, Places
from gaecli.settings import RunOptions

#: What a data set's sidecar is called after, where the advantage column has its usual name.
DEFAULT_TAG = "gae"
#: Roles whose columns say which row of a file this is.
_KEY_ROLES = ("env", "episode", "step")
#: Larger files that are not changed are linked rather than copied, where the file system can.
_LINK_BYTES = 1 << 20
_COMPARE_BYTES = 1 << 20


def check_parts(streams: Sequence[StreamPlan]) -> None:
    """Refuse to write into some files of a data set: its loader wants the columns in all of them or in none."""
    for stream in streams:
        data_set = stream.data_set
        refusal = data_set.refuse_in_place() if data_set is not None else None
        if refusal is not None:
            raise refusal
        if data_set is None or not stream.is_part:
            continue
        num_files = len(data_set.paths)
        alone = "" if data_set.is_indivisible else "; `--no-join` takes the file for a rollout of its own"
        raise UsageError(
            f"`{stream.paths[0]}` is one of the {num_files:,} files of the {data_set.title} `{data_set.root}`, "
            "which get the new columns all or none",
            hint=f"name the root, `{data_set.root}`; or write elsewhere with `--output`, or keys and new columns "
            f"alone with `--sidecar`{alone}",
        )


def check_roots(streams: Sequence[StreamPlan], output: Path) -> None:
    """A copy of a data set within itself would become part of it."""
    for stream in streams:
        if stream.data_set is None or not stream.is_root:
            continue
        root, place = stream.data_set.root.resolve(), output.resolve()
        if place != root and place.is_relative_to(root):
            raise UsageError(
                f"`--output {output}` lies within the {stream.data_set.title} `{stream.data_set.root}`",
                hint="name a directory outside of it",
            )


def shares_sidecar(stream: StreamPlan) -> bool:
    """All files of the stream have one sidecar: they are a data set, or those of a split of it."""
    return stream.data_set is not None and not stream.is_part


def harmless_sidecar(path: Path, stream: StreamPlan, tag: str) -> Path | None:
    """Where the data set's own loader does not trip over a sidecar; None for files that stand alone."""
    data_set = stream.data_set
    if data_set is None:
        return None
    if not stream.is_part:
        return data_set.sidecar(stream.paths, tag)
    whole = next(
        files for files in data_set.streams if path.absolute() in {file.absolute() for file in files}
    )
    relative = path.absolute().relative_to(data_set.root.absolute()).with_suffix("")
    return data_set.sidecar(whole, tag).with_name(f"{'-'.join(relative.parts)}.gae.parquet")


def sidecar_keys(stream: StreamPlan, file: RolloutFile, roles: Roles) -> tuple[str, ...]:
    """Columns that identify a row: those of the data set, else those of the trajectories."""
    named = stream.data_set.sidecar_keys if stream.data_set is not None else ()
    names = [name for name in named if name in file.columns]
    if not names:
        names = [name for role in _KEY_ROLES if (name := roles.get(role)) is not None]
    return tuple(names)


def other_root(stream: StreamPlan, output: Path | str | None) -> Path | None:
    """The folder that becomes a copy of the data set; None where it is written in place, or in parts."""
    data_set = stream.data_set
    if data_set is None or output is None or not stream.is_root or not data_set.is_copied_whole:
        return None
    return None if Path(output).resolve() == data_set.root.resolve() else Path(output)


def check_companions(stream: StreamPlan, root: Path, places: Places) -> None:
    """Files that would be copied along must not take the place of others. `UsageError` if they would."""
    assert stream.data_set is not None
    has_data = any(_is_there(root / path.relative_to(stream.root), places) for path in stream.paths)
    for source, target in _companions(stream, root):
        may_differ = has_data and target in _marks(stream, root)  # of an earlier run
        if not may_differ and _is_there(target, places) and not _is_same(source, target, places):
            raise UsageError(
                f"`{target}` exists and differs from `{source}`, which belongs to the data set",
                hint="pass `--overwrite`, or choose another directory with `--output`",
            )


def copy_companions(stream: StreamPlan, root: Path, places: Places) -> None:
    """Whatever else is in the data set, but for what says that it is one."""
    for source, target in _companions(stream, root):
        if target in _marks(stream, root):
            continue
        if not (_is_there(target, places) and _is_same(source, target, places)):
            _copy(source, target, places)


def companion_places(stream: StreamPlan, options: RunOptions) -> Iterator[Path]:
    """Where a run that was killed may have left something besides the places of its results."""
    data_set = stream.data_set
    if data_set is None or stream.is_part or options.sidecar:
        return
    root = other_root(stream, options.output)
    if root is not None and root.exists():
        yield from (target for _, target in _companions(stream, root))
    if options.output is None:
        yield from (data_set.root / mark for mark in data_set.marks)


def new_marks(
    stream: StreamPlan, root: Path | None, columns: Sequence[str], places: Places
) -> dict[Path, bytes]:
    """What says that this is a data set, and which columns it has, where that is to change; by its place.

    `root` is that of a copy, whose marks come with its files.
    """
    data_set = stream.data_set
    if data_set is None or stream.is_part:
        return {}
    for mark in data_set.marks:
        places.fill(data_set.root / mark)
    content = {
        mark: (data_set.root / mark).read_bytes()
        for mark in data_set.marks
        if root is not None and (data_set.root / mark).is_file()
    }
    content.update(data_set.closing(data_set.root, columns))
    return {(root or data_set.root) / mark: text for mark, text in content.items()}


def lacking_marks(
    stream: StreamPlan, root: Path | None, columns: Sequence[str], places: Places
) -> dict[Path, bytes]:
    """The same where all data files have the columns already: what a run that was killed did not come to."""
    data_set = stream.data_set
    if data_set is None or stream.is_part:
        return {}
    place = root or data_set.root
    for mark in data_set.marks:
        places.look_up(place / mark)
    if all((place / mark).is_file() for mark in data_set.marks):
        return {place / mark: text for mark, text in data_set.closing(place, columns).items()}
    return new_marks(stream, root, columns, places)


def whole_file(path: Path, content: bytes, places: Places) -> NewThing:
    """A small file, sealed, with the mode of the one that it replaces."""
    new_file = places.new_file(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new_file.create()
        new_file.temporary.write_bytes(content)
        new_file.seal()
    except BaseException:
        new_file.discard()
        raise
    return new_file


def _companions(stream: StreamPlan, root: Path) -> Iterator[tuple[Path, Path]]:
    assert stream.data_set is not None
    source_root = stream.data_set.root
    data = {path.absolute() for path in stream.data_set.paths}
    for parent, _, names in os.walk(source_root):
        for name in names:
            source = Path(parent, name)
            is_temporary = name.startswith(".") and name.endswith(".tmp")
            if source.absolute() not in data and not is_temporary and source.is_file():
                yield source, root / source.relative_to(source_root)


def _marks(stream: StreamPlan, root: Path) -> set[Path]:
    assert stream.data_set is not None
    return {root / path for path in stream.data_set.marks}


def _is_there(target: Path, places: Places) -> bool:
    places.look_up(target)
    return target.exists()


def _is_same(one: Path, other: Path, places: Places) -> bool:
    if one.samefile(other):
        return True
    if one.stat().st_size != other.stat().st_size:
        return False
    places.fill(one)
    places.fill(other)
    with one.open("rb") as first, other.open("rb") as second:
        while block := first.read(_COMPARE_BYTES):
            if block != second.read(_COMPARE_BYTES):
                return False
    return True


def _copy(source: Path, target: Path, places: Places) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    places.fill(source)
    is_local = places.is_local(source) and places.is_local(target)
    if is_local and source.stat().st_size > _LINK_BYTES and not source.is_symlink():
        try:
            target.unlink(missing_ok=True)
            os.link(source, target)
            return
        except OSError:  # another device, or a file system without links
            pass
    new_file = places.new_file(target)
    try:
        new_file.create()
        shutil.copyfile(source, new_file.temporary)
        shutil.copymode(source, new_file.temporary)
        new_file.commit()
        sync_directory(target.parent)
    finally:
        new_file.discard()
