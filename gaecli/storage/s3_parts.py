"""Uploads to S3 that one process sends and another makes visible.

The parts of an upload are nothing to readers of the bucket until it is completed, and that is one request with their
numbers and tags: it can come from anywhere. The drivers of other stores keep what is needed for it to themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gaecli.records import dataclass


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
