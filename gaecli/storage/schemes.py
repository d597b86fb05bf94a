"""Which object stores there are, and which package speaks to each. One row registers a store."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from gaecli.errors import MissingExtraError, UsageError, without_secrets
from gaecli.records import dataclass

_URI = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")
#: What `pathlib` makes of a URI.
_COLLAPSED = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")


@dataclass(frozen=True)
class Scheme:
    """A store by the first word of its URIs."""

    name: str
    #: The package that fsspec finds the store through, and the extra of gaecli that installs it.
    package: str
    extra: str
    #: The module of this room that sends new objects; none where they can only be read.
    sender: str = ""
    #: It copies ranges of objects into new ones, and lists uploads that were begun.
    copies_ranges: bool = False
    #: For reading ranges.
    read_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def can_write(self) -> bool:
        return self.sender != ""


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("s3", "s3fs", "s3", "s3_parts", copies_ranges=True),
        Scheme("s3a", "s3fs", "s3", "s3_parts", copies_ranges=True),
        Scheme("gs", "gcsfs", "gcs", "google_sessions"),
        Scheme("gcs", "gcsfs", "gcs", "google_sessions"),
        Scheme("abfs", "adlfs", "azure", "azure_blocks"),
        Scheme("abfss", "adlfs", "azure", "azure_blocks"),
        Scheme("az", "adlfs", "azure", "azure_blocks"),
        # Its writer makes one commit per file and cannot take it back.
        # And it reads 5 MiB ahead where nobody says that it should not.
        Scheme("hf", "huggingface_hub", "hf", read_options={"cache_type": "none"}),
    )
}


def uri_of(source: str | Path) -> str | None:
    """The URI that a source is, if it is one; `Path("s3://bucket/key")` still means it."""
    text = str(source)
    if isinstance(source, Path) and (match := _COLLAPSED.match(text)) and match[1].lower() in SCHEMES:
        return f"{match[1]}://{text[match.end() :]}"
    return text if _URI.match(text) else None


def scheme_of(uri: str) -> Scheme:
    """Raises `UsageError` for what is no store."""
    match = _URI.match(uri)
    scheme = SCHEMES.get(match[1].lower()) if match else None
    if scheme is None:
        known = ", ".join(f"`{name}://`" for name in SCHEMES)
        raise UsageError(f"`{uri}` is of no kind that gaecli reads", hint=f"a local path, or one of {known}")
    return scheme


def open_store(uri: str) -> Any:
    """The fsspec file system behind a URI. Raises `MissingExtraError` if its package is not installed."""
    scheme = scheme_of(uri)
    if without_secrets(uri) != uri:
        raise UsageError(
            f"`{uri}` carries a key: commands are seen by others, in lists of processes and in histories",
            hint="give it to the store's own client, by its environment variables or its configuration, and "
            "leave it out of the name",
        )
    if importlib.util.find_spec("fsspec") is None or importlib.util.find_spec(scheme.package) is None:
        raise MissingExtraError(
            f"`{uri}`: reading `{scheme.name}://` needs the extra `{scheme.extra}`",
            hint=f"pip install 'gaecli[{scheme.extra}]'",
        )
    import logging

    import fsspec

    # A driver logs what it falls back to, many times over, and with no logging set up that goes to stderr.
    logging.getLogger(scheme.package).addHandler(logging.NullHandler())
    # Listings are not kept: what somebody else wrote a moment ago has to be seen.
    options = {} if scheme.name == "hf" else {"use_listings_cache": False}
    store, _ = fsspec.core.url_to_fs(uri, **options)
    return store
