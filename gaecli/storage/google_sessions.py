"""Uploads to Google's store: a resumable session, of which nothing is seen before its last bytes are there.

The session has one address, which any process may send to. All but the last request take multiples of 256 KiB, so up
to that much waits for the completion. A session that nobody completes is cancelled, or ends by itself after a week.
"""

from __future__ import annotations

import contextlib
import json
import mimetypes
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from gaecli.errors import UsageError
from gaecli.storage.uploads import NOTHING, NewObject, ReplacedMeanwhileError, SentObject, part_bytes

#: What all pieces but the last are multiples of.
PIECE_BYTES = 256 << 10
#: Of what an object says of itself, what a new one in its place says as well.
_KEPT = (
    "cacheControl",
    "contentDisposition",
    "contentEncoding",
    "contentLanguage",
    "contentType",
    "customTime",
    "metadata",
)
#: How often the store may take nothing of a piece.
_MOST_REFUSALS = 5


class GoogleSender:
    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def send(self, new: NewObject, begun: Callable[[SentObject], None]) -> SentObject:
        bucket, key, _ = self._fs.split_path(new.path)
        self._check_can_be_taken_back(bucket, new.path)
        size = new.source.stat().st_size
        about = self._about(new.path)
        about.setdefault("contentType", mimetypes.guess_type(key)[0] or "application/octet-stream")
        # Told with every request: an emulator believes the last one.
        headers = {"Content-Type": str(about["contentType"])}
        sent = SentObject(bucket, key, self._begin(bucket, key, about, new), size=size, headers=headers)
        begun(sent)
        last = size // PIECE_BYTES * PIECE_BYTES
        most, position, refusals = part_bytes(size), 0, 0
        with new.source.open("rb") as file:
            while position < last:
                file.seek(position)
                piece = file.read(min(most, last - position))
                reached = self._put(sent, position, piece)
                refusals = 0 if reached > position else refusals + 1
                if refusals > _MOST_REFUSALS or not 0 <= reached <= last:
                    raise OSError("the store took nothing of what was sent")
                position = reached
            file.seek(last)
            return replace(sent, tail=file.read())

    def complete(self, sent: SentObject) -> None:
        start = sent.size - len(sent.tail)
        place = f"{start}-{sent.size - 1}" if sent.tail else "*"
        with _unnamed():
            try:
                _, answer = self._post(sent, f"{place}/{sent.size}", sent.tail)
            except FileExistsError as error:  # which is how the driver says 412
                raise ReplacedMeanwhileError from error
        if int(json.loads(answer)["size"]) != sent.size:
            raise OSError("the store has not all of what was sent")

    def take_back(self, sent: SentObject) -> None:
        self._fs.call("DELETE", sent.upload_id)

    def _begin(self, bucket: str, key: str, about: Mapping[str, Any], new: NewObject) -> str:
        condition = {}
        if new.replaces is not None:
            condition["ifGenerationMatch"] = "0" if new.replaces == NOTHING else new.replaces
        headers, _ = self._fs.call(
            "POST",
            f"{self._fs._location}/upload/storage/v1/b/{quote(bucket)}/o",
            name=key,
            uploadType="resumable",
            json={**about, "name": key},
            headers={"X-Upload-Content-Type": about["contentType"]},
            **condition,
        )
        return str(headers["Location"])

    def _about(self, path: str) -> dict[str, Any]:
        try:
            old: Mapping[str, Any] = self._fs.info(path)
        except FileNotFoundError:
            return {}
        return {name: old[name] for name in _KEPT if old.get(name)}

    def _put(self, sent: SentObject, start: int, piece: bytes) -> int:
        """Up to where the store has all bytes now."""
        with _unnamed():
            answer, _ = self._post(sent, f"{start}-{start + len(piece) - 1}/*", piece)
        return int(answer["Range"].rpartition("-")[2]) + 1 if "Range" in answer else 0

    def _post(self, sent: SentObject, place: str, piece: bytes) -> tuple[Mapping[str, str], bytes]:
        size = {"Content-Range": f"bytes {place}", "Content-Length": str(len(piece))}
        answer: tuple[Mapping[str, str], bytes] = self._fs.call(
            "POST", sent.upload_id, headers={**(sent.headers or {}), **size}, data=piece or None
        )
        return answer

    def _check_can_be_taken_back(self, bucket: str, path: str) -> None:
        look = getattr(self._fs, "_sync_lookup_bucket_type", None)
        if look is not None and look(bucket).name == "ZONAL_HIERARCHICAL":
            raise UsageError(
                f"`gs://{path}` is in a zonal bucket, where an object is there from its first byte on",
                hint="write the result elsewhere with `--output`",
            )


@contextlib.contextmanager
def _unnamed() -> Iterator[None]:
    """Errors of the driver name the address of the session, with which anybody can write."""
    try:
        yield
    except (ReplacedMeanwhileError, PermissionError):
        raise
    except Exception as error:
        lines = [line for line in str(error).splitlines() if "upload_id" not in line and "://" not in line]
        raise OSError(lines[0] if lines else f"{type(error).__name__} from the store") from None


def make(fs: Any) -> GoogleSender:
    return GoogleSender(fs)
