"""Findings as GitHub Actions takes them from a log: `::error file=a.parquet,title=…::message`.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from collections.abc import Iterator

from gaecli.diagnosis import Checkup, Finding
from gaecli.summary import Failure

_LEVELS = {"error": "error", "warning": "warning", "note": "notice"}


def annotation_lines(checkup: Checkup) -> Iterator[str]:
    """A line for each finding, and for each file that could not be examined."""
    for finding in checkup.findings:
        title = f"{finding.rule.code} {finding.rule.name}"
        yield _line(_LEVELS[finding.rule.severity], finding.file, title, _message(finding))
    for failure in checkup.failures:
        yield _line("error", failure.input, "gae check", _failure(failure))


def _message(finding: Finding) -> str:
    where = finding.place or ("" if finding.row is None else f"row {finding.row}")
    parts = [finding.message, f"first at {where}" if where else "", finding.fix or finding.rule.fix]
    return "\n".join(part for part in parts if part)


def _failure(failure: Failure) -> str:
    return failure.error if failure.hint is None else f"{failure.error}\n{failure.hint}"


def _line(level: str, file: str, title: str, message: str) -> str:
    return f"::{level} file={_property(file)},title={_property(title)}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
