"""The table of options fills what exists, and each command gets from it what it lists."""

from __future__ import annotations

import re
from inspect import signature
from pathlib import Path
from typing import get_args

import pytest

from gaecli.choices import LabelRuleName
from gaecli.cli.check import check
from gaecli.cli.command import command
from gaecli.cli.compute import compute
from gaecli.cli.diff import diff
from gaecli.cli.doctor import doctor
from gaecli.cli.explain import explain
from gaecli.cli.inspect import inspect
from gaecli.cli.options import OPTIONS
from gaecli.cli.presets import presets
from gaecli.cli.report import report
from gaecli.cli.show import show
from gaecli.cli.status import status
from gaecli.cli.strip import strip
from gaecli.cli.sweep import sweep
from gaecli.cli.verify import verify
from gaecli.errors import UsageError
from gaecli.label_settings import LABEL_RULES
from gaecli.setting_fields import ROLES
from gaecli.settings import OPTION_NAMES, SETTING_NAMES


def filling(where):
    return [option for option in OPTIONS.values() if option.fills == where]


class TestTheTable:
    def test_every_setting_but_the_columns_has_an_option(self):
        assert {option.name for option in filling("setting")} == SETTING_NAMES - {"columns"}

    def test_run_options_are_fields_of_run_options(self):
        assert {option.name for option in filling("run")} <= OPTION_NAMES

    def test_the_rules_of_labels_are_those_of_their_table(self):
        assert get_args(LabelRuleName) == tuple(LABEL_RULES)

    def test_every_role_has_an_option_and_no_other(self):
        assert tuple(option.name for option in filling("role")) == ROLES

    def test_compute_has_every_setting_role_and_run_option(self):
        listed = [OPTIONS[name] for name in signature(compute).parameters]
        for where in ("setting", "role", "run"):
            names = {option.name for option in listed if option.fills == where}
            assert names == {option.name for option in filling(where)}

    @pytest.mark.parametrize(
        "of",
        [check, compute, diff, doctor, explain, inspect, presets, report, show, status, strip, sweep, verify],
    )
    def test_no_command_has_one_spelling_twice(self, of):
        listed = [OPTIONS[name] for name in signature(of).parameters]
        spellings = [one for option in listed if option.panel is not None for one in option.spellings]
        assert len(spellings) == len(set(spellings))


def test_the_page_of_the_command_line_has_the_panels_of_the_help_page_in_its_order():
    panels: dict[str, list[str]] = {}
    for name in signature(compute).parameters:
        if (panel := OPTIONS[name].panel) is not None:
            panels.setdefault(panel, []).append(OPTIONS[name].spellings[0])
    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
    section = page.split("## Flags of `gae compute`")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if "`--" in line]
    assert [(panel, flags.replace("`", "").split()) for panel, flags in rows] == list(panels.items())


def test_no_page_names_a_flag_that_no_command_has():
    known = {one for option in OPTIONS.values() for some in option.spellings for one in some.split("/")}
    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
    known |= {"--help", "--install-completion", "--show-completion"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", page)) <= known


class TestACommand:
    def run(self, *names, **texts):
        """What a command with these options is called with."""
        seen = {}

        @command(*names)
        def probe(given, **own):
            seen.update(own, given=given)

        defaults = {name: OPTIONS[name].default for some in names for name in some.split()}
        probe(**{**defaults, **texts})
        return seen

    def test_settings_and_roles_become_settings(self):
        given = self.run("gamma preset reward_column value_column", gamma="0.5", value_column="vf")["given"]
        settings = given.settings()
        assert settings.gamma == 0.5
        assert settings.columns == {"value": "vf"}

    def test_a_command_without_preset_takes_the_exact_one(self):
        assert self.run("bootstrap", bootstrap="current")["given"].settings().preset == "exact"

    def test_run_options_are_put_together(self):
        given = self.run("jobs output memory", jobs="3", output="x", memory="2MiB")["given"]
        options = given.run_options(gallery=True)
        assert (options.jobs, options.output, options.memory_bytes, options.gallery) == (
            3,
            "x",
            2 << 20,
            True,
        )
        assert given["jobs"] == 3

    def test_its_own_options_come_by_name(self):
        seen = self.run("head the_episode document_json", head="7", the_episode="e1")
        assert (seen["head"], seen["the_episode"], seen["json"]) == (7, "e1", False)

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("gamma", "x", "`--gamma` is `x`; it must be a number"),
            ("head", "1.5", "`--head` is `1.5`; it must be a whole number"),
        ],
    )
    def test_a_number_that_is_none_is_said_with_its_flag(self, name, text, message):
        with pytest.raises(UsageError, match=message):
            self.run(name, **{name: text})
