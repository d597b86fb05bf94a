"""What an object keeps when it is written anew, as the drivers of the stores read it and take it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_S3 = (
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
_GOOGLE = {
    "cache_control": "cacheControl",
    "content_disposition": "contentDisposition",
    "content_encoding": "contentEncoding",
    "content_language": "contentLanguage",
    "custom_time": "customTime",
}
_AZURE = ("cache_control", "content_disposition", "content_encoding", "content_language", "content_type")


def _s3(fs: Any, path: str) -> dict[str, Any]:
    bucket, key, _ = fs.split_path(path)
    old = fs.call_s3("head_object", Bucket=bucket, Key=key)
    return {name: old[name] for name in _S3 if old.get(name)}


def _google(fs: Any, path: str) -> dict[str, Any]:
    old = fs.info(path)
    fixed = {name: old[theirs] for name, theirs in _GOOGLE.items() if old.get(theirs)}
    kept = {
        "content_type": old.get("contentType"),
        "metadata": old.get("metadata"),
        "fixed_key_metadata": fixed,
    }
    return {name: value for name, value in kept.items() if value}


def _azure(fs: Any, path: str) -> dict[str, Any]:
    old = fs.info(path)
    settings = old.get("content_settings") or {}
    # Not its MD5, which is that of the old bytes.
    kept = {name: settings[name] for name in _AZURE if settings.get(name)}
    return {"content_settings": kept, "metadata": old.get("metadata")}


#: By package: arguments for its `open` from the object that is there. They raise `FileNotFoundError` if none is.
KEPT_HEADERS: dict[str, Callable[[Any, str], dict[str, Any]]] = {
    "s3fs": _s3,
    "gcsfs": _google,
    "adlfs": _azure,
}
