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
from typing import Any

from gaecli.records import dataclass

#: A part that is not the last one has to have 5 MiB at least; what begins with fewer is sent as a whole.
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
class OldHead:
    """The first bytes of an object, with which a new one begins as well."""

    bucket: str
    key: str
    #: Of the object: another one must not have taken its place.
    tag: str
    length: int


def send_behind(
    fs: Any, bucket: str, key: str, source: Path, head: OldHead, headers: Mapping[str, Any]
) -> SentParts:
    """The bytes of a file but for its head, which the store copies from another object: they do not travel."""
    made = fs.call_s3("create_multipart_upload", Bucket=bucket, Key=key, **headers)
    place = {"Bucket": bucket, "Key": key, "UploadId": str(made["UploadId"])}

    def copy(number: int, start: int, stop: int) -> Mapping[str, Any]:
        found = fs.call_s3(
            "upload_part_copy",
            **place,
            PartNumber=number,
            CopySource={"Bucket": head.bucket, "Key": head.key},
            CopySourceRange=f"bytes={start}-{stop - 1}",
            CopySourceIfMatch=head.tag,
        )
        return {"PartNumber": number, "ETag": found["CopyPartResult"]["ETag"]}

    def send(number: int, start: int, stop: int) -> Mapping[str, Any]:
        with source.open("rb") as file:
            file.seek(start)
            found = fs.call_s3("upload_part", **place, PartNumber=number, Body=file.read(stop - start))
        return {"PartNumber": number, "ETag": found["ETag"]}

    size = source.stat().st_size
    try:
        copied = list(_even(0, head.length, max(_COPY_BYTES, math.ceil(head.length / _MAX_PARTS * 2))))
        rest = list(
            _even(head.length, size, max(_PART_BYTES, math.ceil((size - head.length) / _MAX_PARTS * 2)))
        )
        parts = [
            *_side_by_side(copy, enumerate(copied, start=1), _COPIES_AT_ONCE),
            *_side_by_side(send, enumerate(rest, start=len(copied) + 1), _SENDS_AT_ONCE),
        ]
    except BaseException:
        with contextlib.suppress(Exception):
            take_back(fs, SentParts(bucket, key, place["UploadId"], ()))
        raise
    return SentParts(bucket, key, place["UploadId"], tuple(parts))


def _even(start: int, stop: int, most: int) -> Iterator[tuple[int, int]]:
    """Ranges of about the same length, none of them longer than `most`."""
    count = max(math.ceil((stop - start) / most), 1)
    for number in range(count):
        yield start + (stop - start) * number // count, start + (stop - start) * (number + 1) // count


def _side_by_side(
    function: Callable[[int, int, int], Mapping[str, Any]],
    numbered: Iterator[tuple[int, tuple[int, int]]] | enumerate[tuple[int, int]],
    at_once: int,
) -> list[Mapping[str, Any]]:
    pool = ThreadPoolExecutor(at_once)
    try:
        return list(pool.map(lambda one: function(one[0], *one[1]), numbered))
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
