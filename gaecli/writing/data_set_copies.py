"""Data sets as a whole: what may be written where, what is copied along, and what is written last."""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from gaecli.columns import Roles
from gaecli.datasets.base import DataSet, NewColumns
from gaecli.datasets.folders import is_hidden
from gaecli.errors import FileError, UsageError
from gaecli.formats.base import RolloutFile
from gaecli.formats.record_beside import record_path
from gaecli.settings import RunOptions
from gaecli.sources.inputs import StreamPlan
from gaecli.storage.pending import PendingFile
from gaecli.storage.places import Places
from gaecli.writing.companions import companions

#: What a data set's sidecar is called after, where the advantage column has its usual name.
DEFAULT_TAG = "gae"
#: Roles whose columns say which row of a file this is.
_KEY_ROLES = ("env", "episode", "step")


def check_parts(streams: Sequence[StreamPlan]) -> None:
    """Refuse to write into some files of a data set: its loader wants the columns in all of them or in none."""
    for stream in streams:
        _check_join(stream)
        data_set = stream.data_set
        refusal = data_set.refuse_in_place() if data_set is not None else None
        if refusal is not None:
            raise refusal
        if data_set is None or not stream.is_part:
            continue
        num_files = len(data_set.paths)
        alone = (
            ""
            if data_set.is_indivisible or data_set.lists_columns
            else "; `--no-join` takes the file for a rollout of its own"
        )
        raise UsageError(
            f"`{stream.paths[0]}` is one of the {num_files:,} files of the {data_set.title} `{data_set.root}`, "
            "which get the new columns all or none",
            hint=f"name the root, `{data_set.root}`; or write elsewhere with `--output`, or keys and new columns "
            f"alone with `--sidecar`{alone}",
        )


def _check_join(stream: StreamPlan) -> None:
    """Files that were taken out of their data set, by `--join` or `--no-join`."""
    for path in stream.paths:
        data_set = stream.openers.get(path)
        if stream.data_set is None and data_set is not None and data_set.lists_columns:
            raise UsageError(
                f"`{path}` belongs to the {data_set.title} `{data_set.root}`, which lists the columns of all its "
                "files: `--join` and `--no-join` take it for a rollout of its own",
                hint="drop that flag, or write elsewhere with `--output`, or keys and new columns alone with "
                "`--sidecar`",
            )


def check_roots(streams: Sequence[StreamPlan], output: Path) -> None:
    """Refuse results that the next run would take for inputs: each run would write them one folder deeper."""
    place = output.resolve()
    for stream in streams:
        data_set, root = stream.data_set, stream.root.resolve()
        if data_set is not None and stream.is_root:
            title = f"the {data_set.title} `{data_set.root}`"
            is_found_again = _lies_below(place, data_set.root.resolve())
        else:
            title = f"`{stream.root}`, where the inputs are looked for"
            names = place.relative_to(root).parts if _lies_below(place, root) else ()
            is_found_again = bool(names) and (
                (stream.is_searched and not any(map(is_hidden, names)))
                or any(_lies_below(path.resolve(), place) for path in stream.paths)
            )
        if is_found_again:
            raise UsageError(
                f"`--output {output}` lies within {title}: the next run would take the results for inputs",
                hint="name a directory outside of it",
            )


def _lies_below(place: Path, root: Path) -> bool:
    return place != root and place.is_relative_to(root)


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


def companion_places(stream: StreamPlan, options: RunOptions) -> Iterator[Path]:
    """Where a run that was killed may have left something besides the places of its results."""
    data_set = stream.data_set
    if data_set is None or stream.is_part or options.sidecar:
        return
    root = other_root(stream, options.output)
    if root is not None and root.exists():
        yield from (companion.target for companion in companions(stream, root))
    if options.output is None:
        yield from (data_set.root / mark for mark in data_set.marks)


def new_marks(
    data_set: DataSet, root: Path | None, new: NewColumns, places: Places, written: Collection[Path]
) -> dict[Path, bytes]:
    """What says that this is a data set, and which columns it has, where that is to change; by its place.

    `root` is that of a copy, whose marks come with its files; those that this run has `written` there already,
    with other files of the data set, are gone on with.
    """
    place = root or data_set.root

    def read(mark: Path) -> bytes:
        source = place / mark if place / mark in written else data_set.root / mark
        return _content(source, places)

    marks = [mark for mark in data_set.marks if root is not None and (data_set.root / mark).is_file()]
    content = {mark: read(mark) for mark in marks if place / mark not in written}
    content.update(data_set.closing(read, new))
    return {place / mark: text for mark, text in content.items()}


def lacking_marks(
    data_set: DataSet, root: Path | None, new: NewColumns, places: Places, written: Collection[Path]
) -> dict[Path, bytes]:
    """The same where all data files have the columns already: what a run that was killed did not come to."""
    place = root or data_set.root
    for mark in data_set.marks:
        places.results.look_up(place / mark)
    there = [place / mark for mark in data_set.marks if (place / mark).is_file()]
    return new_marks(data_set, root, new, places, {*written, *there})


def _content(path: Path, places: Places) -> bytes:
    places.inputs.fill(path)
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise FileError(
            f"`{path}` is gone, which says what is in the data set: nothing was written"
        ) from error


def new_records(record: bytes | None, target: Path, places: Places) -> list[PendingFile]:
    """The file beside a result that says what gaecli knows of it, where its format and place have one."""
    place = record_path(target)
    if record is None or place is None or places.results.is_stdout(target):
        return []
    places.results.look_up(place)
    if place.is_symlink() or (place.exists() and not place.is_file()):
        raise FileError(
            f"`{place}` is {'a link' if place.is_symlink() else 'no regular file'}, and what gaecli knows of its "
            f"columns in `{target.name}` belongs there; nothing was written",
            hint="remove it, or write elsewhere with `--output`",
        )
    new_file = whole_file(place, record, places)
    if places.is_local(target) and target.exists():
        # It tells of the file's numbers: nobody reads it who may not read those.
        new_file.temporary.chmod(stat.S_IMODE(target.stat().st_mode))
    return [new_file]


def whole_file(path: Path, content: bytes, places: Places) -> PendingFile:
    """A small file, sealed, with the mode of the one that it replaces."""
    new_file = places.results.new_file(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new_file.create()
        new_file.temporary.write_bytes(content)
        new_file.seal()
    except BaseException:
        new_file.discard()
        raise
    return new_file
