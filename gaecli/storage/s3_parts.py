"""Uploads to S3 that one process sends and another makes visible.

The parts of an upload are nothing to readers of the bucket until it is completed, and that is one request with their
numbers and tags: it can come from anywhere. The drivers of other stores keep what is needed for it to themselves.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from gaecli.records import dataclass

#: What S3 wants a part to have that is not the last one.
LEAST_PART_BYTES = 5 << 20
#: From this size on the store copies what a new object has of an old one.
LEAST_HEAD_BYTES = 16 << 20
#: What the store copies in one request, and how many such requests are under way.
_COPY_BYTES = 256 << 20
_COPIES_AT_ONCE = 8
_SENDS_AT_ONCE = 2
_PART_BYTES = 16 << 20
_MAX_PARTS = 9_000


@dataclass(frozen=True)
class SentParts:
    """All bytes of an object that is not there yet."""

    bucket: str
    key: str
    upload_id: str
    #: As S3 wants to be told of them: number and tag of each.
    parts: Sequence[Mapping[str, Any]]


def parts_of(file: Any) -> SentParts:
    """Of a file of s3fs that was written with `autocommit=False`, and closed."""
    return SentParts(file.bucket, file.key, str(file.mpu["UploadId"]), tuple(map(dict, file.parts)))


@dataclass(frozen=True)
class StoredBytes:
    """Bytes of an object that a new one has as well."""

    bucket: str
    key: str
    #: Of the object: another one must not have taken its place.
    tag: str
    start: int
    length: int
    #: Where they are in the new one.
    target: int


def num_copyable(stored: Sequence[StoredBytes]) -> int:
    """How many of these, from the first one on, can be parts of their own with what stands between them."""
    position = 0
    for number, one in enumerate(stored):
        gap = one.target - position
        if one.length < LEAST_PART_BYTES or 0 < gap < LEAST_PART_BYTES:
            return number
        position = one.target + one.length
    return len(stored)


def send_around(
    fs: Any, bucket: str, key: str, source: Path, stored: Sequence[StoredBytes], headers: Mapping[str, Any]
) -> SentParts:
    """The bytes of a file but for those that the store copies from other objects: they do not travel."""
    made = fs.call_s3("create_multipart_upload", Bucket=bucket, Key=key, **headers)
    place = {"Bucket": bucket, "Key": key, "UploadId": str(made["UploadId"])}

    def copy(number: int, part: _UploadPart) -> Mapping[str, Any]:
        old = part.old
        assert old is not None
        found = fs.call_s3(
            "upload_part_copy",
            **place,
            PartNumber=number,
            CopySource={"Bucket": old.bucket, "Key": old.key},
            CopySourceRange=f"bytes={part.start}-{part.stop - 1}",
            CopySourceIfMatch=old.tag,
        )
        return {"PartNumber": number, "ETag": found["CopyPartResult"]["ETag"]}

    def send(number: int, part: _UploadPart) -> Mapping[str, Any]:
        with source.open("rb") as file:
            file.seek(part.start)
            body = file.read(part.stop - part.start)
        found = fs.call_s3("upload_part", **place, PartNumber=number, Body=body)
        return {"PartNumber": number, "ETag": found["ETag"]}

    try:
        numbered = list(enumerate(_parts(source.stat().st_size, stored), start=1))
        parts = [
            *_side_by_side(copy, [one for one in numbered if one[1].old is not None], _COPIES_AT_ONCE),
            *_side_by_side(send, [one for one in numbered if one[1].old is None], _SENDS_AT_ONCE),
        ]
        parts.sort(key=lambda part: part["PartNumber"])
    except BaseException:
        with contextlib.suppress(Exception):
            take_back(fs, SentParts(bucket, key, place["UploadId"], ()))
        raise
    return SentParts(bucket, key, place["UploadId"], tuple(parts))


class _UploadPart(NamedTuple):
    """Bytes of an object that is there, or of the file."""

    old: StoredBytes | None
    start: int
    stop: int


def _parts(size: int, stored: Sequence[StoredBytes]) -> Iterator[_UploadPart]:
    position = 0
    copies, sends = (max(most, math.ceil(size / _MAX_PARTS * 2)) for most in (_COPY_BYTES, _PART_BYTES))
    for one in stored:
        if one.target > position:
            yield from (_UploadPart(None, *part) for part in _even(position, one.target, sends))
        yield from (_UploadPart(one, *part) for part in _even(one.start, one.start + one.length, copies))
        position = one.target + one.length
    yield from (_UploadPart(None, *part) for part in _even(position, size, sends))


def _even(start: int, stop: int, most: int) -> Iterator[tuple[int, int]]:
    """Ranges of about the same length, none of them longer than `most`."""
    count = max(math.ceil((stop - start) / most), 1)
    for number in range(count):
        yield start + (stop - start) * number // count, start + (stop - start) * (number + 1) // count


def _side_by_side(
    function: Callable[[int, _UploadPart], Mapping[str, Any]],
    numbered: Sequence[tuple[int, _UploadPart]],
    at_once: int,
) -> list[Mapping[str, Any]]:
    pool = ThreadPoolExecutor(at_once)
    try:
        return list(pool.map(lambda one: function(*one), numbered))
    finally:
        # After an interrupt nobody waits for answers: whoever ends the run ends the requests.
        pool.shutdown(wait=False, cancel_futures=True)


def complete(fs: Any, sent: SentParts) -> None:
    """The object is there, in the place of what was."""
    fs.call_s3(
        "complete_multipart_upload",
        Bucket=sent.bucket,
        Key=sent.key,
        UploadId=sent.upload_id,
        MultipartUpload={"Parts": list(sent.parts)},
    )


def take_back(fs: Any, sent: SentParts) -> None:
    fs.call_s3("abort_multipart_upload", Bucket=sent.bucket, Key=sent.key, UploadId=sent.upload_id)
