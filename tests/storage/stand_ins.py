"""Google's and Azure's stores as their drivers show them, in the memory of this process and with nothing installed.

They keep to what the services say of uploads: pieces of 256 KiB of which the store may take less than it was given,
blocks of names of one length that belong to no object before they are listed, conditions on what is replaced.
The real drivers meet emulators in test_other_stores.py.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

import fsspec.asyn
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

PIECE = 256 << 10


class StandIn(MemoryFileSystem):  # type: ignore[misc]
    """`fault` sees every request of an upload first, by its kind: it raises, or changes what is there."""

    cachable = False
    scheme = ""

    def __init__(self) -> None:
        super().__init__()
        self.store: dict[str, Any] = {}
        self.pseudo_dirs = [""]
        self.versions: dict[str, str] = {}
        self.about: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.fault: Callable[[str], None] = lambda kind: None
        self._numbers = itertools.count(1)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + str(path).partition("://")[2].strip("/") if "://" in str(path) else str(path).rstrip("/")

    def split_path(self, path: str) -> tuple[str, str, None]:
        bucket, _, key = path.strip("/").partition("/")
        return bucket, key, None

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        self.asked.append(("info", path))
        return self._described(super().info(path))

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        prefix: str = "",
    ) -> Any:
        self.asked.append(("list", path))
        found = super().find(path, maxdepth=maxdepth, detail=True)
        return {
            name: self._described(entry)
            for name, entry in found.items()
            if name.startswith(f"{path.rstrip('/')}/{prefix}")
        }

    def put_object(self, bucket: str, key: str, body: bytes, **about: Any) -> None:
        path = f"/{bucket}/{key}"
        self.store[path] = MemoryFile(self, path, body)
        self.versions[path] = self.version()
        self.about[path] = about

    def objects(self) -> dict[str, bytes]:
        return {path: bytes(file.getvalue()) for path, file in sorted(self.store.items())}

    def version(self) -> str:
        return str(next(self._numbers))

    def request(self, kind: str) -> None:
        self.asked.append((kind, ""))
        self.fault(kind)

    def pending(self) -> list[str]:
        raise NotImplementedError

    def _described(self, entry: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError


@dataclass
class _Session:
    bucket: str
    key: str
    about: dict[str, Any]
    condition: str | None
    body: bytearray = field(default_factory=bytearray)


class GoogleStandIn(StandIn):
    scheme = "gs"
    _location = "https://store.invalid"
    #: Of a piece the store takes this much at most.
    most_taken = sys.maxsize

    def __init__(self) -> None:
        super().__init__()
        self.sessions: dict[str, _Session] = {}

    def call(
        self,
        method: str,
        path: str,
        *,
        headers: Any = None,
        data: Any = None,
        json: Any = None,
        **parameters: str,
    ) -> tuple[dict[str, str], bytes]:
        if method == "DELETE":
            del self.sessions[path]
            return {}, b""
        if parameters.get("uploadType") == "resumable":
            return self._begun(path, json, headers, parameters)
        try:
            return self._taken(path, headers, data or b"")
        except ConnectionError as error:  # as the driver tells it, with the address
            raise RuntimeError(f"{path}?{error}\n{error}") from error

    def _begun(self, path: str, about: Any, headers: Any, parameters: Any) -> tuple[dict[str, str], bytes]:
        self.request("begin")
        place = f"{path}?uploadType=resumable&upload_id=secret{self.version()}"
        about = {**about, "contentType": headers["X-Upload-Content-Type"]}
        bucket = path.split("/")[-2]
        self.sessions[place] = _Session(bucket, about.pop("name"), about, parameters.get("ifGenerationMatch"))
        return {"Location": place}, b""

    def _taken(self, path: str, headers: Any, data: bytes) -> tuple[dict[str, str], bytes]:
        session = self.sessions[path]
        place, _, total = headers["Content-Range"].removeprefix("bytes ").partition("/")
        self.request("part" if total == "*" else "completion")
        start = len(session.body) if place == "*" else int(place.split("-")[0])
        assert start <= len(session.body)
        if total == "*":
            assert len(data) % PIECE == 0
            data = data[: max(self.most_taken // PIECE, 0) * PIECE]
        session.body[start:] = data
        if total == "*":
            return ({"Range": f"bytes=0-{len(session.body) - 1}"} if session.body else {}), b""
        assert len(session.body) == int(total)
        there = self.versions.get(f"/{session.bucket}/{session.key}", "0")
        if session.condition not in (None, there):
            raise FileExistsError(path)
        del self.sessions[path]
        self.put_object(session.bucket, session.key, bytes(session.body), **session.about)
        return {}, json.dumps({"size": str(len(session.body))}).encode()

    def pending(self) -> list[str]:
        return list(self.sessions)

    def _described(self, entry: dict[str, Any]) -> dict[str, Any]:
        path = entry["name"]
        known = {"generation": self.versions[path], "etag": "of labels too"} if path in self.versions else {}
        return {**entry, **known, **self.about.get(path, {})}


class _ModifiedError(Exception):
    pass


class _MatchConditions(Enum):
    IfMissing = 1
    IfNotModified = 2


class AzureStandIn(StandIn):
    scheme = "abfs"

    def __init__(self) -> None:
        super().__init__()
        self.loop = fsspec.asyn.get_loop()
        self.service_client = self
        self.blocks: dict[str, dict[str, bytes]] = {}
        self.lists: dict[str, list[str]] = {}

    def get_blob_client(self, container: str, blob: str) -> _Blob:
        return _Blob(self, container, blob)

    def pending(self) -> list[str]:
        """Nobody can take blocks back: they are no objects, and that is all."""
        return []

    def _described(self, entry: dict[str, Any]) -> dict[str, Any]:
        path = entry["name"]
        known = {"etag": self.versions[path]} if path in self.versions else {}
        return {**entry, **known, **self.about.get(path, {})}


@dataclass
class _Blob:
    store: AzureStandIn
    container: str
    blob: str

    @property
    def path(self) -> str:
        return f"/{self.container}/{self.blob}"

    async def stage_block(self, name: str, data: bytes, length: int) -> None:
        await asyncio.sleep(0)
        self.store.request("part")
        assert len(data) == length > 0
        blocks = self.store.blocks.setdefault(self.path, {})
        assert len({len(other) for other in (*blocks, name)}) == 1
        blocks[name] = data

    async def commit_block_list(
        self,
        blocks: list[str],
        metadata: Any,
        content_settings: Any,
        match_condition: Any = None,
        etag: str = "",
    ) -> None:
        is_lost = False
        try:
            self.store.request("completion")
        except TimeoutError:  # the answer: the client sends it again
            is_lost = True
        there = self.store.versions.get(self.path)
        is_other = (
            there is not None
            if match_condition is _MatchConditions.IfMissing
            else match_condition is not None and etag != f'"{there}"'
        )
        if is_other:
            raise _ModifiedError
        staged = self.store.blocks.pop(self.path, {})
        body = b"".join(staged[name] for name in blocks)
        self.store.lists[self.path] = list(blocks)
        self.store.put_object(
            self.container, self.blob, body, metadata=metadata, content_settings=vars(content_settings)
        )
        if is_lost:
            raise _ModifiedError

    async def get_block_list(self, kind: str) -> tuple[list[Any], list[Any]]:
        assert kind == "committed"
        return [SimpleNamespace(id=name) for name in self.store.lists.get(self.path, [])], []


def stand_in(scheme: str, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """What every URI of these stores leads to from here on."""
    if scheme == "gs":
        made: StandIn = GoogleStandIn()
    else:
        made = AzureStandIn()
        for name, content in {
            "azure": {},
            "azure.core": {"MatchConditions": _MatchConditions},
            "azure.core.exceptions": {
                "ResourceModifiedError": _ModifiedError,
                "ResourceExistsError": _ModifiedError,
            },
            "azure.storage": {},
            "azure.storage.blob": {"BlobBlock": str, "ContentSettings": SimpleNamespace},
        }.items():
            module = ModuleType(name)
            vars(module).update(content)
            monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("gaecli.storage.objects.open_store", lambda uri: made)
    return made
