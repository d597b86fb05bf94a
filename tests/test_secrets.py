"""Keys and signatures in URIs are shown nowhere."""

from __future__ import annotations

import pytest

from gaecli.errors import GaeError, UsageError, without_secrets
from gaecli.storage.schemes import open_store


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://AKIA1:abc+/d=@bucket/key.parquet", "s3://***@bucket/key.parquet"),
        ("`https://u:p@h/x` and `s3://k:s@b/y`", "`https://***@h/x` and `s3://***@b/y`"),
        (
            "s3://b/x?X-Amz-Credential=A%2F&X-Amz-Signature=ff&part=1",
            "s3://b/x?X-Amz-Credential=***&X-Amz-Signature=***&part=1",
        ),
        ("az://c/x.parquet?sv=2024&sig=abc%3D", "az://c/x.parquet?sv=2024&sig=***"),
    ],
)
def test_keys_and_signatures_are_masked(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
    assert GaeError(text, hint=text).message == shown
    assert GaeError(text, hint=text).hint == shown
    assert str(GaeError(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "abfs://container@account.dfs.core.windows.net/x.parquet",
        "s3://bucket/a:b@c.parquet",
        "http://localhost:9000/bucket/a@b",
        "key: 3, sig=4",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize("uri", ["s3://AKIA1:abcd@bucket/x.parquet", "az://c/x.parquet?sig=abcd"])
def test_a_uri_that_carries_a_key_is_refused_without_showing_it(uri: str) -> None:
    with pytest.raises(UsageError, match="carries a key") as raised:
        open_store(uri)
    assert "abcd" not in raised.value.message
