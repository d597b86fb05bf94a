"""A page of `gae report` read again without a browser: its elements, its data, its curves."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from typing import Any

import numpy as np

VOID = {"meta", "link", "input", "br", "img", "hr"}


class Elements(HTMLParser):
    """Start tags with their attributes, the text of scripts and styles, and whether all are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, dict[str, str | None], str]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style", "title"):
            self.texts.append((self.open[-1], self.tags[-1][1], data))


class ReadPage:
    def __init__(self, html: bytes) -> None:
        self.html = html.decode()
        self.elements = Elements(self.html)
        scripts = [
            (attributes.get("id"), text) for tag, attributes, text in self.elements.texts if tag == "script"
        ]
        self.data: dict[str, Any] = json.loads(dict(scripts)["data"])
        self.packed = base64.b64decode(dict(scripts).get("packed", ""))
        self.scripts = [text for name, text in scripts if name is None]

    def floats(self, place: list[int]) -> np.ndarray:
        return np.frombuffer(self.packed, "<f4", place[1], place[0] * 4)

    def counts(self, place: list[int]) -> np.ndarray:
        return np.frombuffer(self.packed, "<u4", place[1], place[0] * 4).astype(np.int64)

    def curves(self, index: int) -> dict[str, np.ndarray]:
        """By the rules of `data.js`: "steps", "rows", and each series."""
        curves = self.data["episodes"][index]["curves"]
        steps = np.arange(curves["count"]) if curves["steps"] is None else self.counts(curves["steps"])
        if curves["rows"] is None:
            rows = curves["firstRow"] + curves["rowStride"] * steps
        else:
            rows = curves["firstRow"] + self.counts(curves["rows"])
        series = {name: self.floats(place) for name, place in curves["series"].items()}
        return {"steps": steps, "rows": rows, **series}

    def episode(self, number: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """By its number: where it stands in the input."""
        index = next(i for i, one in enumerate(self.data["episodes"]) if one["number"] == number)
        return self.data["episodes"][index], self.curves(index)
