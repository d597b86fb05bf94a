"""Several new files that take their places all together, or none of them.

No file system renames several files at once. So the old files keep a second, hidden name until the last rename
is done: where one fails, all of them are put back, and signals wait meanwhile. Only a process that is killed, or
a machine that stops, leaves new files beside old ones: the next run of the same command does the others, and
sweeps the second names. Object stores have none, so there the message says how many have changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from gaecli.errors import FileError, GaeError, UnknownOutcomeError
from gaecli.storage.new_file import NewFile, explain, sync_directory
from gaecli.storage.pending import PendingFile
from gaecli.storage.signals import held_back


def commit_together(
    files: Sequence[PendingFile],
    marks: Sequence[PendingFile] = (),
    publish: Callable[[], None] | None = None,
    records: Sequence[PendingFile] = (),
    synced_later: Callable[[Path], None] | None = None,
) -> None:
    """Put sealed files into their places; `marks`, which tell what is in them, after all others.

    `records` come first: one without its file is of no harm, and a file without its record is not known again.
    `publish` makes them part of something larger, such as a table. If it raises, they are not, and disappear.
    `synced_later` takes the directory of a file that is alone: nothing else depends on its name being on the disk.

    Raises:
        FileError: if one of them cannot be put there; says what became of the files.
    """
    things = [*records, *files, *marks]
    # A store may take long to answer, or not answer at all.
    is_short = all(isinstance(thing, NewFile) for thing in things)
    with held_back() if is_short else contextlib.nullcontext():
        try:
            is_alone = len(things) == 1 and publish is None
            if not is_alone:
                for thing in things:
                    thing.keep_old()
            for group in (records, files, marks):
                for thing in group:
                    thing.commit()
                _sync(group, synced_later if is_alone and synced_later is not None else sync_directory)
            if publish is not None:
                publish()
        except UnknownOutcomeError:
            raise  # what was published may refer to the files
        except Exception as error:
            _undo(things)
            if not isinstance(error, OSError | GaeError):
                raise
            raise _told(error, files, things) from error
        finally:
            for thing in things:
                thing.forget_old()


def _sync(things: Sequence[PendingFile], sync: Callable[[Path], None] = sync_directory) -> None:
    for directory in {thing.target.parent for thing in things if isinstance(thing, NewFile)}:
        sync(directory)


def _undo(things: Sequence[PendingFile]) -> None:
    for thing in reversed(things):
        thing.take_back()
    _sync(things)


def _told(error: OSError | GaeError, files: Sequence[PendingFile], things: Sequence[PendingFile]) -> GaeError:
    """The error, with what became of the files."""
    changed = sum(file.is_committed for file in files)
    is_cut = any(thing.is_committed for thing in things)
    if isinstance(error, GaeError):
        if is_cut:
            error = type(error)(f"{error.message}; {_count(changed, files)}", hint=_FINISH)
        return error
    if is_cut:
        told = explain(error, _place(error, things), f"{_count(changed, files)} and could not be put back")
        return FileError(told.message, hint=_FINISH)
    state = "the file is as it was" if len(files) == 1 else f"all {len(files):,} files are as they were"
    return explain(error, _place(error, things), state)


_FINISH = "run the same command again when that is mended: it does the others"


def _count(changed: int, files: Sequence[PendingFile]) -> str:
    return f"{changed:,} of the {len(files):,} files have the new columns"


def _place(error: OSError, things: Sequence[PendingFile]) -> Path:
    """The target that a failing rename was about; the first one that is not there, else."""
    by_name = {str(thing.temporary): thing.target for thing in things}
    named = by_name.get(str(error.filename))
    return named or next((thing.target for thing in things if not thing.is_committed), things[0].target)
