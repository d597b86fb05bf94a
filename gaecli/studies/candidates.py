"""The conventions that a column may follow: the presets, joined where a file cannot tell them apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from typing import Any, get_args

from gaecli.choices import Truncation
from gaecli.columns import find_roles
from gaecli.errors import GaeError, UsageError
from gaecli.formats.base import RolloutFile
from gaecli.presets import PRESETS, Preset
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.studies.column import Holds
from gaecli.studies.reading import file_settings
from gaecli.studies.tested import unit_rules

_TRUNCATIONS = tuple(word for word in get_args(Truncation) if word != "ask")


@dataclass(frozen=True)
class Candidate:
    """One way to read the file. `settings` are those of the first of `presets`, with `flags` on top."""

    presets: tuple[str, ...]
    settings: Settings
    flags: Mapping[str, Any] = field(default_factory=dict)
    #: The number of steps is open.
    finds_window: bool = False


def candidates(
    settings: Settings,
    holds: Holds,
    file: RolloutFile,
    only: str | None = None,
    tested: Mapping[str, Any] | None = None,
) -> Iterator[Candidate]:
    """Every preset, those of one convention as one; then the exact rules with other ideas of truncation.

    Over units: presets that are, and the exact rules with every idea of what a unit is. `tested` are settings that
    hold for all of them.
    """
    tested = tested or {}
    if settings.is_over_units and only in (None, "exact"):
        for rule in unit_rules(tested):
            yield Candidate(("exact",), _settings("exact", settings, **{**tested, **rule}), rule)
        if only is not None:
            return
    groups: dict[tuple[object, ...], list[str]] = {}
    # Settings of the first of each group, and the flags that they have on top.
    first: dict[tuple[object, ...], tuple[Settings, Mapping[str, Any]]] = {}
    errors: list[UsageError] = []
    for name, preset in PRESETS.items():
        if only is not None and name != only:
            continue
        if (
            only is None
            and preset.over_units != settings.is_over_units
            and not _finds_units(file, name, settings)
        ):
            continue
        for flags in _options(preset, settings):
            try:
                made = _settings(name, settings, **{**tested, **flags})
            except UsageError as error:
                if only is not None:
                    raise
                errors.append(error)
                continue  # it has rules that do not go with these settings
            key = (*_convention(preset, made, holds), *_columns(file, made))
            groups.setdefault(key, []).append(name)
            first.setdefault(key, (made, flags))
    if errors and not groups and not tested:
        raise errors[0]
    seen = set()
    # The name alone before one with a flag: where the file has no such end, the flag says nothing.
    for key, names in sorted(groups.items(), key=lambda group: bool(first[group[0]][1])):
        made, flags = first[key]
        seen.add((made.preset, made.truncation))
        yield Candidate(tuple(names), made, flags)
    if only is None and settings.success_column is None and not settings.is_over_units:
        for truncation in _TRUNCATIONS:
            if ("exact", truncation) in seen:
                continue
            flags = {"truncation": truncation}
            try:
                made = _settings("exact", settings, **{**tested, **flags})
            except UsageError:
                # Not every idea of truncation goes with rewards at arrival; all else is wrong in what was given.
                if settings.reward_at != "arrival":
                    raise
                continue
            yield Candidate(("exact",), made, flags)


def arrival_candidates(settings: Settings, tested: Mapping[str, Any]) -> Iterator[Candidate]:
    """The exact rules with rewards in the row after their step; an end by a limit counts as it is, or as terminal."""
    for flags in ({"reward_at": "arrival"}, {"reward_at": "arrival", "truncation": "zero"}):
        try:
            yield Candidate(("exact",), _settings("exact", settings, **{**tested, **flags}), flags)
        except UsageError:
            continue


def _finds_units(file: RolloutFile, name: str, settings: Settings) -> bool:
    """A preset over units knows a column of this file by its library's own name."""
    preset = PRESETS[name]
    if not preset.over_units or settings.stream:
        return False
    try:
        return "unit" in find_roles(file, _settings(name, settings)).names
    except GaeError:
        return False


def _options(preset: Preset, settings: Settings) -> list[Mapping[str, Any]]:
    """Of a preset that asks what a time limit does, one for each answer; none is left where success is known."""
    if settings.success_column is not None:
        return [{}] if preset.truncation != "ask" else []
    if preset.truncation != "ask":
        return [{}]
    return [{"truncation": rule} for rule in preset.truncation_options]


def _convention(preset: Preset, settings: Settings, holds: Holds) -> tuple[object, ...]:
    """Equal for presets that say the same of the same columns."""
    return (
        settings.truncation,
        preset.truncation == "ask",
        preset.lam_alpha,
        preset.mask_mode,
        preset.done_at,
        preset.recursion,
        preset.open_ends,
        preset.reward_at,
        preset.early_ends,
        preset.mask_shift,
        preset.mask_reach,
        preset.masks_rewards,
        preset.over_units,
        (settings.unit_reward, settings.unit_value, settings.turn_gamma) if preset.over_units else None,
        (preset.returns, preset.masked_returns) if holds == "return" else None,
    )


def _columns(file: RolloutFile, settings: Settings) -> tuple[object, ...]:
    """What a preset takes for what: it knows its library's names."""
    try:
        names = find_roles(file, settings).names
    except GaeError as error:
        return (error.message,)
    # Whether a flag is of starts is what the rules of the preset say.
    return tuple(sorted(("done" if role == "done_start" else role, name) for role, name in names.items()))


def _settings(preset: str, settings: Settings, **flags: Any) -> Settings:
    """How the user says that the file is to be read, under a preset's rules; nothing is normalised."""
    return Settings.from_preset(
        preset,
        **file_settings(settings),
        bootstrap=settings.bootstrap,
        normalize="none",
        advantage_column=settings.advantage_column,
        return_column=settings.return_column,
        **flags,
    )


def with_bootstrap(candidate: Candidate, policy: str) -> Candidate:
    return replace(
        candidate,
        settings=candidate.settings.replace(bootstrap=policy),
        flags={**candidate.flags, "bootstrap": policy},
    )
