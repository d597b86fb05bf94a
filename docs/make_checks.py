"""Writes `docs/checks.md` from the table of rules: `python docs/make_checks.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gaecli.checks.registry import RULES
from gaecli.diagnosis import RuleInfo

OUTPUT = Path(__file__).resolve().parent / "checks.md"

HEAD = """\
# Checks

<!-- Written by docs/make_checks.py from the table of rules; edit the rules in gaecli/checks/. -->

`gae check INPUT...` looks for what is wrong, or likely to be, in rollout files. It writes nothing.

    gae check rollouts.parquet                     # every rule
    gae check runs/ --select GAE0,GAE302           # codes, or how they begin
    gae check runs/ --ignore value-scale --strict  # names work too; warnings count as errors
    gae check runs/ --output-format github         # annotations of a pull request, in GitHub Actions
    gae check rollouts.parquet --fix               # the command with the flags that deal with findings
    gae check --list                               # the table below

It ends with 3 if it found errors, with 0 if it found warnings or nothing (`--strict`: with 3 on warnings;
`--exit-zero`: with 0 on errors too), and with the exit code of the error where a file cannot be opened, or not be
read without a flag. `--json` prints one document. A file without errors is one that `gae compute` accepts: what it
would refuse for another reason is GAE900.

Flags that say how a file is to be read are those of `gae compute`. `--truncation` and `--bootstrap` are among them:
with `--bootstrap error`, say, open ends without a value after them are an error (GAE900).

An error is something that makes numbers wrong. A warning is a suspicion, or something that other tools trip over. A
note is neither: it is told, and counts for nothing.

`--fix` changes no file either: what is wrong in a file is mended where it is written. But where one flag of
`gae compute` deals with a finding, and nothing depends on what only you know, it ends in the command that has
all such flags and is accepted; with `--quiet` that is all. Beside it stand the findings that several flags deal
with, or one under a condition (`yours to decide`: `gae doctor` asks), and those that need the data to be
changed. Errors that the command deals with do not count for the exit code.

Rules about groups (GAE6) look at responses that are compared with one another: pass
`--group-column COLUMN`, as to `gae compute`. [Logs that libraries write](formats.md#logs-of-responses) are recognised
without. Groups are those of all inputs.

| code | severity | rule | finds |
|---|---|---|---|
"""


def main() -> None:
    OUTPUT.write_text(document(), encoding="utf-8")


def document() -> str:
    rules = [rule.info for rule in RULES]
    table = "".join(
        f"| [{rule.code}](#{_anchor(rule)}) | {rule.severity} | `{rule.name}` | {rule.summary} |\n"
        for rule in rules
    )
    return HEAD + table + "".join(section for rule in rules for section in _section(rule))


def _section(rule: RuleInfo) -> Iterator[str]:
    yield f"\n## {rule.code} {rule.name}\n\n"
    yield f"**{rule.severity.capitalize()}.** {_sentence(rule.summary)}\n\n"
    yield f"Why it matters: {_sentence(rule.why, capital=False)}\n\n"
    yield f"What to do: {_sentence(rule.fix, capital=False)}\n"
    if rule.bugs:
        yield f"\nSeen in: {', '.join(_link(bug) for bug in rule.bugs)}.\n"


def _anchor(rule: RuleInfo) -> str:
    return f"{rule.code} {rule.name}".lower().replace(" ", "-")


def _sentence(text: str, *, capital: bool = True) -> str:
    ended = text if text.endswith(".") else text + "."
    return ended[0].upper() + ended[1:] if capital else ended


def _link(bug: str) -> str:
    repository, _, number = bug.partition("#")
    return f"[{bug}](https://github.com/{repository}/issues/{number})"


if __name__ == "__main__":
    main()
