"""The part of YAML that cards are read with, and JSON in the style of its file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gaecli.datasets.base import in_the_style_of
from gaecli.datasets.hub.front_matter import NotPlainError, front_matter, quoted


def test_yaml_is_read_as_it_is_meant() -> None:
    text = """---
    # nothing
a: 1
dataset_info:
- one: 'it''s'
  two: "x y" # comment
  three:
  - - p
    - q
  - r
-   four:
    five: a:b
b: {c: d}
---
dataset_info: no
"""
    found = front_matter(text.splitlines(keepends=True), ["dataset_info"])
    assert found["dataset_info"].plain() == [
        {"one": "it's", "two": "x y", "three": [["p", "q"], "r"]},
        {"four": "", "five": "a:b"},
    ]


@pytest.mark.parametrize("text", ["", "---\n", "# x\n---\ndataset_info:\n  a: b\n---\n", "--- x\n---\n"])
def test_without_front_matter_there_is_none(text: str) -> None:
    assert front_matter(text.splitlines(keepends=True), ["dataset_info"]) == {}


@pytest.mark.parametrize(
    "body",
    [
        "\ta: b",
        "  a: b\n c: d",
        "  a: >\n    text",
        "  a: *alias",
        "  a: !tag x",
        "  a: b: c",
        "  a: 'open",
        "  a: b\n    more",
        "  a: b\n  a: c",
        "  just text",
        "  ? a\n  : b",
    ],
)
def test_what_is_not_plain_is_not_guessed(body: str) -> None:
    lines = f"---\ndataset_info:\n{body}\n---\n".splitlines(keepends=True)
    with pytest.raises(NotPlainError):
        front_matter(lines, ["dataset_info"])


def test_deep_nesting_ends_soon() -> None:
    body = "".join(f"{' ' * depth}a:\n" for depth in range(1, 3000))
    with pytest.raises(NotPlainError):
        front_matter(f"---\ndataset_info:\n{body}---\n".splitlines(keepends=True), ["dataset_info"])


@pytest.mark.parametrize(
    ("name", "text"),
    [("next.reward", "next.reward"), ("on", "'on'"), ("it's", "'it''s'"), ("5", "'5'"), ("a: b", "'a: b'")],
)
def test_names_are_quoted_where_they_mean_something_else(name: str, text: str) -> None:
    assert quoted(name) == text


@pytest.mark.parametrize("indent", [None, 1, 2, 4, "\t"])
@pytest.mark.parametrize("ensure_ascii", [False, True])
@pytest.mark.parametrize("ending", ["", "\n"])
def test_json_keeps_its_style(indent: int | str | None, ensure_ascii: bool, ending: str) -> None:
    style: dict[str, Any] = {"indent": indent, "ensure_ascii": ensure_ascii}
    old, new = {"a": "é", "b": [1]}, {"a": "é", "b": [1], "c": {}}
    text = json.dumps(old, **style) + ending
    assert in_the_style_of(text.encode(), old, new) == (json.dumps(new, **style) + ending).encode()
