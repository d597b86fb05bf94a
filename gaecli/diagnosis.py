"""What `gae check` reports: rules, findings, and what was examined. Plain, as `gaecli.summary` is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from gaecli.records import dataclass
from gaecli.shown import Shown, listed, plural
from gaecli.summary import Failure

#: A note is no fault: it counts for nothing, `--strict` or not.
Severity = Literal["error", "warning", "note"]
EXIT_FINDINGS = 3


@dataclass(frozen=True)
class RuleInfo:
    """A rule for a person: what it finds, why that matters, and what to do."""

    code: str
    name: str
    severity: Severity
    summary: str
    why: str
    #: Public issues that it caused, `owner/repository#number`.
    bugs: Sequence[str]
    fix: str


@dataclass(frozen=True)
class Finding:
    """One rule that one stream of files breaks."""

    rule: RuleInfo
    file: str
    message: str
    #: So many rows, or what `unit` names; 0 where it is no number of things.
    count: int = 0
    unit: str = "row"
    #: First row of `file` concerned, with what is known of it in `place`.
    row: int | None = None
    place: str | None = None
    #: What to do here, where that is more than the rule can say.
    fix: str | None = None


@dataclass(frozen=True)
class Remedy:
    """What can be done about the findings of one rule: flags, if any."""

    code: str
    flags: Sequence[str]


@dataclass(frozen=True)
class Mending:
    """The command that deals with findings by flags, and what none deals with. Nothing is changed."""

    #: None where no flag deals with any, or `gae compute` would refuse it.
    command: str | None
    #: Each with the flags that the command has for it.
    mended: Sequence[Remedy]
    #: One of several flags, or one under a condition: the user knows which.
    undecided: Sequence[Remedy]
    #: The files have to be changed.
    in_data: Sequence[str]
    #: Why the command would be refused.
    refused: str | None = None


@dataclass(frozen=True)
class Checkup(Shown):
    """The result of one `gae check`."""

    findings: Sequence[Finding]
    #: Codes of the rules that were applied.
    codes: Sequence[str]
    num_files: int
    num_rows: int
    #: Files that could not be examined.
    failures: Sequence[Failure] = ()
    is_strict: bool = False
    seconds: float = 0.0
    #: All that were looked at.
    files: Sequence[str] = ()
    #: Where it was asked for.
    mending: Mending | None = None

    @property
    def num_errors(self) -> int:
        return sum(finding.rule.severity == "error" for finding in self.findings)

    @property
    def num_warnings(self) -> int:
        return sum(finding.rule.severity == "warning" for finding in self.findings)

    @property
    def num_notes(self) -> int:
        return len(self.findings) - self.num_errors - self.num_warnings

    @property
    def exit_code(self) -> int:
        counted = ("error", "warning") if self.is_strict else ("error",)
        mended = set() if self.mending is None else {remedy.code for remedy in self.mending.mended}
        is_bad = any(
            finding.rule.severity in counted and finding.rule.code not in mended for finding in self.findings
        )
        codes = [failure.exit_code for failure in self.failures]
        return max([*codes, EXIT_FINDINGS if is_bad else 0])

    @property
    def brief(self) -> str:
        return listed(
            plural(self.num_errors, "error"),
            plural(self.num_warnings, "warning"),
            plural(self.num_notes, "note") if self.num_notes else None,
            f"in {plural(self.num_rows, 'row')} of {plural(self.num_files, 'file')}",
            f"{len(self.failures):,} failed" if self.failures else None,
        )
