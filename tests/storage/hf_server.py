"""A stand-in for the Hugging Face Hub on the loopback: what `huggingface_hub`'s `HfFileSystem` asks for, and no more.

One data set repository with revisions. It proves which requests are made and what becomes of the answers;
it is written after the Hub's API as `huggingface_hub` speaks it, and is not the Hub.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from storage.loopback import Loopback

REPOSITORY = "user/rollouts"
_API = re.compile(rf"/api/datasets/{REPOSITORY}(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?$")
_RESOLVE = re.compile(rf"/datasets/{REPOSITORY}/resolve/([^/]+)/(.*)$")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: HubServer

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, method: str) -> None:
        hub = self.state
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        hub.requests.append(f"{method} {self.path}")
        status = hub.fault(method, self.path) if hub.fault is not None else None
        if status is not None:
            self._send(status, b'{"error": "the test says no"}')
        elif match := _RESOLVE.match(url.path):
            self._resolve(unquote(match[1]), unquote(match[2]))
        elif match := _API.match(url.path):
            self._tell(
                match[1], unquote(match[2] or "main"), unquote(match[3] or ""), parse_qs(url.query), body
            )
        else:
            self._missing("RepoNotFound")

    def _tell(
        self, what: str | None, revision: str, path: str, query: dict[str, list[str]], body: bytes
    ) -> None:
        files = self.state.revisions.get(revision)
        if files is None:
            self._missing("RevisionNotFound")
        elif what == "tree":
            recursive = query.get("recursive", [""])[0].lower() == "true"
            entries = _listing(files, path, recursive)
            if entries or not path:
                self._page(entries, query)
            else:
                self._missing("EntryNotFound")
        elif what == "paths-info":
            paths = parse_qs(body.decode()).get("paths", [])
            self._send_json([_entry(files, name) for name in paths if name in files])
        else:
            self._send_json({"_id": "1", "id": REPOSITORY, "sha": "0" * 40, "siblings": [], "tags": []})

    def _page(self, entries: list[dict[str, Any]], query: dict[str, list[str]]) -> None:
        size, start = self.state.page_entries, int(query.get("cursor", ["0"])[0])
        headers = {}
        if start + size < len(entries):
            recursive = query.get("recursive", ["False"])[0]
            address = f"{self.state.url}{urlsplit(self.path).path}"
            headers["Link"] = f'<{address}?recursive={recursive}&cursor={start + size}>; rel="next"'
        self._send_json(entries[start : start + size], headers)

    def _resolve(self, revision: str, path: str) -> None:
        body = self.state.revisions.get(revision, {}).get(path)
        if body is None:
            self._missing("EntryNotFound")
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked:
            first, last = int(asked[1]), min(int(asked[2]), len(body) - 1)
            part = body[first : last + 1]
            headers = {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
        else:
            part, headers = body, {}
        self.state.bytes_read += len(part)
        self._send(206 if asked else 200, part, headers | {"Accept-Ranges": "bytes"})

    def _missing(self, code: str) -> None:
        self._send(404, b'{"error": "not there"}', {"X-Error-Code": code})

    def _send_json(self, value: Any, headers: dict[str, str] | None = None) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"} | (headers or {}))

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@dataclass
class HubServer(Loopback):
    """`fault` sees every request first; a status that it returns is the answer. `bytes_read` counts contents."""

    handler = _Handler

    fault: Callable[[str, str], int | None] | None = None
    #: Entries per page of a listing; the Hub has 1,000.
    page_entries: int = 1000
    requests: list[str] = field(default_factory=list)
    bytes_read: int = 0
    #: Revision, then path, to contents.
    revisions: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {}})

    @property
    def env(self) -> dict[str, str]:
        return {"HF_ENDPOINT": self.url, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_TOKEN": ""}

    def put(self, path: str, body: bytes, revision: str = "main") -> str:
        """The URI of a new file."""
        self.revisions.setdefault(revision, {})[path] = body
        at = "" if revision == "main" else f"@{revision}"
        return f"hf://datasets/{REPOSITORY}{at}/{path}"


def _listing(files: dict[str, bytes], path: str, recursive: bool) -> list[dict[str, Any]]:
    """Files and folders below a folder, as the Hub's `tree` lists them."""
    prefix = f"{path}/" if path else ""
    below = sorted(name for name in files if name.startswith(prefix))
    folders = {
        "/".join(name.split("/")[:depth]) for name in below for depth in range(1, name.count("/") + 1)
    } - {path}
    folders = {name for name in folders if name.startswith(prefix)}
    entries = [{"type": "directory", "path": name, "oid": "1" * 40, "size": 0} for name in sorted(folders)]
    entries += [_entry(files, name) for name in below]
    return [entry for entry in entries if recursive or "/" not in entry["path"][len(prefix) :]]


def _entry(files: dict[str, bytes], path: str) -> dict[str, Any]:
    body = files[path]
    return {"type": "file", "path": path, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
