from __future__ import annotations

from dataclasses import replace

import pytest
from report.examples import EncodedFile
from rich.cells import cell_len
from rich.console import Console

from gaecli.diagnosis import Checkup, Finding, RuleInfo
from gaecli.report.checks import render_checkup, render_rules
from gaecli.report.document import checkup_to_dict, rules_to_dict, to_json
from gaecli.summary import Failure

ERROR = RuleInfo(
    "GAE003",
    "done-inside-episode",
    "error",
    "an end flag stands inside an episode",
    "advantages on one side of the flag are wrong",
    ("owner/repository#12",),
    "remove the repeated rows",
)
WARNING = RuleInfo(
    "GAE101", "filler-rows", "warning", "resets count as steps", "they are none", (), "filter them"
)
INSIDE = Finding(ERROR, "runs/a.parquet", "`done` is set inside", 12, row=39, place="row 39 (episode 3)")
FILLERS = Finding(WARNING, "runs/a.parquet", "22 rows are resets", 22, fix="pass `--x`")


def checkup(*findings: Finding, **changes) -> Checkup:
    return replace(Checkup(findings, ["GAE003", "GAE101"], 2, 1774, seconds=0.25), **changes)


def rendered(shown: Checkup, width: int = 80, encoding: str = "utf-8") -> str:
    file = EncodedFile(encoding)
    render_checkup(shown, Console(file=file, width=width))
    return file.getvalue()


def test_findings_at_80_columns():
    assert rendered(checkup(FILLERS, INSIDE)) == (
        "✗ GAE003 error  done-inside-episode\n"
        "  `done` is set inside\n"
        "  runs/a.parquet · first at row 39 (episode 3) · 12 rows in all\n"
        "  why: advantages on one side of the flag are wrong (owner/repository#12)\n"
        "  → remove the repeated rows\n"
        "\n"
        "! GAE101 warning  filler-rows\n"
        "  22 rows are resets\n"
        "  runs/a.parquet\n"
        "  why: they are none\n"
        "  → pass `--x`\n"
        "\n"
        "✗ 1 error and 1 warning · 2 files, 1,774 rows · 2 rules · 250 ms · exit code 3\n"
    )


def test_nothing_found():
    assert rendered(checkup()) == "✓ nothing found · 2 files, 1,774 rows · 2 rules · 250 ms\n"


def test_one_rule_in_many_files_is_said_once():
    others = [replace(INSIDE, file=f"runs/{number}.parquet") for number in range(9)]
    text = rendered(checkup(INSIDE, *others), width=120)
    assert text.count("GAE003") == 1
    assert "and 9 more inputs" in text


class TestExitCode:
    def test_errors_are_3_and_warnings_0(self):
        assert checkup().exit_code == 0
        assert checkup(FILLERS).exit_code == 0
        assert checkup(INSIDE).exit_code == 3

    def test_strict_takes_warnings_for_errors(self):
        assert checkup(FILLERS, is_strict=True).exit_code == 3
        assert checkup(is_strict=True).exit_code == 0

    def test_what_could_not_be_examined_counts(self):
        assert checkup(INSIDE, failures=[Failure("x", "gone", None, 4)]).exit_code == 4
        assert "1 file could not be examined" in rendered(checkup(failures=[Failure("x", "gone", None, 2)]))


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_any_width_and_encoding(width, encoding):
    text = rendered(
        checkup(INSIDE, FILLERS, replace(INSIDE, file="ü" * 90, message="x" * 200)), width, encoding
    )
    text.encode(encoding)
    assert [line for line in text.splitlines() if cell_len(line) > width] == []


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_list_of_rules(width):
    file = EncodedFile("utf-8")
    render_rules([ERROR, WARNING], Console(file=file, width=width))
    lines = file.getvalue().splitlines()
    assert [line for line in lines if cell_len(line) > width] == []
    assert lines[2].split()[:3] == ["GAE003", "error", "done-inside-episode"]
    assert "resets count as steps" in file.getvalue()


def test_the_documents():
    document = checkup_to_dict(checkup(INSIDE, FILLERS))
    assert (document["counts"]["errors"], document["counts"]["warnings"]) == (1, 1)
    first, second = document["findings"]
    assert (first["code"], first["row"], first["count"], first["fix"]) == ("GAE003", 39, 12, ERROR.fix)
    assert second["fix"] == "pass `--x`"
    assert rules_to_dict([ERROR])["rules"][0]["bugs"] == ["owner/repository#12"]
    to_json(document)
