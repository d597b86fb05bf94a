"""What all blocks together say of a mask: that it is none, or that it leaves nothing out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gaecli.block_facts import MaskFacts
from gaecli.columns import Roles
from gaecli.errors import UsageError
from gaecli.layouts.masks import looks_like_ends
from gaecli.pipeline.notes import counted
from gaecli.settings import Settings
from gaecli.shell_words import word
from gaecli.summary import WarningNote


def check_reading(path: Path, facts: Sequence[MaskFacts], roles: Roles, settings: Settings) -> None:
    """A flag that says "the episode goes on", taken for a mask, loses the last step of every episode."""
    if not looks_like_ends(facts, roles, settings):
        return
    name, count = roles.names["mask"], sum(fact.at_ends for fact in facts)
    raise UsageError(
        f"`{name}` of `{path}` is 0 at {count:,} steps, each of them where an episode may end, and no two "
        "in a row: a flag that says that the episode goes on looks so",
        hint=f"pass `--not-done-column {word(name)}` if 0 is the end of an episode, `--mask-column {word(name)}` "
        "if it is no step",
    )


def masked_ends(path: Path, count: int, roles: Roles) -> list[WarningNote]:
    """Slots behind the last step hold numbers of their own: V of an answer of a tool, or of padding."""
    if not count:
        return []
    name = roles.get("next_value") or ""
    hint = (
        f"if these slots are padding, make `{name}` null there, or set the flag of the end on the last step that is "
        "kept: its own next value counts then"
    )
    return [counted("masked-ends", (count,), str(path), names=(name, roles.get("mask") or ""), hint=hint)]


def never_masked(
    path: Path, facts: Sequence[MaskFacts], roles: Roles, settings: Settings
) -> list[WarningNote]:
    """A value that stands for a step, or for none (`--mask-column 'labels!=-100'`), and that no cell has."""
    name = roles.get("mask") or ""
    if not facts or "=" not in name or name not in settings.columns.values():
        return []
    kept = sum(fact.kept for fact in facts)
    if kept and any(fact.at_ends or fact.others for fact in facts):
        return []
    return [
        WarningNote(
            "flag-never-set",
            f"{'every' if kept else 'no'} step counts by `{name}`, so that it tells no steps apart",
            str(path),
            kept,
            hint="`gae inspect` tells what is in the file; name a value that is there with `--mask-column`",
        )
    ]
