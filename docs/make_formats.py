"""Brings the tables of `docs/formats.md` up to date: `python docs/make_formats.py`."""

from __future__ import annotations

import re
from pathlib import Path

from gaecli.formats.registry import FORMATS
from gaecli.names import ALIASES, ESTIMATOR_ROLE_NAMES, KEY_PARTS
from gaecli.response_log_kinds import RESPONSE_LOGS

PAGE = Path(__file__).resolve().parent / "formats.md"

_MEANING = {
    "reward": "the reward after the step",
    "value": "V of the state before the step",
    "next_value": "V of the next state, per row; null or NaN: not given",
    "bootstrap_value": "V beyond the end, per trajectory, row or environment",
    "terminated": "the next state is terminal",
    "truncated": "cut by a limit",
    "not_done": "inverted: 0 where it ended, 1 or γ elsewhere",
    "not_truncated": "inverted: 0 where a limit cut it",
    "done": "ended, for whatever reason",
    "done_start": "the observation begins an episode",
    "final_done": "the start flags after the last step, per environment",
    "episode": "id of the episode",
    "env": "id of the environment",
    "step": "counts the steps, orders the rows",
    "mask": "1 for steps that take part; a column that `--mask-column` names may count them",
    "log_prob": "log π(a|s), for off-policy estimators",
    "behaviour_log_prob": "log μ(a|s) of the policy that acted, for the same",
    "ratio": "π(a|s) / μ(a|s), for the same",
    "prob": "π(a|s), for `tree-backup`",
    "q": "Q(s, a), for `retrace`, `q-lambda` and `tree-backup`",
}


def document() -> str:
    """The page with its tables as the code has them."""
    page = PAGE.read_text(encoding="utf-8")
    for name, table in (("aliases", _aliases()), ("formats", _formats()), ("logs", _logs())):
        marks = (f"<!-- {name}: written by docs/make_formats.py -->\n", f"<!-- end of {name} -->")
        page = re.sub(
            f"({re.escape(marks[0])}).*?({re.escape(marks[1])})",
            lambda match, table=table: f"{match[1]}{table}{match[2]}",
            page,
            flags=re.DOTALL,
        )
    return page


def _aliases() -> str:
    lines = ["| role | names, in this order | what it is |", "|---|---|---|"]
    for role, names in {**ALIASES, **ESTIMATOR_ROLE_NAMES}.items():
        listed = " ".join(f"`{name}`" for name in names)
        lines.append(f"| {role.replace('_', ' ')} | {listed} | {_MEANING[role]} |")
    parts = " ".join(f"`{name}`" for name in KEY_PARTS)
    lines.append(f"| further parts of the key | {parts} | where they are not all null |")
    return "\n".join(lines) + "\n"


def _formats() -> str:
    lines = ["| format | suffixes | in a folder |", "|---|---|---|"]
    for known in FORMATS:
        suffixes = " ".join(f"`{suffix}`" for suffix in known.suffixes)
        taken = "where there is nothing else" if known.is_secondary else "yes"
        lines.append(f"| {known.name} | {suffixes} | {taken} |")
    return "\n".join(lines) + "\n"


def _logs() -> str:
    lines = ["| log | file | known by | groups | rewards | written by |", "|---|---|---|---|---|---|"]
    for log in RESPONSE_LOGS:
        known = " ".join(f"`{name}`" for name in (*log.texts, *log.others))
        groups = (
            ", ".join(f"`{name}`" for name in log.group).replace(" or ", "` or `") or "nothing tells them"
        )
        rewards = f"`{log.rewards[0]}`" if log.rewards else "every other column of numbers"
        lines.append(f"| {log.name} | {log.files} | {known} | {groups} | {rewards} | {log.writer} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(document(), encoding="utf-8")
