"""What goes wrong in reading, in words: the same for every command."""

from __future__ import annotations

import errno
from pathlib import Path
from types import TracebackType

from gaecli.errors import FileError, GaeError
from gaecli.storage.new_file import explain


def told(path: Path) -> _ErrorsTold:
    """Errors of the operating system that come up in the block are those of reading `path`."""
    return _ErrorsTold(path)


class _ErrorsTold:
    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise _not_read(error, self._path) from error
        if isinstance(error, MemoryError):
            raise not_in_memory(self._path) from error


def not_done(error: Exception, path: Path, target: Path) -> GaeError:
    """What ended the work on `path`. Errors of the system come from writing `target`: `told` has told the others."""
    if isinstance(error, GaeError):
        return error
    return explain(error, target) if isinstance(error, OSError) else not_in_memory(path)


def not_in_memory(path: Path) -> FileError:
    return FileError(f"`{path}` does not fit into memory", hint="pass a smaller `--memory`")


def _not_read(error: OSError, path: Path) -> FileError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FileError(
            f"no space left for the temporary files that reading `{path}` takes",
            hint="free some space, or name another folder in `TMPDIR`",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return FileError(f"no permission to read `{path}`")
    return FileError(f"`{path}` cannot be read: {error.strerror or error}")
