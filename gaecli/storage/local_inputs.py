"""The inputs of a run as local paths, whose bytes come when they are needed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from gaecli.errors import FileError, UsageError
from gaecli.formats.registry import format_of
from gaecli.storage.new_file import check_unchanged
from gaecli.storage.pipes import PIPE, check_stdin, spool_stdin
from gaecli.storage.schemes import uri_of
from gaecli.storage.stage import Stage

#: Size, mtime and inode, as a `RolloutFile` has them.
Identity = tuple[int, int, int]


class LocalInputs:
    """`is_written_back`: results go into the inputs, or beside them."""

    def __init__(self, stage: Stage, *, is_written_back: bool) -> None:
        self._stage = stage
        self._is_written_back = is_written_back

    def sources(self, given: Sequence[str | Path]) -> list[str | Path]:
        """The same inputs as local paths, directories and patterns."""
        _check_names(given)
        uris = {index: uri for index, source in enumerate(given) if (uri := uri_of(source)) is not None}
        local = list(given)
        if uris:
            for index, path in zip(uris, self._stage.stores().add(list(uris.values())), strict=True):
                local[index] = path
        if any(str(source) == PIPE for source in given):
            stdin = self._stdin()
            local = [stdin if str(source) == PIPE else source for source in local]
        return local

    def fetched(self, given: Sequence[str | Path]) -> list[str | Path]:
        """The same, with all bytes there at once: for commands that only read."""
        local = self.sources(given)
        if self._stage.mirror is not None:
            self._stage.mirror.fetch_all()
        return local

    def attach(self, paths: Sequence[Path]) -> None:
        """See that these can be opened."""
        for path in paths:
            if self._stage.is_remote(path):
                self._stage.stores().attach(path)
                self._stage.look_up_record(path)

    def fill(
        self, path: Path, columns: Collection[str] | None = None, row_groups: Collection[int] = ()
    ) -> None:
        """See that these columns of one, or all its bytes, can be read; of these row groups, if any are named."""
        if self._stage.is_remote(path):
            self._stage.stores().fill(path, columns, row_groups)

    def release(self, paths: Sequence[Path]) -> None:
        """These are done."""
        for path in paths:
            if self._stage.is_remote(path):
                self._stage.stores().release(path)

    def check_unchanged(self, path: Path, identity: Identity) -> None:
        if self._stage.is_remote(path):
            self._stage.stores().check_unchanged(path)
        else:
            check_unchanged(path, identity)

    def _stdin(self) -> Path:
        if self._is_written_back:
            raise UsageError(
                "`-`: what comes from stdin cannot be written back",
                hint="pass `--output -` for stdout, or `--output FILE`",
            )
        check_stdin()
        path = self._stage.directory("in") / PIPE
        spool_stdin(path)
        return _named_by_format(path)


def _check_names(sources: Sequence[str | Path]) -> None:
    """An empty name is no name of the current directory: nobody who means it writes that."""
    if any(str(source) == "" for source in sources):
        raise UsageError("an input has an empty name", hint="a variable in the command may not be set")


def _named_by_format(path: Path) -> Path:
    """`stdin.parquet`: what its result is called in a directory."""
    try:
        suffix = format_of(path).suffixes[0]
    except FileError:
        return path  # whoever opens it says why
    return path.rename(path.with_name(f"stdin{suffix}"))
