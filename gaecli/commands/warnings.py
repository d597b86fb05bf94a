"""Warnings about numbers that were computed and may still not mean what the user thinks."""

from __future__ import annotations

import numpy as np

from gaecli.kernels.devices import Device
from gaecli.pipeline.apply import Totals
from gaecli.pipeline.group_facts import StageFacts
from gaecli.pipeline.notes import counted
from gaecli.pipeline.opening import OpenStream
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan
from gaecli.summary import WarningNote


def findings(
    opened: OpenStream,
    totals: Totals,
    facts: StageFacts,
    settings: Settings,
    device: Device,
) -> list[WarningNote]:
    """All that there is to tell of numbers that were computed."""
    file = only_file(opened.plan)
    notes = [
        *reading_notes(totals, settings, opened),
        *_degenerate(totals, facts, settings, file),
        *_unscored(totals, file),
        *_overflows(totals, settings, file),
    ]
    if settings.precision == "double" and not device.has_float64:
        notes.append(
            WarningNote(
                "single-precision",
                f"device {device.name} has no float64: computed in float32",
                hint="pass `--device cpu` for float64",
            )
        )
    return notes


def reading_notes(totals: Totals, settings: Settings, opened: OpenStream) -> list[WarningNote]:
    """What the rules in force make of the rows, whatever is then computed from them."""
    file = only_file(opened.plan)
    return [
        *_deviations(totals, settings, file),
        *_bootstraps(totals, settings, opened),
        *_dropped(totals, file),
        *_of_streams(totals, file),
        *_second_values(totals, settings, file),
    ]


def _of_streams(totals: Totals, file: str | None) -> list[WarningNote]:
    if not totals.bare_ends:
        return []
    hint = (
        "name a column in `--stream` with `next=COLUMN` or `bootstrap=COLUMN`, or pass `--bootstrap current`"
    )
    return [counted("stream-bootstrap-zero", (totals.bare_ends,), file, hint=hint)]


def _second_values(totals: Totals, settings: Settings, file: str | None) -> list[WarningNote]:
    """Where a TD error enters another row than its own."""
    is_one_step = 0.0 in (settings.gamma, settings.lam if settings.uses("lam") else None)
    if not totals.second_values or is_one_step:
        return []
    numbers, names = (totals.second_values,), (settings.estimator,)
    hint = (
        "pass `--next-value-column none` to go by V of the next row, which leaves ends without a value; "
        "`td-lambda` is defined with both"
    )
    return [counted("second-values", numbers, file, names=names, hint=hint)]


def only_file(plan: StreamPlan) -> str | None:
    return str(plan.paths[0]) if len(plan.paths) == 1 else None


def _deviations(totals: Totals, settings: Settings, file: str | None) -> list[WarningNote]:
    """Where the rules in force differ from `exact` on this very data."""
    convention = settings.convention
    notes = []
    is_preset = settings.truncation == convention.truncation
    who = f"preset `{settings.preset}`" if is_preset else f"`--truncation {settings.truncation}`"
    if settings.end_rule == settings.truncation != "exact" and totals.counts.truncated:
        numbers, names = (totals.counts.truncated,), (who, settings.truncation)
        notes.append(counted("preset-truncation", numbers, file, names=names, hint=_exact_hint(settings)))
    num_ended = totals.counts.terminated + totals.counts.truncated
    if convention.early_ends and settings.uses("early_ends") and num_ended:
        notes.append(counted("preset-early-ends", (num_ended,), file, names=(settings.preset,)))
    return [*notes, *_arrivals(totals, settings, file)]


def _arrivals(totals: Totals, settings: Settings, file: str | None) -> list[WarningNote]:
    """Of rewards that stand in the row after their step: rows that are none, and rewards that are nobody's."""
    if not settings.arrives:
        return []
    notes = []
    is_preset = settings.reward_at == settings.convention.reward_at
    who = f"preset `{settings.preset}`" if is_preset else "`--reward-at arrival`"
    if totals.unestimated_steps:
        names = (who, "rows" if settings.resets_itself else "states")
        notes.append(counted("last-rows", (totals.unestimated_steps,), file, names=names))
    if totals.unearned_rewards > 0 and not settings.resets_itself:
        hint = (
            "pass `--done-at start` if an environment resets by itself, so that such a row holds the reward of the "
            "last action of the trajectory before it; `--reward-at action` if rewards stand with their actions"
        )
        notes.append(counted("first-row-rewards", (totals.unearned_rewards,), file, hint=hint))
    return notes


def _exact_hint(settings: Settings) -> str | None:
    if settings.truncation == "current":
        return "pass `--truncation exact` if the file has next values"
    return "pass `--truncation exact` to bootstrap there" if settings.truncation != "drop" else None


def _bootstraps(totals: Totals, settings: Settings, opened: OpenStream) -> list[WarningNote]:
    """Never silently: what stood in for V(sₜ₊₁) where the file does not say."""
    counts, num_episodes, file = totals.bootstrapped, totals.counts.episodes, only_file(opened.plan)
    notes = []
    if counts.zero:
        from gaecli.pipeline.likely_values import hint_for_ends

        hint = hint_for_ends(opened.files[0].file, opened.files[0].layout, settings, ("current", "error"))
        notes.append(counted("bootstrap-zero", (counts.zero, num_episodes), file, hint=hint))
    if counts.current and settings.bootstrap == "current":
        notes.append(
            counted(
                "bootstrap-current",
                (counts.current, num_episodes),
                file,
            )
        )
    return notes


def _degenerate(totals: Totals, facts: StageFacts, settings: Settings, file: str | None) -> list[WarningNote]:
    if not settings.normalizes:
        return []
    notes = []
    count = totals.degenerate_groups + facts.normalization.num_degenerate
    if count:
        whose = "all" if facts.normalization.num_groups == 1 else "groups"
        notes.append(counted("zero-variance", (count,), file, names=(whose,)))
    if facts.baseline.num_degenerate:
        numbers = (facts.baseline.num_degenerate, facts.baseline.num_alone)
        notes.append(counted("flat-groups", numbers, file))
    if facts.baseline.num_weightless:
        names = (settings.length_column,) if settings.length_column is not None else ()
        hint = "name the column with the number of tokens of each response with `--length-column`"
        notes.append(counted("no-lengths", (facts.baseline.num_weightless,), file, names=names, hint=hint))
    return notes


def _unscored(totals: Totals, file: str | None) -> list[WarningNote]:
    counts = {"unscored": totals.unscored, "scored-as-zero": totals.scored_as_zero}
    return [counted(code, (count,), file) for code, count in counts.items() if count]


def _overflows(totals: Totals, settings: Settings, file: str | None) -> list[WarningNote]:
    beyond = []
    for name, column in (("advantage", settings.advantage_column), ("return", settings.return_column)):
        tally = totals.tallies.get(name)
        if tally is None or not tally.moments.count:
            continue
        if not max(-tally.minimum, tally.maximum) <= float(np.finfo(np.float32).max):  # NaN as well
            beyond.append(f"`{column}`")
    if not beyond:
        return []
    first, *second = beyond
    message = f"{first} goes beyond {np.finfo(np.float32).max:.1e}, the largest number of float32"
    message += "".join(f", and so does {column}" for column in second)
    return [WarningNote("overflow", f"{message}: infinite or NaN is written there", file, len(beyond))]


def _dropped(totals: Totals, file: str | None) -> list[WarningNote]:
    if not totals.dropped_episodes:
        return []
    return [counted("dropped-episodes", (totals.dropped_episodes, totals.dropped_steps), file)]


def behind_cache(root: str) -> WarningNote:
    return WarningNote(
        "stale-cache",
        "where `datasets` has loaded this folder before, it may go on with the old columns and rows from its cache",
        root,
        1,
        # Not `download_mode='force_redownload'`: it casts the files to the features that the cache has of old.
        hint="remove it from the cache (`~/.cache/huggingface/datasets`), or load with another `cache_dir`",
    )
