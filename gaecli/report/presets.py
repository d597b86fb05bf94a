"""Presets shown: the list, one in full, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from gaecli.presets.aliases import aliases_of
from gaecli.presets.base import SETTING_FIELDS, Preset
from gaecli.presets.groups import SCORE_RULES
from gaecli.report.charts import format_setting
from gaecli.report.document import enveloped
from gaecli.report.table import print_lines
from gaecli.report.text import QUIET, STRONG, UNICODE, Canvas
from gaecli.report.text_flow import TextColumn, TextGrid, labelled, paragraph

if TYPE_CHECKING:
    from rich.console import Console

#: What each truncation rule does to the last step of a truncated trajectory.
TRUNCATION_TEXTS = {
    "exact": "has a next value: δ = r + γ V' - V, and the recursion is cut",
    "current": "takes V of its own state for the next one: δ = r + γ V - V, cut",
    "undiscounted": "adds V of its own state to the reward, without γ: δ = r, cut",
    "reset": "takes V of the next row, the state after the reset, for the next one; cut",
    "zero": "counts as terminal: δ = r - V, cut",
    "drop": "gives its step no advantage: A = 0; the step before it bootstraps as usual",
    "leak": "does not cut: V and A of the next episode's first step flow in",
}
DONE_TEXTS = {
    "end": "a flag says that its step ended the episode",
    "start": "a lone flag says that its observation begins an episode; it ends the step before",
    None: "by the name of the column; asked for where that leaves it open",
}
MASK_TEXTS = {
    "skip": "masked steps do not exist",
    "cut": "masked steps do not exist, and a trajectory ends before them",
    "zero": "masked steps count as 0, time goes on",
    "gated": "masked steps count as 0, the trace passes them without decay",
    "keep": "masked steps are left out of statistics only",
}
FILL_TEXTS = {
    "null": "masked rows hold nothing",
    "zero": "masked rows hold A = 0",
    "carry": "masked rows hold what the recursion carries through them",
}
FLOOR_TEXTS = {"add": "(std + {eps})", "clamp": "max(std, {eps})", "rsqrt": "sqrt(var + {eps})"}
#: Greek where a terminal has none; products first.
_SPELLED = {
    "γλ": "gamma*lambda",
    "λᵢ": "lambda_i",
    "nᵢ": "n_i",
    "γᵏ": "gamma^k",
    "γⁿ": "gamma^n",
    "γ": "gamma",
    "λ": "lambda",
    "δ": "delta",
    "α": "alpha",
    "ε": "eps",
    "Σ": "sum",
    "x²": "x^2",
    "[x]²": "[x]^2",
    "√": "sqrt ",
}
LABEL_WIDTH = len("normalisation") + 2


def render_presets(presets: Sequence[Preset], console: Console) -> None:
    print_lines(list_lines(presets, Canvas.of(console)), console)


def render_preset(preset: Preset, console: Console) -> None:
    print_lines(preset_lines(preset, Canvas.of(console)), console)


def list_lines(presets: Sequence[Preset], canvas: Canvas) -> list[Text]:
    """Name, library and one line; the line goes beneath where the three do not fit side by side."""
    names = TextGrid(
        [
            TextColumn("preset", [Text(preset.name, STRONG) for preset in presets], align="left"),
            TextColumn("library", [Text(canvas.clean(preset.library)) for preset in presets], align="left"),
        ]
    )
    summaries = [_letters(preset.summary, canvas) for preset in presets]
    room = canvas.width - names.width - 2
    heading, *rows = names.lines()
    lines = [heading]
    for row, summary in zip(rows, summaries, strict=True):
        if room >= max(map(len, summaries)):
            lines.append(Text.assemble(row, " " * (names.width - row.cell_len + 2), summary))
        else:
            lines.append(row)
            lines += [
                Text.assemble("    ", line) for line in paragraph(Text(summary, QUIET), canvas.width - 4)
            ]
    lines.append(Text())
    others = [
        f"{preset.name} is {', '.join(alias.name for alias in also)}"
        for preset in presets
        if (also := aliases_of(preset.name))
    ]
    lines += paragraph(Text(f"By other names: {'; '.join(others)}.", QUIET), canvas.width)
    lines.append(Text())
    lines += [Text("Rules for scores of responses, by `--estimator`:", QUIET)]
    for preset in presets:
        if preset.name in SCORE_RULES:
            estimators = ", ".join(SCORE_RULES[preset.name])
            lines += labelled(
                preset.name, paragraph(Text(estimators), canvas.width - LABEL_WIDTH), LABEL_WIDTH
            )
    lines.append(Text())
    lines += paragraph(
        Text("`gae presets NAME` shows one in full; `gae compute --preset NAME` uses it."), canvas.width
    )
    return lines


def preset_lines(preset: Preset, canvas: Canvas) -> list[Text]:
    heading = f"{preset.name}{canvas.glyphs.separator}{preset.library}"
    lines = [Text(canvas.clean(heading), STRONG), *_wrapped(preset.summary, canvas, canvas.width), Text()]
    for label, texts in preset_facts(preset):
        room = canvas.width - LABEL_WIDTH
        wrapped = [line for text in texts for line in _wrapped(text, canvas, room)]
        lines += labelled(_letters(label, canvas), wrapped, LABEL_WIDTH)
    return lines


def _wrapped(text: str, canvas: Canvas, width: int) -> list[Text]:
    return paragraph(Text(_letters(text, canvas)), width)


def _letters(text: str, canvas: Canvas) -> str:
    """The text in letters that the terminal has."""
    if canvas.glyphs is not UNICODE:
        for letters, words in _SPELLED.items():
            text = text.replace(letters, words)
    return canvas.clean(text)


def preset_facts(preset: Preset) -> list[tuple[str, list[str]]]:
    """(label, lines) of all that there is to say, in order; also the content of docs/presets.md."""
    if preset.only_scores:
        return [("estimators", _score_rules(preset)), ("source", [preset.source])]
    facts = [
        ("δ", [preset.delta]),
        ("recursion", [preset.recursion_text]),
        ("return", [preset.returns_text]),
        ("done flags", [DONE_TEXTS[preset.done_at]]),
        ("truncated", _truncation(preset)),
        ("bootstrap", [preset.bootstrap_text]),
        ("γ and λ", [_discounts(preset)]),
        ("normalisation", [preset.normalization_text, _normalization(preset)]),
        ("source", [preset.source]),
    ]
    if preset.names:
        facts.insert(-1, ("own names", [_own_names(preset)]))
    if preset.mask_mode is not None:
        mask = f"{MASK_TEXTS[preset.mask_mode]}; {FILL_TEXTS[preset.mask_fill]}"
        facts.insert(
            5, ("mask", [f"{mask} (`--mask-mode {preset.mask_mode} --mask-fill {preset.mask_fill}`)"])
        )
    if preset.over_units:
        facts.insert(5, ("turns", [_units(preset)]))
    if preset.name in SCORE_RULES:
        facts.insert(-1, ("scores", _score_rules(preset)))
    if also := aliases_of(preset.name):
        facts.insert(0, ("also called", [f"`{alias.name}`: {alias.words}" for alias in also]))
    if preset.traps:
        facts.append(("traps", [f"- {trap}" for trap in preset.traps]))
    return facts


def _truncation(preset: Preset) -> list[str]:
    if preset.truncation != "ask":
        return [f"{TRUNCATION_TEXTS[preset.truncation]} (`--truncation {preset.truncation}`)"]
    options = [f"`--truncation {rule}` is {what}" for rule, what in preset.truncation_options.items()]
    return ["asked for where the data has such ends", *options]


def _units(preset: Preset) -> str:
    """What becomes of the tokens of a turn, as the flags say it."""
    reward = "the sum" if preset.unit_reward == "sum" else "the mean"
    flags = f"--unit-reward {preset.unit_reward} --unit-value {preset.unit_value}"
    said = f"{reward} of the rewards of its tokens, V at its {preset.unit_value} token"
    if preset.turn_gamma is not None:
        said += f", γ {format_setting(preset.turn_gamma)} from turn to turn"
        flags += f" --turn-gamma {format_setting(preset.turn_gamma)}"
    return f"{said} (`{flags}`); `--unit` names the column that tells turns apart"


def _own_names(preset: Preset) -> str:
    """Role by role; where these columns are, no others are looked for."""
    return "; ".join(
        f"{role.replace('_', ' ')} {', '.join(f'`{name}`' for name in names)}"
        for role, names in preset.names.items()
    )


def _discounts(preset: Preset) -> str:
    lam = format_setting(preset.lam)
    if preset.lam_alpha is not None:
        lam = f"1 - 1 / max({format_setting(preset.lam_alpha)} n, 1) for n steps"
    given = f"γ {format_setting(preset.gamma)}, λ {lam}"
    return given if preset.has_own_defaults else f"{given}; the library has no defaults of its own"


def _score_rules(preset: Preset) -> list[str]:
    """What it makes of the scores of responses: `grpo: eps 1e-6, singleton raw`."""
    lines = []
    for estimator, rule in SCORE_RULES[preset.name].items():
        words = [f"`--{name.replace('_', '-')} {_plain(value)}`" for name, value in rule.items()]
        lines.append(f"`{estimator}`: {' '.join(words) or 'as it is without a preset'}")
    return lines


def _plain(value: object) -> str:
    return format_setting(value) if isinstance(value, float) else str(value)


def _normalization(preset: Preset) -> str:
    divisor = FLOOR_TEXTS[preset.norm_floor].format(eps=format_setting(preset.norm_eps))
    if preset.norm_eps == 0:
        divisor = "std"
    return f"`--normalize {preset.normalize}`; rule: (A - mean) / {divisor}, ddof {preset.norm_ddof}"


def presets_to_dict(presets: Sequence[Preset]) -> dict[str, Any]:
    return enveloped("presets", {"presets": [_to_dict(preset) for preset in presets]})


def _to_dict(preset: Preset) -> dict[str, Any]:
    """Texts and rules as they are; what `--preset` sets stands under `settings`."""
    fields = asdict(preset)
    settings = {name: fields.pop(name) for name in SETTING_FIELDS}
    scores = {name: dict(rule) for name, rule in SCORE_RULES.get(preset.name, {}).items()}
    aliases = {alias.name: alias.words for alias in aliases_of(preset.name)}
    return {**fields, "traps": list(preset.traps), "aliases": aliases, "settings": settings, "scores": scores}
