"""A real S3 server on the loopback, in the test's own process, that can be told to fail.

It proves the protocol: what is asked for, in which order, and what is there afterwards. It is not Amazon.
"""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import certifi
import pytest
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

BUCKET = "rollouts"
_FORBIDDEN = "<Error><Code>AccessDenied</Code><Message>the test says no</Message></Error>"
_BROKEN = "<Error><Code>InternalError</Code><Message>the test broke it</Message></Error>"


@dataclass
class Request:
    method: str
    key: str
    query: str
    #: The object whose bytes the server is to take.
    copied: str = ""

    @property
    def is_part(self) -> bool:
        return self.method == "PUT" and "partNumber=" in self.query

    @property
    def is_completion(self) -> bool:
        return self.method == "POST" and "uploadId=" in self.query


Fault = Callable[[Request], Response | None]


class _Silent(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        """`requests` has them."""


@dataclass
class S3Server:
    """`fault` sees every request first; what it returns is the answer. `requests` is what was asked."""

    fault: Fault | None = None
    requests: list[Request] = field(default_factory=list)
    bytes_read: int = 0
    #: How many keys a page of a listing holds, where that is to be fewer than 1,000.
    page_keys: int | None = None

    def __enter__(self) -> S3Server:
        # Every worker collects these tests and one runs them: what takes a second to import waits until then.
        from moto.server import create_backend_app

        # No other service: to find out for each request which one it is for takes a fifth of the time of the answer.
        self._moto = create_backend_app("s3")
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Silent)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        # One authority: clients read all of them before their first request, and this takes as long as ten requests.
        self._authority = tempfile.NamedTemporaryFile("w", suffix=".pem")
        certificate, end, _ = certifi.contents().partition("-----END CERTIFICATE-----")
        self._authority.write(certificate + end)
        self._authority.flush()
        self.client.create_bucket(Bucket=BUCKET)
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._authority.close()

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CA_BUNDLE": self._authority.name,
        }

    def stands_for_amazon(self, patch: pytest.MonkeyPatch) -> None:
        """In this process."""
        take_driver_for(self.env)
        for name, value in self.env.items():
            patch.setenv(name, value)

    @cached_property
    def client(self) -> Any:
        """One for all: to make it takes longer than a request."""
        env = self.env
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=env["AWS_ENDPOINT_URL"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
            config=Config(retries={"max_attempts": 1}),
        )

    def reset(self) -> None:
        """No objects, no faults, no memory of requests."""
        from moto.s3.models import s3_backends

        self.fault = self.page_keys = None
        for account in s3_backends.values():  # a request for each object takes longer than many a test
            for backend in account.values():
                backend.reset()
        self.client.create_bucket(Bucket=BUCKET)
        self.forget()

    def forget(self) -> None:
        self.requests.clear()
        self.bytes_read = 0

    def put(self, key: str, body: bytes, **headers: Any) -> str:
        """The URI of a new object."""
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body, **headers)
        return f"s3://{BUCKET}/{key}"

    def get(self, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return body

    def etag(self, key: str) -> str:
        etag: str = self.client.head_object(Bucket=BUCKET, Key=key)["ETag"]
        return etag

    def keys(self) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def pending(self) -> list[dict[str, Any]]:
        """Uploads that were begun and neither completed nor aborted: their parts cost money."""
        uploads: list[dict[str, Any]] = self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        return uploads

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"].removeprefix(f"/{BUCKET}").lstrip("/")
        request = Request(
            environ["REQUEST_METHOD"],
            path,
            environ.get("QUERY_STRING", ""),
            environ.get("HTTP_X_AMZ_COPY_SOURCE", ""),
        )
        self.requests.append(request)
        answer = self.fault(request) if self.fault is not None else None
        if answer is not None:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return answer(environ, start_response)

        if self.page_keys is not None and "list-type=2" in request.query:
            environ["QUERY_STRING"] = (
                f"{re.sub('max-keys=[0-9]+', '', request.query)}&max-keys={self.page_keys}"
            )

        def counting_start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            if request.method == "GET" and request.key:
                self.bytes_read += int(dict(headers).get("Content-Length", 0))
            return start_response(status, headers, *rest)

        return self._moto(environ, counting_start)


#: What the driver of this process was made with.
_made_with: dict[str, str] = {}


def take_driver_for(env: Mapping[str, str]) -> None:
    """It keeps the server and the credentials that it was made with; to make it takes as long as many requests."""
    import s3fs

    wanted = {name: value for name, value in env.items() if name.startswith("AWS_")}
    if wanted != _made_with:
        s3fs.S3FileSystem.clear_instance_cache()
        _made_with.clear()
        _made_with.update(wanted)


def forbid(*_: object) -> Response:
    return Response(_FORBIDDEN, status=403, content_type="application/xml")


def break_down(*_: object) -> Response:
    return Response(_BROKEN, status=500, content_type="application/xml")
