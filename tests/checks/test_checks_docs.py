from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from gaecli.checks.registry import RULES, choose_rules
from gaecli.errors import UsageError

ROOT = Path(__file__).parents[2]


def test_the_page_of_rules_is_current():
    specification = importlib.util.spec_from_file_location("make_checks", ROOT / "docs" / "make_checks.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    written = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    assert written == module.document(), "run `python docs/make_checks.py`"


class TestTheTable:
    def test_codes_and_names_are_unique(self):
        assert len({rule.code for rule in RULES}) == len({rule.name for rule in RULES}) == len(RULES)

    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
    def test_every_row_is_complete(self, rule):
        assert re.fullmatch(r"GAE\d{3}", rule.code)
        assert re.fullmatch(r"[a-z0-9-]+", rule.name)
        assert rule.severity in ("error", "warning", "note")
        assert rule.summary
        assert rule.why
        assert rule.fix
        assert all(re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", bug) for bug in rule.bugs)
        assert set(rule.unless) <= {other.code for other in RULES} - {rule.code}

    def test_codes_are_selected_by_their_beginning_and_names_in_full(self):
        assert [rule.code for rule in choose_rules(["GAE30"])] == ["GAE301", "GAE302"]
        assert [rule.code for rule in choose_rules(["gae301,value-scale"])] == ["GAE202", "GAE301"]
        assert [rule.code for rule in choose_rules(["GAE3"], ["GAE302"])] == ["GAE301"]
        assert len(choose_rules()) == len(RULES)

    def test_a_code_that_is_none_is_an_error(self):
        with pytest.raises(UsageError, match="no rule begins with `GAE7`"):
            choose_rules(["GAE7"])
