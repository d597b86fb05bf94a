"""Uploads to Azure's store: blocks that belong to no object before one request lists them.

Any process may send some and any may send the list. What nobody lists cannot be taken back: it is dropped when the
object is written by somebody else, and after a week.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from gaecli.storage.uploads import (
    NOTHING,
    NewObject,
    ReplacedMeanwhileError,
    SentObject,
    part_bytes,
    pieces_of,
)

#: Of what an object says of itself, what a new one in its place says as well. Not its MD5: that is of the old bytes.
_KEPT = ("cache_control", "content_disposition", "content_encoding", "content_language", "content_type")
_SENDS_AT_ONCE = 2


class AzureSender:
    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def send(self, new: NewObject, begun: Callable[[SentObject], None]) -> SentObject:
        container, blob, _ = self._fs.split_path(new.path)
        size = new.source.stat().st_size
        sent = SentObject(container, blob, size=size, replaces=new.replaces, headers=self._about(new.path))
        begun(sent)
        blocks = self._run(self._staged(container, blob, new.source, size))
        return replace(sent, parts=tuple(blocks))

    def complete(self, sent: SentObject) -> None:
        self._run(self._listed(sent))

    def take_back(self, sent: SentObject) -> None:
        """Azure has no request for it."""

    def _run(self, work: Any) -> Any:
        from fsspec.asyn import sync

        return sync(self._fs.loop, lambda: work)

    async def _staged(self, container: str, blob: str, source: Path, size: int) -> list[str]:
        """The names of all blocks, in order: of one length, as those of one object have to be."""
        client = self._fs.service_client.get_blob_client(container, blob)
        free = asyncio.Semaphore(_SENDS_AT_ONCE)

        async def stage(start: int, stop: int) -> str:
            async with free:
                with source.open("rb") as file:
                    file.seek(start)
                    piece = file.read(stop - start)
                name = uuid4().hex
                await client.stage_block(name, piece, length=len(piece))
                return name

        tasks = [asyncio.ensure_future(stage(*piece)) for piece in pieces_of(size, part_bytes(size))]
        try:
            return list(await asyncio.gather(*tasks))
        finally:  # after the first error the others are of no use
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listed(self, sent: SentObject) -> None:
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceExistsError, ResourceModifiedError
        from azure.storage.blob import BlobBlock, ContentSettings

        client = self._fs.service_client.get_blob_client(sent.bucket, sent.key)
        headers = dict(sent.headers or {})
        condition: dict[str, Any] = {}
        if sent.replaces == NOTHING:
            condition["match_condition"] = MatchConditions.IfMissing
        elif sent.replaces is not None:
            condition = {"match_condition": MatchConditions.IfNotModified, "etag": f'"{sent.replaces}"'}
        try:
            await client.commit_block_list(
                [BlobBlock(name) for name in sent.parts],
                metadata=headers.get("metadata"),
                content_settings=ContentSettings(**headers.get("content_settings", {})),
                **condition,
            )
        except (ResourceExistsError, ResourceModifiedError) as error:
            # Perhaps by this very request: it is sent again where its answer is lost.
            committed, _ = await client.get_block_list("committed")
            if [block.id for block in committed] != list(sent.parts):
                raise ReplacedMeanwhileError from error

    def _about(self, path: str) -> dict[str, Any]:
        try:
            old: Mapping[str, Any] = self._fs.info(path)
        except FileNotFoundError:
            return {"metadata": {"is_directory": "false"}}  # as the driver has it of all that it writes
        settings = old.get("content_settings") or {}
        kept = {name: settings[name] for name in _KEPT if settings.get(name)}
        return {"content_settings": kept, "metadata": old.get("metadata")}


def make(fs: Any) -> AzureSender:
    return AzureSender(fs)
