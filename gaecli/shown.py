"""Results where nobody asks for their fields: short in a session, and in a notebook as `gae` prints them."""

from __future__ import annotations

from importlib import import_module


class Shown:
    """A result with a line that tells what is in it."""

    @property
    def brief(self) -> str:
        """Counts, and what they come to."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.brief}>"

    def _repr_html_(self) -> str:
        # By name: reports stand above results, and only a notebook asks for one.
        shown: str = import_module("gaecli.report.notebook").as_html(self)
        return shown


def plural(count: int, noun: str) -> str:
    """`1 file`, `2 files`, `12,000 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(*parts: str | None) -> str:
    """Those that there are."""
    return ", ".join(part for part in parts if part)
