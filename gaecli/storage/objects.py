"""One object store: what is there, its bytes, and uploads that appear whole or not at all.

Never pyarrow's S3 output stream: it completes the upload when an exception passes through it, or when
it is collected, and leaves a valid, truncated file under the final name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from gaecli.errors import FileError, GaeError, first_line
from gaecli.records import dataclass
from gaecli.storage.schemes import Scheme, open_store, scheme_of
from gaecli.storage.uploads import NewObject, ObjectSender, ReplacedMeanwhileError, SentObject, StoredBytes

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from gaecli.storage.s3_leftovers import BegunUpload
    from gaecli.storage.upload_notes import UploadNotes

READ_BYTES = 8 << 20
#: Requests under way at a time for one object; with READ_BYTES this bounds the memory.
_READS_AT_ONCE = 4
#: What tells one version of an object from the next, best first, by the names that stores use. That of Google's is
#: of the bytes: its tag is another one where somebody has changed a label.
_VERSION_KEYS = ("generation", "ETag", "etag", "md5Hash", "content_md5", "blob_id", "xet_hash")
_TIME_KEYS = ("LastModified", "last_modified", "updated", "mtime")


@dataclass(frozen=True)
class ObjectInfo:
    """An object as it was when it was looked at."""

    uri: str
    size: int
    version: str
    modified: str

    @property
    def modified_ns(self) -> int:
        """Whole seconds: stores tell fractions in one answer and not in another."""
        with contextlib.suppress(ValueError, OverflowError):
            return int(datetime.fromisoformat(self.modified).timestamp()) * 10**9
        return 0

    def is_same(self, other: ObjectInfo) -> bool:
        """Whether nobody wrote it in between."""
        if self.version or other.version:
            return (self.version, self.size) == (other.version, other.size)
        return (self.modified_ns, self.size) == (other.modified_ns, other.size)


class ObjectStore:
    """The objects of one store; every failure comes as a `GaeError` that names the URI."""

    def __init__(self, uri: str, notes: UploadNotes | None = None) -> None:
        self.scheme: Scheme = scheme_of(uri)
        self.fs: Any = open_store(uri)
        #: Of uploads that are on their way.
        self.notes = notes
        self._is_interrupted = False

    def interrupt(self) -> None:
        """Requests under way end with `KeyboardInterrupt`, and so do later ones but those that clean up.

        A store that does not answer would be waited for as long as its driver likes, which is minutes.
        """
        self._is_interrupted = True
        loop = getattr(self.fs, "loop", None)
        if loop is not None:
            loop.call_soon_threadsafe(_cancel_all, loop)

    @contextlib.contextmanager
    def told(self, doing: str, uri: str) -> Iterator[None]:
        """What goes wrong between here and the store, in words. Drivers raise whatever they like."""
        if self._is_interrupted:
            raise KeyboardInterrupt
        try:
            yield
        except GaeError:
            raise
        except Exception as error:
            if self._is_interrupted:
                raise KeyboardInterrupt from error
            raise _explained(error, doing, uri) from error
        if self._is_interrupted:  # drivers return from what was cancelled as if it had been done
            raise KeyboardInterrupt

    def info(self, uri: str) -> ObjectInfo | None:
        """None if there is no object of just this name."""
        with self.told("read", uri):
            self.fs.invalidate_cache()
            try:
                entry = self.fs.info(self.path(uri))
            except FileNotFoundError:
                return None
            return _info(uri, entry) if entry["type"] == "file" else None

    def is_prefix(self, uri: str) -> bool:
        """Whether objects lie below this name."""
        with self.told("read", uri):
            return bool(self.fs.isdir(self.path(uri)))

    def below(self, uri: str, prefix: str = "") -> list[ObjectInfo]:
        """`prefix`: those whose names begin like this, from `uri` on."""
        options = {"prefix": prefix} if prefix else {}
        with self.told("list", uri):
            return self._listed(uri, self.fs.find(self.path(uri), detail=True, **options))

    def within(self, uri: str) -> dict[str, ObjectInfo]:
        """The objects right below a name, by their URIs."""
        with self.told("list", uri):
            found = self.fs.find(self.path(uri), maxdepth=1, detail=True)
            return {info.uri: info for info in self._listed(uri, found)}

    def begun_uploads(self, uris: Sequence[str]) -> list[BegunUpload]:
        """Uploads for these objects that nobody has completed yet; none of a store that does not tell."""
        from gaecli.storage.s3_leftovers import begun_uploads

        if not self.scheme.copies_ranges:
            return []
        places = [self.fs.split_path(self.path(uri)) for uri in uris]
        keys = {key for _, key, _ in places}
        try:
            return list(begun_uploads(self.fs, places[0][0], keys))
        except Exception:  # who may write objects need not be allowed to list uploads
            return []

    def matching(self, pattern: str) -> list[ObjectInfo]:
        with self.told("list", pattern):
            return self._listed(pattern, self.fs.glob(self.path(pattern), detail=True))

    def read(self, info: ObjectInfo, extents: Sequence[tuple[int, int]], target: BinaryIO) -> None:
        """Copy ranges of an object to the same places of a file."""
        pieces = [
            (start, min(start + READ_BYTES, end))
            for first, end in extents
            for start in range(first, end, READ_BYTES)
        ]
        path = self.path(info.uri)
        for index in range(0, len(pieces), _READS_AT_ONCE):
            some = pieces[index : index + _READS_AT_ONCE]
            starts, ends = [start for start, _ in some], [end for _, end in some]
            with self.told("read", info.uri):
                blocks = self.fs.cat_ranges(
                    [path] * len(some), starts, ends, on_error="raise", **self.scheme.read_options
                )
            for (start, end), block in zip(some, blocks, strict=True):
                if len(block) != end - start:
                    raise changed(info.uri)
                target.seek(start)
                target.write(block)

    def upload(self, uri: str, source: Path, replaces: str | None = None) -> Upload:
        """`replaces`: the version of the object in its place, or NOTHING; None where nobody has looked."""
        return Upload(self, uri, source, replaces)

    def sender(self) -> ObjectSender:
        made: ObjectSender = import_module(f"gaecli.storage.{self.scheme.sender}").make(self.fs)
        return made

    def remove(self, uri: str) -> None:
        """Also after an interrupt. What cannot be removed stays."""
        with contextlib.suppress(Exception):
            self.fs.rm_file(self.path(uri))

    def path(self, uri: str) -> str:
        return str(self.fs._strip_protocol(uri))

    def _listed(self, uri: str, entries: Mapping[str, Mapping[str, Any]]) -> list[ObjectInfo]:
        """By the names that go on from `uri`: listings leave out the account of `abfs://container@account/`."""
        scheme, _, rest = uri.partition("://")
        given, known = rest.rstrip("/").split("/"), self.path(uri).strip("/").split("/")
        # `abfs://account/container/key` has one part more than its object.
        left_out = max(0, len(given) - len(known))
        start = "/".join([f"{scheme}:/", *given[: left_out or 1]])
        return [
            _info("/".join([start, *name.strip("/").split("/")[0 if left_out else 1 :]]), entry)
            for name, entry in entries.items()
            if entry["type"] == "file"
        ]


class Upload:
    """An object on its way: sent in full first, then made visible at once, or taken back."""

    def __init__(self, store: ObjectStore, uri: str, source: Path, replaces: str | None) -> None:
        self._store = store
        self._sender = store.sender()
        self._uri = uri
        self._source = source
        self._replaces = replaces
        #: What was sent so far, by this process or one that has handed it over.
        self._sent: SentObject | None = None
        #: What another process has begun, and takes back if need be.
        self._begun: SentObject | None = None

    def begin(self) -> SentObject | None:
        """For another process to go on with; None where the store knows of nothing before there are bytes."""
        begin = getattr(self._sender, "begin", None)
        if begin is not None:
            with self._store.told("write", self._uri):
                self.take_over(begin(self._store.path(self._uri)))
        return self._sent

    def go_on(self, begun: SentObject | None) -> None:
        """`send` goes on with what `begin` has given another process."""
        self._begun = begun

    def send(self, stored: Sequence[StoredBytes] = ()) -> None:
        """All bytes; the object that is there stays as it is.

        `stored` is what the store itself has of them, and the file has not.
        """
        self.discard()  # of a try that failed
        new = NewObject(self._store.path(self._uri), self._source, self._replaces, stored, self._begun)
        with self._store.told("write", self._uri):
            self._sent = self._sender.send(new, self.take_over)

    def hand_over(self) -> SentObject:
        """What was sent, for another process to commit or to take back."""
        sent, self._sent = self._sent, None
        assert sent is not None
        self._strike(sent)
        return sent

    def take_over(self, sent: SentObject) -> None:
        """Of another process, in the place of `send`."""
        self._sent = sent
        if self._store.notes is not None and self._store.scheme.copies_ranges:
            self._store.notes.add(self._uri, sent)

    def commit(self) -> None:
        assert self._sent is not None
        with self._store.told("write", self._uri):
            try:
                self._sender.complete(self._sent)
            except ReplacedMeanwhileError as error:
                raise changed(self._uri) from error
        self._strike(self._sent)
        self._sent = None

    def discard(self) -> None:
        """Take back what was sent, unless another process does. Does nothing after `commit`."""
        if self._sent is not None:
            if self._begun is None:
                with contextlib.suppress(Exception):
                    self._sender.take_back(self._sent)
                    self._strike(self._sent)
            self._sent = None  # not before: an interrupt in between finds what to take back

    def _strike(self, sent: SentObject) -> None:
        if self._store.notes is not None:
            self._store.notes.strike(sent)


def changed(uri: str) -> FileError:
    return FileError(
        f"`{uri}` was changed by somebody else while it was read; nothing was written",
        hint="run the command again when nothing else writes to it",
    )


def _info(uri: str, entry: Mapping[str, Any]) -> ObjectInfo:
    version = next((str(entry[key]) for key in _VERSION_KEYS if entry.get(key)), "")
    modified = next((entry[key] for key in _TIME_KEYS if entry.get(key)), "")
    modified = modified.isoformat() if isinstance(modified, datetime) else str(modified)
    return ObjectInfo(uri, int(entry.get("size") or 0), version.strip('"'), modified)


def _explained(error: Exception, doing: str, uri: str) -> FileError:
    if isinstance(error, FileNotFoundError):
        return FileError(f"`{uri}` does not exist, or its bucket does not")
    if isinstance(error, PermissionError):
        return FileError(
            f"no permission to {doing} `{uri}`: {first_line(error)}", hint="check the credentials in use"
        )
    hint = None
    if "credential" in f"{type(error).__name__} {error}".lower():
        hint = "give credentials as the store's own tools take them, e.g. `AWS_PROFILE`"
    return FileError(f"cannot {doing} `{uri}`: {first_line(error)}", hint=hint)


def _cancel_all(loop: AbstractEventLoop) -> None:
    """The loop is that of the drivers, in a thread of its own."""
    import asyncio

    for task in asyncio.all_tasks(loop):
        task.cancel()
