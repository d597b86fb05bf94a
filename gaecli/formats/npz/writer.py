"""A copy of an archive with new arrays; every other member keeps its bytes and its compression."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
import struct
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol, cast

import numpy as np
from numpy.lib import format as npy

from gaecli.formats.base import ColumnInfo, OutputColumn, WritePlan, array_dtype
from gaecli.formats.npz import deflate
from gaecli.formats.npz.members import MALFORMED, SUFFIX, array_name, checksum, npz_error, open_member
from gaecli.formats.own_columns import SelfKnowing, signature
from gaecli.formats.parquet.copy_range import Copier, Copy, copy_range

COPY_BYTES = 1 << 20
#: New arrays larger than this wait on disk.
SPOOL_BYTES = 8 << 20
#: The zip format holds the archive comment, and so the provenance, in 16 bits of length.
MAX_COMMENT_BYTES = 65_535
_UTF8_NAME = 0x800  # flag of a member whose name is in UTF-8
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature; lengths of name and extra field


class ArchiveSource(SelfKnowing, Protocol):
    """The archive that is copied."""

    path: Path
    columns: Mapping[str, ColumnInfo]

    @property
    def comment_document(self) -> dict[str, Any]: ...


class NpzOutput:
    """The old members are copied while the new arrays grow. Of these the first is deflated to where it belongs; as
    members of an archive stand one after the other, the others wait for its end.
    """

    method = "archive"

    def __init__(self, source: ArchiveSource, compression: int, temporary: Path, plan: WritePlan) -> None:
        self._source = source
        self._compression = compression
        self._temporary = temporary
        self._plan = plan
        self._threads = deflate.DeflaterThreads()
        self._dtypes = {name: array_dtype(kind) for name, kind in plan.new_columns.items()}
        #: That of the array beside which the new ones stand, if there are any.
        self._shape = () if plan.like_column is None else source.columns[plan.like_column].shape
        try:
            with contextlib.ExitStack() as opened, self._told():
                self._open(opened)
                self._opened = opened.pop_all()
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def write(self, columns: Mapping[str, OutputColumn]) -> None:
        self._copier.check()
        for name, content in self._contents.items():
            before = content.num_in_place
            content.write(np.ascontiguousarray(columns[name].without_nulls(), self._dtypes[name]).data)
            self._copier.wrote(content.num_in_place - before)

    def finish(self, provenance: dict[str, Any] | None) -> None:
        target = self._target
        with self._told():
            for name, content in self._contents.items():
                num_bytes = self._num_bytes(name)
                if content.num_bytes != num_bytes:
                    raise AssertionError(f"{content.num_bytes:,} bytes written for {name}, not {num_bytes:,}")
                content.put_into(target)
            self._copier.join()
            written = {name: checksum(target.getinfo(name + SUFFIX)) for name in self._contents}
            document = provenance and {**provenance, **signature(self._source, self._plan, written)}
            if document and self._compression == zipfile.ZIP_DEFLATED:
                document["deflate"] = deflate.name()  # the same arrays have other bytes with another one
            target.comment = _comment(document, self._source.comment_document)
            target.close()
        self._opened.close()

    def abort(self) -> None:
        self._opened.close()
        self._temporary.unlink(missing_ok=True)

    def _open(self, opened: contextlib.ExitStack) -> None:
        plan, path, temporary = self._plan, self._source.path, self._temporary
        replaced = {*plan.own_columns, *plan.drop_columns, *plan.new_columns}
        opened.callback(self._threads.close)
        file = opened.enter_context(path.open("rb", buffering=0))
        archive = opened.enter_context(zipfile.ZipFile(file))
        self._target = zipfile.ZipFile(temporary, "w")
        opened.callback(_let_go, self._target)
        self._copier = Copier(
            file, str(path), temporary, _placed_members(file, archive, self._target, replaced)
        )
        opened.callback(self._copier.stop)
        self._contents: dict[str, _Deflated | _Spooled] = {}
        for name in plan.new_columns:
            self._contents[name] = content = self._new_content(name)
            opened.callback(_let_go, content)
            content.write(array_header(self._shape, self._dtypes[name]))

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except MALFORMED as error:
            raise npz_error(self._source.path, error) from error

    def _new_content(self, name: str) -> _Deflated | _Spooled:
        info = _new_member(name, self._compression)
        folder = str(self._temporary.parent)
        if self._compression != zipfile.ZIP_DEFLATED:
            return _Spooled(info, folder)
        info.file_size = self._num_bytes(name)
        if self._contents:
            spool = tempfile.SpooledTemporaryFile(SPOOL_BYTES, dir=folder)  # noqa: SIM115
            return _Deflated(self._threads, info, cast("IO[bytes]", spool))
        return _DeflatedInPlace(self._threads, info, self._temporary, self._target.start_dir)

    def _num_bytes(self, name: str) -> int:
        dtype = self._dtypes[name]
        return len(array_header(self._shape, dtype)) + math.prod(self._shape) * dtype.itemsize


class _Spooled:
    """Content that zipfile stores, or compresses, when all of it is there."""

    num_in_place = 0

    def __init__(self, info: zipfile.ZipInfo, folder: str) -> None:
        self.num_bytes = 0
        self._info = info
        self._spool: IO[bytes] = tempfile.SpooledTemporaryFile(SPOOL_BYTES, dir=folder)  # noqa: SIM115

    def write(self, content: bytes | memoryview) -> None:
        self.num_bytes += memoryview(content).nbytes
        self._spool.write(content)

    def put_into(self, target: zipfile.ZipFile) -> None:
        self._spool.seek(0)
        # The size is known only after writing: let the entry grow beyond 2 GiB.
        with target.open(self._info, "w", force_zip64=self.num_bytes > (1 << 30)) as member:
            while piece := self._spool.read(COPY_BYTES):
                member.write(piece)

    def close(self) -> None:
        self._spool.close()


class _Deflated(deflate.DeflatedContent):
    """Content that is compressed when it comes to stand in the archive."""

    num_in_place = 0

    def __init__(self, threads: deflate.DeflaterThreads, info: zipfile.ZipInfo, file: IO[bytes]) -> None:
        super().__init__(threads, file)
        self._info = info
        info.CRC = 0
        # Known before anything is compressed, as noise may become a little larger.
        self._is_zip64 = info.file_size * 1.05 > zipfile.ZIP64_LIMIT

    def put_into(self, target: zipfile.ZipFile) -> None:
        output = self._entered(target)
        start = output.tell()
        if self.packed_bytes > SPOOL_BYTES:  # it waits on disk
            copy = Copy(0, start, self.packed_bytes)
            copy_range(cast("BinaryIO", self.file), output, copy, self._info.filename)
            output.seek(start + self.packed_bytes)
        else:
            self.file.seek(0)
            output.write(self.file.read())
        _enter(target, self._info)

    def _entered(self, target: zipfile.ZipFile) -> BinaryIO:
        """The archive behind the local header of this member."""
        self.finish()
        info = self._info
        info.CRC, info.file_size, info.compress_size = self.crc, self.num_bytes, self.packed_bytes
        info.header_offset = target.start_dir
        output = _at_the_end(target)
        output.write(info.FileHeader(self._is_zip64))
        return output


class _DeflatedInPlace(_Deflated):
    """The member behind the old ones, at `offset` of the new archive. Its header is as long whatever it says."""

    def __init__(
        self, threads: deflate.DeflaterThreads, info: zipfile.ZipInfo, path: Path, offset: int
    ) -> None:
        super().__init__(threads, info, path.open("r+b"))
        self.file.seek(offset + len(info.FileHeader(self._is_zip64)))

    @property
    def num_in_place(self) -> int:  # type: ignore[override]
        return self.packed_bytes

    def put_into(self, target: zipfile.ZipFile) -> None:
        output = self._entered(target)
        self.file.flush()
        output.seek(self.packed_bytes, io.SEEK_CUR)
        _enter(target, self._info)


def _let_go(file: zipfile.ZipFile | _Deflated | _Spooled) -> None:
    """Of what is whole, or not wanted any more: a full disk is no matter."""
    with contextlib.suppress(OSError):
        file.close()


def array_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    header = io.BytesIO()
    descr = npy.dtype_to_descr(dtype)
    npy.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": shape})
    return header.getvalue()


def _placed_members(
    file: BinaryIO, archive: zipfile.ZipFile, target: zipfile.ZipFile, replaced: set[str]
) -> list[Copy]:
    """All members but those replaced, as the bytes that they are: entered, and where they are to be copied."""
    in_file_order = sorted(archive.infolist(), key=lambda info: info.header_offset)
    ends = [info.header_offset for info in in_file_order[1:]] + [archive.start_dir]
    end_of = {id(info): end for info, end in zip(in_file_order, ends, strict=True)}
    copies = []
    for info in archive.infolist():
        if array_name(info.filename) in replaced:
            continue
        if info.flag_bits & _UTF8_NAME or info.filename.isascii():
            copies.append(_placed(file, info, end_of[id(info)], target))
        else:  # zipfile would write the name in two encodings
            _copy_content(archive, info, target)
    return copies


def _placed(file: BinaryIO, info: zipfile.ZipInfo, end: int, target: zipfile.ZipFile) -> Copy:
    """Local header, data and what follows up to the next member, and an entry in the new directory."""
    file.seek(info.header_offset)
    signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    needed = _LOCAL_HEADER.size + name_bytes + extra_bytes + info.compress_size
    if signature != b"PK\x03\x04" or info.header_offset + needed > end:
        raise zipfile.BadZipFile(f"`{info.filename}` overlaps with another member, or has no header")
    twin = copy.copy(info)
    twin.header_offset = target.start_dir
    length = end - info.header_offset
    _at_the_end(target).seek(target.start_dir + length)
    _enter(target, twin)
    return Copy(info.header_offset, twin.header_offset, length)


def _copy_content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: zipfile.ZipFile) -> None:
    twin = zipfile.ZipInfo(info.filename, info.date_time)
    twin.compress_type = info.compress_type
    twin.external_attr = info.external_attr
    twin.comment = info.comment
    twin.file_size = info.file_size
    with open_member(archive, info) as source, target.open(twin, "w") as member:
        while piece := source.read(COPY_BYTES):
            member.write(piece)


def _at_the_end(target: zipfile.ZipFile) -> BinaryIO:
    """Where the next member begins: what is written there has to be entered."""
    output = target.fp
    assert output is not None
    output.seek(target.start_dir)
    return output  # type: ignore[return-value]


def _enter(target: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """A member that was written up to here."""
    output = target.fp
    assert output is not None
    target.start_dir = output.tell()
    target.filelist.append(info)
    target.NameToInfo[info.filename] = info


def usual_compression(infos: Sequence[zipfile.ZipInfo]) -> int:
    kinds = [info.compress_type for info in infos]
    return max(set(kinds), key=kinds.count) if kinds else zipfile.ZIP_STORED


def _new_member(name: str, compression: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name + SUFFIX)
    info.compress_type = compression
    info.external_attr = 0o600 << 16
    return info


def _comment(provenance: dict[str, Any] | None, other: Mapping[str, Any]) -> bytes:
    """The new comment; what else stood there stays if there is room for both."""
    if provenance is None:
        left = {key: value for key, value in other.items() if key != "gaecli"}
        if left.keys() == {"comment"} and isinstance(left["comment"], str):  # as `comment_document` put it
            return left["comment"].encode()
        return json.dumps(left, allow_nan=False, separators=(",", ":")).encode() if left else b""
    for document in ({**other, "gaecli": provenance}, {"gaecli": provenance}):
        comment = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
        if len(comment) <= MAX_COMMENT_BYTES:
            return comment
    return b""
