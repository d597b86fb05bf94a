"""Objects of stores as local files, of which only the bytes that were needed are there.

`s3://bucket/runs/a.parquet` is `SPOOL/s3/bucket/runs/a.parquet`: a sparse file with the size of the object.
All else in gaecli works on that path as on any other; going back to the URI is a matter of text.

    add      what a URI names becomes empty sparse files
    attach   the first and the last bytes: enough to open a file by its footer
    fill     the bytes of some columns, or all

A read that comes too early meets zeros, and neither a footer nor a column chunk starts with zeros, so it
fails. What is copied byte by byte has to be filled whole first.
"""

from __future__ import annotations

import contextlib
import glob
import os
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gaecli.datasets.tables import TITLES, folders_above, kind_of_names
from gaecli.errors import FileError, UsageError
from gaecli.formats.base import LeftOut
from gaecli.formats.parquet.copy_range import Copy, copy_range
from gaecli.records import dataclass
from gaecli.storage.extents import Range, chunks_of, column_extents
from gaecli.storage.local_copy import LocalCopy
from gaecli.storage.objects import ObjectInfo, ObjectStore, Upload, changed
from gaecli.storage.s3_parts import LEAST_HEAD_BYTES, num_copyable
from gaecli.storage.schemes import SCHEMES, scheme_of
from gaecli.storage.upload_notes import UploadNotes, left_uploads
from gaecli.storage.uploads import NOTHING, StoredBytes

if TYPE_CHECKING:
    from gaecli.storage.s3_leftovers import BegunUpload

#: Objects up to this size come with one request, and so do the ends of larger ones.
SMALL_BYTES = 4 << 20
_TAIL_BYTES = 64 << 10
_DOCUMENT_BYTES = 64 << 20
_HEAD_BYTES = 16
_LOOKS_AT_ONCE = 8
#: From so many results in one folder on, it is listed.
_LISTED_FROM = 4
_PARQUET = b"PAR1"

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class RemoteName:
    """A path of a mirror, and the object of which a copy is there, if one is."""

    place: str
    info: ObjectInfo | None
    #: As of `Mirror.replaced`.
    replaced: str | None = None


class Mirror:
    """The part of the world's stores that a run looks at, below one local directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._notes = UploadNotes(root)
        self._copies: dict[Path, LocalCopy] = {}
        self._looked_up: set[Path] = set()
        #: What a new object takes the place of: the version that was there, or NOTHING.
        self._replaced: dict[Path, str] = {}
        #: Names below which everything was seen.
        self._listed: set[str] = set()
        #: Folder of results -> what was there.
        self._within: dict[Path, dict[str, ObjectInfo]] = {}
        self._stores: dict[str, ObjectStore] = {}
        self._lock = threading.Lock()

    def holds(self, path: Path) -> bool:
        return path in self._copies or self._scheme_name(path) is not None

    def path_of(self, uri: str) -> Path:
        """Where a URI lies in the mirror, whether or not it exists."""
        scheme = scheme_of(uri)
        rest = uri.partition("://")[2]
        parts = rest.rstrip("/").split("/")
        if not rest or any(part in ("", ".", "..") for part in parts) or "\0" in rest:
            raise UsageError(f"`{uri}` is not a name that gaecli can take", hint="expected s3://BUCKET/KEY")
        return self.root.joinpath(scheme.name, *parts)

    def uri_of(self, path: Path) -> str:
        scheme, *rest = path.relative_to(self.root).parts
        return f"{scheme}://{'/'.join(rest)}"

    def name_of(self, path: Path) -> RemoteName | None:
        """What another process has to know of a path of this mirror, to have it in one of its own."""
        if not path.is_relative_to(self.root):
            return None
        copy = self._copies.get(path)
        info = None if copy is None else copy.info
        return RemoteName(str(path.relative_to(self.root)), info, self._replaced.get(path))

    def place_of(self, name: RemoteName) -> Path:
        """Where something of the mirror of another process is in this one, to be attached and filled."""
        if name.info is not None:
            self._register(name.info)
        path = self.root / name.place
        if name.replaced is not None:
            self._replaced[path] = name.replaced
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def can_write(self, path: Path) -> bool:
        return scheme_of(self.uri_of(path)).can_write

    def add(self, uris: Sequence[str]) -> list[str]:
        """Local paths, directories and patterns that name the same objects; raises if one names nothing."""
        if len(uris) == 1:
            return [self._add(uris[0])]
        return self._side_by_side(self._add, uris)

    def _side_by_side(self, function: Callable[[T], R], arguments: Iterable[T]) -> list[R]:
        with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
            try:
                return list(pool.map(function, arguments))
            except KeyboardInterrupt:
                self.interrupt()
                raise

    def interrupt(self) -> None:
        """Requests under way end with `KeyboardInterrupt`, and so do later ones."""
        for store in list(self._stores.values()):
            store.interrupt()

    def _add(self, uri: str) -> str:
        path = self.path_of(uri)
        store = self._store(uri)
        if not uri.endswith("/") and (info := store.info(uri)) is not None:
            self._register(info)
            return str(path)
        is_pattern = glob.has_magic(uri)
        found = store.matching(uri) if is_pattern else []
        # As with local folders: one that is called `runs [a]` is meant where it is there.
        if not found and store.is_prefix(uri):
            path.mkdir(parents=True, exist_ok=True)
            found = store.below(uri)
            self._listed.add(uri.rstrip("/"))
        elif not is_pattern:
            raise FileError(f"`{uri}` does not exist")
        _refuse_table(uri, [info.uri for info in found])
        for info in found:
            self._register(info)
            if _tells_of_others(info):
                self.fill(self.path_of(info.uri))
        return str(path)

    def refuse_tables(self, paths: Iterable[Path]) -> None:
        """Raise where a result would be put among the files of a table."""
        uris = [self.uri_of(path) for path in paths]
        _refuse_table(uris[0] if uris else "", uris)
        for folder in dict.fromkeys(above for uri in uris for above in folders_above(uri)):
            is_seen = any(f"{folder}/".startswith(f"{name}/") for name in self._listed)
            if is_seen or folder.count("/") < 3:  # the whole of a store is no table, and slow to list
                continue
            for log in (f"{folder}/_delta_log", f"{folder}/metadata"):
                with contextlib.suppress(FileError):  # who may not list does not see that it is one
                    names = self._store(log).below(log) if self._store(log).is_prefix(log) else []
                    _refuse_table(folder, [info.uri for info in names])

    def expect(self, paths: Iterable[Path]) -> None:
        """Results are to go there: of folders with several of them, one listing tells what is there already."""
        counts = Counter(path.parent for path in paths if path not in self._copies)
        for folder, count in counts.items():
            uri = self.uri_of(folder)
            if count < _LISTED_FROM:
                continue
            with contextlib.suppress(FileError):  # who may not list asks for each
                self._within[folder] = self._store(uri).within(uri)

    def begun_uploads(self, paths: Iterable[Path]) -> list[tuple[Path, BegunUpload]]:
        """What was begun, and not completed, to be sent to these."""
        by_store: dict[str, dict[str, Path]] = {}
        for path in paths:
            uri = self.uri_of(path)
            by_store.setdefault("/".join(uri.split("/", 3)[:3]), {})[uri] = path
        found = []
        for place, named in by_store.items():
            for upload in self._store(f"{place}/").begun_uploads(list(named)):
                found.append((named[f"{place}/{upload.key}"], upload))
        return found

    def sweep(self, paths: Iterable[Path]) -> None:
        """Take back what killed runs have sent of these objects: at once where it is known that they were killed."""
        named = {self.uri_of(path): path for path in paths}
        for uri, left in left_uploads(self.root.parent):
            if uri in named:
                with contextlib.suppress(Exception):  # as below
                    with contextlib.suppress(FileNotFoundError):
                        self.store_of(named[uri]).sender().take_back(left.sent)
                    left.note.unlink()
        for path, upload in self.begun_uploads(named.values()):
            if upload.is_stale:
                with contextlib.suppress(Exception):  # somebody else did, or may and we may not
                    upload.take_back(self.store_of(path).fs)

    def look_up(self, path: Path) -> bool:
        """Whether there is an object where a result is to go; by its ends then, it can be opened."""
        if path not in self._looked_up:
            self._looked_up.add(path)
            if path not in self._copies:
                info = self._info(path)
                if info is None:
                    self._replaced[path] = NOTHING
                else:
                    self._register(info)
                    self.attach(path)
        return path in self._copies

    def _info(self, path: Path) -> ObjectInfo | None:
        uri, listed = self.uri_of(path), self._within.get(path.parent)
        return self._store(uri).info(uri) if listed is None else listed.get(uri)

    def look_for_directory(self, path: Path) -> None:
        """Make a name below which objects lie a directory."""
        uri = self.uri_of(path)
        if self._store(uri).is_prefix(uri):
            path.mkdir(parents=True, exist_ok=True)

    def attach(self, path: Path) -> None:
        """The bytes by which a file is recognised and opened."""
        copy = self._copies[path]
        size = copy.info.size
        if size <= SMALL_BYTES:
            self._fetch(copy, [(0, size)])
            return
        self._fetch(copy, [(0, _HEAD_BYTES), (size - _TAIL_BYTES, size)])
        with path.open("rb") as file:
            is_parquet = file.read(len(_PARQUET)) == _PARQUET
            file.seek(-8, os.SEEK_END)
            footer_bytes = int.from_bytes(file.read(4), "little")
        start = max(0, size - 8 - footer_bytes)
        self._fetch(copy, [(start if is_parquet else 0, size)])

    def fill(
        self, path: Path, columns: Collection[str] | None = None, row_groups: Collection[int] = ()
    ) -> None:
        """The bytes of these columns, if the format keeps them apart, or all; of some row groups, or of all."""
        copy = self._copies[path]
        if copy.is_whole:
            return
        size = copy.info.size
        if columns is None:
            self._fetch(copy, [(0, size)])
            return
        chunks = copy.chunks = copy.chunks or chunks_of(path)
        self._fetch(copy, column_extents(chunks, columns, row_groups))

    def fetch_all(self) -> None:
        """All bytes of all objects that were added."""
        self._side_by_side(self.fill, self._copies)

    def check_unchanged(self, path: Path) -> None:
        """Raise if the object is not the one that was read."""
        info = self._copies[path].info
        now = self._store(info.uri).info(info.uri)
        if now is None:
            raise FileError(f"`{info.uri}` was removed while it was read; nothing was written")
        if not now.is_same(info):
            raise changed(info.uri)

    def upload(self, path: Path, content: Path) -> Upload:
        """A new object, of these bytes, that is to take the place of the one that was looked at."""
        uri = self.uri_of(path)
        return self._store(uri).upload(uri, content, self._replaced.get(path))

    def was_replaced(self, path: Path) -> None:
        """By this run: what is there now is its own."""
        self._replaced.pop(path, None)

    def written(self, path: Path, content: Path) -> None:
        """An object was written: small ones may be looked into again, such as what a data set says of itself."""
        if content.stat().st_size > SMALL_BYTES:
            content.unlink()
            return
        content.replace(path)
        if path in self._copies:
            self._copies[path].stamp()

    def can_copy_head(self, source: Path, target: Path) -> bool:
        """The bytes that begin an object can begin another one without coming here."""
        copy = self._copies.get(source)
        if copy is None or self._scheme_name(target) is None or not copy.info.version:
            return False
        schemes = scheme_of(copy.info.uri), scheme_of(self.uri_of(target))
        return all(scheme.copies_ranges for scheme in schemes) and copy.info.size >= LEAST_HEAD_BYTES

    def send(self, upload: Upload, content: Path, left_out: Sequence[LeftOut]) -> None:
        """Send a file that leaves out bytes which objects of the mirror have."""
        stored = [self._stored(one) for one in left_out]
        num_copied = num_copyable(stored)
        self._put_in(content, left_out[num_copied:])
        try:
            upload.send(stored[:num_copied])
        except FileError:  # not every store copies, and not everybody may have it do so
            if not num_copied:
                raise
            self._put_in(content, left_out[:num_copied])
            upload.send()

    def _stored(self, one: LeftOut) -> StoredBytes:
        info = self._copies[one.source].info
        store = self._store(info.uri)
        bucket, key, _ = store.fs.split_path(store.path(info.uri))
        return StoredBytes(bucket, key, info.version, one.start, one.length, one.target)

    def _put_in(self, content: Path, left_out: Sequence[LeftOut]) -> None:
        """Bring the bytes here after all."""
        if not left_out:
            return
        with content.open("r+b", buffering=0) as target:
            for one in left_out:
                copy = self._copies[one.source]
                self._fetch(copy, [(one.start, one.start + one.length)])
                with copy.path.open("rb", buffering=0) as source:
                    copy_range(source, target, Copy(one.start, one.target, one.length), copy.info.uri)

    def put(self, path: Path, content: Path) -> None:
        """Make an object that other processes are to read; this one has no more of it than they have."""
        uri = self.uri_of(path)
        upload = self._store(uri).upload(uri, content)
        try:
            upload.send()
            upload.commit()
        finally:
            upload.discard()
        info = self._store(uri).info(uri)
        if info is None:
            raise changed(uri)
        self._copies.pop(path, None)
        self._register(info)

    def remove(self, path: Path) -> None:
        """An object of this run, if it is there."""
        uri = self.uri_of(path)
        self._store(uri).remove(uri)
        self.release(path)

    def beside(self, path: Path, prefix: str) -> list[Path]:
        """The objects next to one whose names begin like this."""
        uri = self.uri_of(path.parent)
        return [self.path_of(info.uri) for info in self._store(uri).below(f"{uri}/", prefix)]

    def fill_behind(self, path: Path, start: int) -> None:
        """The bytes from there on."""
        copy = self._copies[path]
        self._fetch(copy, [(start, copy.info.size)])

    def release(self, path: Path) -> None:
        """Give back the disk space; the file is done."""
        if self._copies.pop(path, None) is not None:
            path.unlink(missing_ok=True)

    def store_of(self, path: Path) -> ObjectStore:
        return self._store(self.uri_of(path))

    def _register(self, info: ObjectInfo) -> None:
        path = self.path_of(info.uri)
        if path in self._copies:
            return
        self._copies[path] = LocalCopy.empty(info, path)
        if info.version:
            self._replaced[path] = info.version

    def _fetch(self, copy: LocalCopy, wanted: Sequence[Range]) -> None:
        copy.fetch(self._store(copy.info.uri), wanted)

    def _store(self, uri: str) -> ObjectStore:
        place = "/".join(uri.split("/", 3)[:3])
        with self._lock:
            if place not in self._stores:
                self._stores[place] = ObjectStore(uri, self._notes)
            return self._stores[place]

    def _scheme_name(self, path: Path) -> str | None:
        """The scheme that a path is of, if it lies in the mirror."""
        root = f"{self.root}{os.sep}"
        text = str(path)
        name = text[len(root) :].partition(os.sep)[0] if text.startswith(root) else ""
        return name if name in SCHEMES else None


def _tells_of_others(info: ObjectInfo) -> bool:
    """Documents by which a data set is recognised, before any of its files is opened."""
    *folders, name = info.uri.split("/")
    return info.size <= _DOCUMENT_BYTES and (name.endswith((".json", ".jsonl")) or "meta" in folders)


def _refuse_table(uri: str, names: Iterable[str]) -> None:
    kind = kind_of_names(names)
    if kind is not None:
        raise UsageError(
            f"`{uri}` is or belongs to a {TITLES[kind]}: those are read and written in local folders only",
            hint="copy the whole table to a local folder, or export it with its own library, and name that",
        )
