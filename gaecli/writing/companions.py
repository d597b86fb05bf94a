"""What is in the folder of a data set besides its data files, and comes along into a copy of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from gaecli.errors import UsageError
from gaecli.records import dataclass
from gaecli.sources.inputs import StreamPlan
from gaecli.storage.new_file import sync_directory, temporary_beside
from gaecli.storage.places import Places

#: Larger files that are not changed are linked rather than copied, where the file system can.
_LINK_BYTES = 1 << 20
_COMPARE_BYTES = 1 << 20


@dataclass(frozen=True)
class Companion:
    """One file, or one link, in the data set and in its copy."""

    source: Path
    target: Path
    #: Of the data set.
    root: Path

    @property
    def text_of_link(self) -> Path:
        """What a link says in the copy: the same, unless it is relative and leads out of the data set."""
        text = self.source.readlink()
        if text.is_absolute():
            return text
        root, here = (Path(os.path.realpath(place)) for place in (self.root, self.source.parent))
        leads_to = Path(os.path.normpath(here / text))
        if here.is_relative_to(root) and leads_to.is_relative_to(root):
            return text
        return Path(os.path.relpath(leads_to, os.path.realpath(self.target.parent)))


def companions(stream: StreamPlan, root: Path) -> Iterator[Companion]:
    """Files, and links as links, be they to files, to folders or to nothing; `root` is that of the copy.

    A linked folder in which data files lie is a folder in the copy: the new files must not go through the link
    into the data set itself.
    """
    assert stream.data_set is not None
    source_root = stream.data_set.root
    data = {path.absolute() for path in stream.data_set.paths}
    folders = {parent for path in data for parent in path.parents}
    for path in _below(source_root, data, folders):
        yield Companion(path, root / path.relative_to(source_root), source_root)


def _below(folder: Path, data: Collection[Path], data_folders: Collection[Path]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        place = path.absolute()
        is_temporary = path.name.startswith(".") and path.name.endswith(".tmp")
        if is_temporary or place in data:
            continue
        if path.is_dir() and (place in data_folders or not path.is_symlink()):
            yield from _below(path, data, data_folders)
        else:
            yield path


def check_companions(stream: StreamPlan, root: Path, places: Places, written: Collection[Path]) -> None:
    """Files that would be copied along must not take the place of others. `UsageError` if they would.

    Marks are no others where an earlier run, or this one, has `written` them.
    """
    assert stream.data_set is not None
    has_data = any(_is_there(root / path.relative_to(stream.root), places) for path in stream.paths)
    marks = {root / mark for mark in stream.data_set.marks}
    for one in companions(stream, root):
        _check_kind(one, places)
        may_differ = one.target in written or (has_data and one.target in marks)
        if not may_differ and _is_there(one.target, places) and not _is_same(one, places):
            raise UsageError(
                f"`{one.target}` exists and differs from `{one.source}`, which belongs to the data set",
                hint="pass `--overwrite`, or choose another directory with `--output`",
            )


def copy_companions(stream: StreamPlan, root: Path, places: Places) -> None:
    """Whatever else is in the data set, but for what says that it is one."""
    assert stream.data_set is not None
    marks = {root / mark for mark in stream.data_set.marks}
    for one in companions(stream, root):
        if one.target not in marks and not (_is_there(one.target, places) and _is_same(one, places)):
            _copy(one, places)


def _check_kind(one: Companion, places: Places) -> None:
    is_file = one.source.is_file()
    if one.source.is_symlink() and not is_file and not places.is_local(one.target):
        what = "to a folder" if one.source.is_dir() else "that leads nowhere"
        raise UsageError(
            f"`{one.source}` is a link {what}, for which an object store has nothing",
            hint="copy the data set without it, or write elsewhere with `--output`",
        )
    if not one.source.is_symlink() and not is_file:
        raise UsageError(
            f"`{one.source}` is neither a file nor a folder: it cannot be copied with the data set",
            hint="move it elsewhere, or write the columns alone with `--sidecar`",
        )


def _is_there(target: Path, places: Places) -> bool:
    places.results.look_up(target)
    return os.path.lexists(target)


def _is_same(one: Companion, places: Places) -> bool:
    source, target = one.source, one.target
    if source.is_symlink() and places.is_local(target):
        return target.is_symlink() and target.readlink() == one.text_of_link
    if not target.is_file():
        return False
    if source.samefile(target):
        return True
    if source.stat().st_size != target.stat().st_size:
        return False
    places.inputs.fill(source)
    places.inputs.fill(target)
    with source.open("rb") as first, target.open("rb") as second:
        while block := first.read(_COMPARE_BYTES):
            if block != second.read(_COMPARE_BYTES):
                return False
    return True


def _copy(one: Companion, places: Places) -> None:
    source, target = one.source, one.target
    target.parent.mkdir(parents=True, exist_ok=True)
    places.inputs.fill(source)
    is_local = places.is_local(source) and places.is_local(target)
    if is_local and source.is_symlink():
        _copy_link(one)
        return
    if is_local and source.stat().st_size > _LINK_BYTES:
        try:
            target.unlink(missing_ok=True)
            os.link(source, target)
            return
        except OSError:  # another device, or a file system without links
            pass
    new_file = places.results.new_file(target)
    try:
        new_file.create()
        shutil.copyfile(source, new_file.temporary)
        shutil.copymode(source, new_file.temporary)
        new_file.commit()
        sync_directory(target.parent)
    finally:
        new_file.discard()


def _copy_link(one: Companion) -> None:
    """In place of what is there itself, not of what that leads to."""
    temporary = temporary_beside(one.target)
    try:
        temporary.symlink_to(one.text_of_link)
        temporary.replace(one.target)
    finally:
        temporary.unlink(missing_ok=True)
