"""Where inputs come from and results go: local files, pipes and object stores, all seen as local paths.

A run works on paths. What is not a local file gets one below a temporary directory (`gaecli.storage`), the
bytes come when they are needed, and a new file there goes on to where it belongs when it is committed.
Messages and summaries show the names that the user knows.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from gaecli.errors import FileError, GaeError, UsageError, without_secrets
from gaecli.formats.jsonl.record import record_path
from gaecli.formats.registry import format_of, suffix_format
from gaecli.settings import RunOptions
from gaecli.storage.mirror import Mirror
from gaecli.storage.new_file import NewFile, check_unchanged
from gaecli.storage.objects import Upload
from gaecli.storage.pipes import PIPE, check_stdin, check_stdout, deliver, spool_stdin
from gaecli.storage.schemes import uri_of
from gaecli.storage.spool import Spool
from gaecli.unfinished import forget, remember

T = TypeVar("T")
Identity = tuple[int, int, int]


class PendingFile(Protocol):
    """A result on its way to a place: written to `temporary`, sealed, and then there at once or not at all."""

    target: Path
    temporary: Path
    #: It is in its place.
    is_committed: bool

    def create(self) -> None:
        """Make it, empty. After this has begun, only `commit` or `discard` end it."""

    def seal(self) -> None: ...

    def keep_old(self) -> None:
        """Before `commit`: see that `take_back` can bring back what is there now. `forget_old` ends it."""

    def commit(self) -> None: ...

    def take_back(self) -> bool:
        """After `keep_old`: all is as it was, whether `commit` came or not; False where that cannot be."""

    def forget_old(self) -> None: ...

    def discard(self) -> None: ...


class Places:
    """The places of one run. What was spooled is gone when the block ends.

    `options` are those of the run, with a local path for the output.
    """

    def __init__(self, options: RunOptions) -> None:
        self.options = options
        self._spool: Spool | None = None
        self._mirror: Mirror | None = None
        self._stdout: Path | None = None
        self._shown: re.Pattern[str] | None = None

    def __enter__(self) -> Self:
        try:
            if self.options.output is not None:
                self.options = replace(self.options, output=self._output(self.options.output))
        except BaseException as error:  # a block that is not entered is not left either
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, GaeError):
            error.message = self.shown(error.message)
            error.hint = None if error.hint is None else self.shown(error.hint)
            error.args = (error.message,)
        self.close()

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def sources(self, given: Sequence[str | Path]) -> list[str | Path]:
        """The same inputs as local paths, directories and patterns."""
        _check_names(given)
        uris = {index: uri for index, source in enumerate(given) if (uri := uri_of(source)) is not None}
        local = list(given)
        if uris:
            for index, path in zip(uris, self._stores().add(list(uris.values())), strict=True):
                local[index] = path
        if any(str(source) == PIPE for source in given):
            stdin = self._stdin()
            local = [stdin if str(source) == PIPE else source for source in local]
        return local

    def fetched(self, given: Sequence[str | Path]) -> list[str | Path]:
        """The same, with all bytes there at once: for commands that only read."""
        local = self.sources(given)
        if self._mirror is not None:
            self._mirror.fetch_all()
        return local

    def check(self, inputs: Sequence[Path]) -> None:
        """Raise where results of these could not be put where they are meant to go."""
        if self._stdout is not None and len(inputs) > 1:
            raise UsageError(
                f"`--output -` takes one result, and there are {len(inputs):,} inputs",
                hint="name a directory with `--output`, or run them one at a time",
            )
        if self._mirror is None or self.options.dry_run:
            return
        if self.options.output is None:
            self._mirror.refuse_tables(filter(self._is_remote, inputs))
            for path in filter(self._is_remote, inputs):
                if not self._mirror.can_write(path):
                    raise _read_only(self.shown(str(path)))

    def attach(self, paths: Sequence[Path]) -> None:
        """See that these inputs can be opened."""
        for path in paths:
            if self._is_remote(path):
                self._stores().attach(path)
                self._look_up_record(path)

    def interrupt(self) -> None:
        """Wait for no answer any more."""
        if self._mirror is not None:
            self._mirror.interrupt()

    def fill(self, path: Path, columns: Collection[str] | None = None) -> None:
        """See that these columns of an input, or all its bytes, can be read."""
        if self._is_remote(path):
            self._stores().fill(path, columns)

    def look_up(self, target: Path) -> None:
        """See that a result that may be there already can be opened."""
        if self._is_remote(target):
            self._stores().look_up(target)
            self._look_up_record(target)

    def is_stdout(self, target: Path) -> bool:
        return target == self._stdout

    def _look_up_record(self, path: Path) -> None:
        """Where a file of this format has it beside itself, and something can be written."""
        known, place = suffix_format(path), record_path(path)
        if known is None or known.name != "jsonl" or place is None or not self._stores().can_write(path):
            return
        if self._stores().look_up(place):
            self._stores().fill(place)

    def release(self, paths: Sequence[Path]) -> None:
        """These inputs are done."""
        for path in paths:
            if self._is_remote(path):
                self._stores().release(path)

    def new_file(self, target: Path) -> PendingFile:
        if self._is_remote(target):
            return _NewObject(self._stores(), target)
        return _NewOutput(target) if target == self._stdout else NewFile(target)

    def check_unchanged(self, path: Path, identity: Identity) -> None:
        if self._is_remote(path):
            self._stores().check_unchanged(path)
        else:
            check_unchanged(path, identity)

    def deliver(self) -> None:
        """What was written for stdout, to stdout."""
        if self._stdout is not None and self._stdout.exists():
            deliver(self._stdout)

    def shown(self, text: str) -> str:
        """A text with the names that the user knows in place of spooled copies."""
        if self._shown is None:
            return text
        return without_secrets(self._shown.sub(lambda match: PIPE if match[1] else f"{match[2]}://", text))

    def shown_in(self, result: T) -> T:
        """The same for all texts of a summary."""
        return result if self._shown is None else _with_texts(result, self.shown)

    def is_local(self, path: Path) -> bool:
        return not self._is_remote(path)

    def _is_remote(self, path: Path) -> bool:
        return self._mirror is not None and self._mirror.holds(path)

    @property
    def _writes_back(self) -> bool:
        """Into the input, or beside it."""
        return self.options.output is None and not self.options.dry_run

    def _stdin(self) -> Path:
        if self._writes_back:
            raise UsageError(
                "`-`: what comes from stdin cannot be written back",
                hint="pass `--output -` for stdout, or `--output FILE`",
            )
        check_stdin()
        path = self._directory("in") / PIPE
        spool_stdin(path)
        return _named_by_format(path)

    def _output(self, output: str | Path) -> str | Path:
        if str(output) == "":
            raise UsageError("`--output` is an empty name", hint="a variable in the command may not be set")
        uri = uri_of(output)
        if uri is not None:
            return self._remote_output(uri)
        if str(output) != PIPE:
            return output
        if not self.options.dry_run:
            check_stdout()
        self._stdout = self._directory("out") / PIPE
        return self._stdout

    def _remote_output(self, uri: str) -> str:
        mirror = self._stores()
        path = mirror.path_of(uri)
        if not mirror.can_write(path):
            raise _read_only(uri)
        if not self.options.dry_run:
            mirror.refuse_tables([path / "-" if uri.endswith("/") else path])
        if uri.endswith("/"):
            return f"{path}/"
        if not mirror.look_up(path):
            mirror.look_for_directory(path)
        return str(path)

    def _directory(self, name: str) -> Path:
        directory = self._root() / name
        directory.mkdir(exist_ok=True)
        return directory

    def _stores(self) -> Mirror:
        if self._mirror is None:
            self._mirror = Mirror(self._root())
        return self._mirror

    def _root(self) -> Path:
        if self._spool is None:
            self._spool = Spool()
            self._shown = re.compile(
                rf"{re.escape(str(self._spool.path))}/(?:(in/(?:-|stdin\.\w+)|out/-)|([a-z0-9]+)/)"
            )
        return self._spool.path


def _named_by_format(path: Path) -> Path:
    """`stdin.parquet`: what its result is called in a directory."""
    try:
        suffix = format_of(path).suffixes[0]
    except FileError:
        return path  # whoever opens it says why
    return path.rename(path.with_name(f"stdin{suffix}"))


class _NewOutput:
    """What will go to stdout; until then it need not survive the machine."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.temporary = target.with_name(f"{PIPE}.tmp")
        self.is_committed = False

    def create(self) -> None:
        pass  # whoever writes to it does

    def seal(self) -> None:
        pass

    def keep_old(self) -> None:
        pass  # there is none

    def commit(self) -> None:
        self.temporary.replace(self.target)
        self.is_committed = True

    def take_back(self) -> bool:
        self.target.unlink(missing_ok=True)
        self.is_committed = False
        return True

    def forget_old(self) -> None:
        pass

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self.temporary.unlink(missing_ok=True)


class _NewObject:
    """An object that will take the place of `target`, or not appear."""

    def __init__(self, mirror: Mirror, target: Path) -> None:
        self.temporary = target.parent / f".{secrets.token_hex(8)}.tmp"
        self._mirror = mirror
        self.target = target
        self.is_committed = False
        self._upload: Upload | None = None
        remember(self.discard)

    def create(self) -> None:
        pass  # whoever writes to it does

    def seal(self) -> None:
        """Send all of it; that takes time, and the sources are looked at once more afterwards."""
        uri = self._mirror.uri_of(self.target)
        self._upload = self._mirror.store_of(self.target).upload(uri, self.temporary)
        self._upload.send()

    def commit(self) -> None:
        if self._upload is None:
            self.seal()
        assert self._upload is not None
        self._upload.commit()
        self.is_committed = True
        forget(self.discard)
        self._mirror.written(self.target, self.temporary)

    def keep_old(self) -> None:
        pass  # a store has no second names: the bytes would have to be sent once more

    def take_back(self) -> bool:
        return not self.is_committed

    def forget_old(self) -> None:
        pass

    def discard(self) -> None:
        if self._upload is not None:
            self._upload.discard()
        with contextlib.suppress(OSError):
            self.temporary.unlink(missing_ok=True)
        forget(self.discard)


def _with_texts(value: Any, change: Callable[[str], str]) -> Any:
    """A copy of plain data, down to its dataclasses, with every text changed."""
    if isinstance(value, str):
        return change(value)
    if is_dataclass(value) and not isinstance(value, type):
        inner = {field.name: getattr(value, field.name) for field in fields(value)}
        return replace(value, **{name: _with_texts(part, change) for name, part in inner.items()})
    if isinstance(value, Mapping):
        return {_with_texts(key, change): _with_texts(part, change) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_with_texts(part, change) for part in value)
    return value


def _read_only(uri: str) -> UsageError:
    scheme = uri.partition("://")[0]
    return UsageError(
        f"`{uri}`: `{scheme}://` can only be read", hint="write the result elsewhere with `--output`"
    )


def _check_names(sources: Sequence[str | Path]) -> None:
    """An empty name is no name of the current directory: nobody who means it writes that."""
    if any(str(source) == "" for source in sources):
        raise UsageError("an input has an empty name", hint="a variable in the command may not be set")
