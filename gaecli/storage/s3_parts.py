"""Uploads to S3: parts that are nothing to readers of the bucket until one request lists their numbers and tags.

It can come from anywhere. What an object has in common with one that is there, the store copies itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

from gaecli.storage.uploads import PART_BYTES, NewObject, SentObject, StoredBytes

#: What S3 wants a part to have that is not the last one.
LEAST_PART_BYTES = 5 << 20
#: From this size on the store copies what a new object has of an old one.
LEAST_HEAD_BYTES = 16 << 20
#: What the store copies in one request, and how many such requests are under way.
_COPY_BYTES = 256 << 20
_COPIES_AT_ONCE = 8
_SENDS_AT_ONCE = 2
_MAX_PARTS = 9_000
#: Of what an object says of itself, what a new one in its place says as well.
_KEPT = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Metadata",
    "StorageClass",
    "ServerSideEncryption",
    "SSEKMSKeyId",
)


def num_copyable(stored: Sequence[StoredBytes]) -> int:
    """How many of these, from the first one on, can be parts of their own with what stands between them."""
    position = 0
    for number, one in enumerate(stored):
        gap = one.target - position
        if one.length < LEAST_PART_BYTES or 0 < gap < LEAST_PART_BYTES:
            return number
        position = one.target + one.length
    return len(stored)


class S3Sender:
    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def begin(self, path: str) -> SentObject:
        """Nothing was sent yet; any number of processes can do so, one after the other or at a time."""
        bucket, key, _ = self._fs.split_path(path)
        made = self._fs.call_s3("create_multipart_upload", Bucket=bucket, Key=key, **self._about(bucket, key))
        return SentObject(bucket, key, str(made["UploadId"]))

    def send(self, new: NewObject, begun: Callable[[SentObject], None]) -> SentObject:
        sent = new.begun
        if sent is None:
            sent = self.begin(new.path)
            begun(sent)
        place = _place(sent)

        def copy(number: int, part: _UploadPart) -> Mapping[str, Any]:
            old = part.old
            assert old is not None
            found = self._fs.call_s3(
                "upload_part_copy",
                **place,
                PartNumber=number,
                CopySource={"Bucket": old.bucket, "Key": old.key},
                CopySourceRange=f"bytes={part.start}-{part.stop - 1}",
                CopySourceIfMatch=old.tag,
            )
            return {"PartNumber": number, "ETag": found["CopyPartResult"]["ETag"]}

        def send(number: int, part: _UploadPart) -> Mapping[str, Any]:
            with new.source.open("rb") as file:
                file.seek(part.start)
                body = file.read(part.stop - part.start)
            found = self._fs.call_s3("upload_part", **place, PartNumber=number, Body=body)
            return {"PartNumber": number, "ETag": found["ETag"]}

        numbered = list(enumerate(_parts(new.source.stat().st_size, new.stored), start=1))
        parts = [
            *_side_by_side(copy, [one for one in numbered if one[1].old is not None], _COPIES_AT_ONCE),
            *_side_by_side(send, [one for one in numbered if one[1].old is None], _SENDS_AT_ONCE),
        ]
        parts.sort(key=lambda part: part["PartNumber"])
        return replace(sent, parts=tuple(parts))

    def complete(self, sent: SentObject) -> None:
        self._fs.call_s3(
            "complete_multipart_upload", **_place(sent), MultipartUpload={"Parts": list(sent.parts)}
        )

    def take_back(self, sent: SentObject) -> None:
        self._fs.call_s3("abort_multipart_upload", **_place(sent))

    def _about(self, bucket: str, key: str) -> dict[str, Any]:
        try:
            old = self._fs.call_s3("head_object", Bucket=bucket, Key=key)
        except FileNotFoundError:
            return {}
        return {name: old[name] for name in _KEPT if old.get(name)}


def make(fs: Any) -> S3Sender:
    return S3Sender(fs)


def _place(sent: SentObject) -> dict[str, str]:
    return {"Bucket": sent.bucket, "Key": sent.key, "UploadId": sent.upload_id}


class _UploadPart(NamedTuple):
    """Bytes of an object that is there, or of the file."""

    old: StoredBytes | None
    start: int
    stop: int


def _parts(size: int, stored: Sequence[StoredBytes]) -> Iterator[_UploadPart]:
    position = 0
    copies, sends = (max(most, math.ceil(size / _MAX_PARTS * 2)) for most in (_COPY_BYTES, PART_BYTES))
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
