"""What `gae doctor` ends in: the command to run and why, a question for the user, or nothing to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal

from gaecli.diagnosis import Checkup
from gaecli.inspection import Inspection
from gaecli.label_summary import LabelVerification
from gaecli.records import dataclass
from gaecli.results import Verification, Verifications
from gaecli.shown import Shown
from gaecli.summary import Failure

WhatToDo = Literal["run", "nothing to do", "question", "failed"]


@dataclass(frozen=True)
class Answer:
    """Flags that decide something; where `is_open`, the last one waits for a value."""

    flags: str
    is_open: bool = False
    #: It holds under a condition that the message names.
    is_conditional: bool = False


@dataclass(frozen=True)
class OpenQuestion:
    """What a file leaves open, with what speaks for either answer."""

    file: str
    message: str
    hint: str | None
    answers: Sequence[Answer]
    #: What may be named: column -> type.
    columns: Mapping[str, str]
    #: Of a command that cannot ask.
    exit_code: int
    #: The data set to be named instead, where a file of it was.
    root: str | None = None
    #: Why the last answer does not do.
    objection: str | None = None


@dataclass(frozen=True)
class Reason:
    """Flags of the command, and why they are there."""

    flags: str
    why: str


@dataclass(frozen=True)
class ColumnVerdict:
    """What is known of a column of advantages or returns that is there already."""

    column: str
    is_own: bool
    found: Verification | Verifications | LabelVerification | None
    #: Why nothing could be found out.
    error: str | None = None

    @property
    def is_reproduced(self) -> bool:
        return self.found is not None and self.found.exit_code == 0


@dataclass(frozen=True)
class Advice(Shown):
    """The result of one `gae doctor`."""

    inputs: Sequence[str]
    verdict: WhatToDo
    #: What `gae compute` is to be given; None where there is nothing to run, or something is open.
    command: str | None
    reasons: Sequence[Reason]
    #: One line on what there is to know beyond the command.
    remarks: Sequence[str]
    question: OpenQuestion | None
    inspection: Inspection | None
    checkup: Checkup | None
    columns: Sequence[ColumnVerdict]
    settings: Mapping[str, Any]
    failures: Sequence[Failure] = field(default_factory=tuple)
    seconds: float = 0.0

    @property
    def brief(self) -> str:
        if self.question is not None:
            return self.question.message.split("\n")[0]
        return self.command or ", ".join([self.verdict, *self.remarks])

    @property
    def exit_code(self) -> int:
        """3 where `gae check` finds errors; that of the question, or of what failed; else 0."""
        codes = [failure.exit_code for failure in self.failures]
        if self.question is not None:
            codes.append(self.question.exit_code)
        if self.checkup is not None:
            codes.append(self.checkup.exit_code)
        return max(codes, default=0)
