"""Uploads in parts that a killed run began on S3: nobody sees them, and their bytes cost money.

A bucket does not tell whose they are, nor whether that process lives. So one is taken back only if it is for an
object that this run is about to write itself, and if nothing was added to it for a day: the last part counts, not
only the beginning. Whatever else lies in the bucket is left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from gaecli.records import dataclass
from gaecli.storage.s3_parts import S3Sender
from gaecli.storage.uploads import SentObject

#: What S3 itself counts in where a rule of the bucket ends such uploads.
STALE_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class BegunUpload:
    bucket: str
    key: str
    upload_id: str
    num_bytes: int
    #: When it was begun, or a part of it was sent.
    last_sign: datetime

    @property
    def is_stale(self) -> bool:
        return datetime.now(UTC) - self.last_sign > STALE_AFTER

    def take_back(self, fs: Any) -> None:
        S3Sender(fs).take_back(SentObject(self.bucket, self.key, self.upload_id))


def begun_uploads(fs: Any, bucket: str, keys: Collection[str]) -> Iterator[BegunUpload]:
    """Those for these keys: one listing, and one more for each of them."""
    first, last = min(keys), max(keys)  # what these two begin with, all between them do
    prefix = first[
        : next(
            (at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first)
        )
    ]
    found = _pages(fs, "list_multipart_uploads", "Uploads", _NEXT_UPLOADS, Bucket=bucket, Prefix=prefix)
    for upload in [upload for upload in found if upload["Key"] in keys]:
        place = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
        parts = list(_pages(fs, "list_parts", "Parts", _NEXT_PARTS, **place))
        signs = [upload["Initiated"], *(part["LastModified"] for part in parts)]
        num_bytes = sum(int(part["Size"]) for part in parts)
        yield BegunUpload(bucket, upload["Key"], upload["UploadId"], num_bytes, max(signs))


_NEXT_UPLOADS = {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"}
_NEXT_PARTS = {"PartNumberMarker": "NextPartNumberMarker"}


def _pages(fs: Any, call: str, name: str, markers: dict[str, str], **place: str) -> Iterator[dict[str, Any]]:
    more: dict[str, Any] = {}
    while True:
        page = fs.call_s3(call, **place, **more)
        yield from page.get(name, [])
        further = {marker: page[following] for marker, following in markers.items() if page.get(following)}
        if not page.get("IsTruncated") or not further or further == more:
            return
        more = further
