"""Writes `docs/presets.md` from the table of presets: `python docs/make_presets.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gaecli.presets import ALL_PRESETS, Preset
from gaecli.report.presets import preset_facts

OUTPUT = Path(__file__).resolve().parent / "presets.md"

HEAD = """\
# Presets

<!-- Written by docs/make_presets.py from the table in gaecli/presets/; edit the rows there. -->

`gae compute --preset NAME` computes as a library does. A preset is a row of settings over the same recursion; a
flag given beside it wins, and the summary says so. The file keeps the name of the preset and every setting in force.

    gae presets                                    # the list
    gae presets sb3                                # one of them in full
    gae compute rollouts.npz --preset cleanrl      # its rules
    gae compute rollouts.npz --preset cleanrl --gamma 0.999 --truncation exact

    gaecli.compute("rollouts.npz", preset="cleanrl", gamma=0.999)

A file keeps its own ends: the summary counts terminated, truncated and open episodes as the data has them. Where
a preset deviates from `exact` on the data at hand, a warning says at how many ends, and what it does there.

**Normalisation.** Where a library's own function stores normalised advantages (over the rollout or the batch), the
preset normalises too (`--normalize none` gives the raw ones). Where it normalises each minibatch in the update,
stored advantages are raw, and `--normalize all` applies the library's divisor and ddof. γ and λ of libraries without
defaults are gaecli's own, 0.99 and 0.95.

**Memory.** `spinup`, `brax`, `finite-horizon` and `vapo` need the trajectories that lie in several blocks of rows,
and those over turns the turns of these. What is
larger than `--memory` is refused. All others take files of any size.
Nested and batch-major files need nothing of the kind: no trajectory crosses their rows.

**Tokens.** Rewards are read per token. What a trainer does before its recursion is out of scope: where it puts the
score of a response, KL penalties, reward whitening, clipping.

**Other names.** Some libraries compute as another one does: `--preset jaxmarl` is `purejaxrl`, and the summary and
the file say so. They stand beside their preset, with the revision that was read.

In the formulas: r, V, A of step t, a prime for those of step t + 1; d, `term`, `trunc` are the flags of step t as 0
or 1; `cut` is the last step of a trajectory. How closely presets meet the libraries: [parity.md](parity.md).

| preset | library | |
|---|---|---|
"""


def main() -> None:
    OUTPUT.write_text(document(), encoding="utf-8")


def document() -> str:
    presets = list(ALL_PRESETS.values())
    table = "".join(
        f"| [`{preset.name}`](#{_anchor(preset)}) | {preset.library} | {preset.summary} |\n"
        for preset in presets
    )
    return HEAD + table + "".join(part for preset in presets for part in _section(preset))


def _section(preset: Preset) -> Iterator[str]:
    yield f"\n## {preset.name}\n\n{preset.library}: {preset.summary}.\n\n"
    yield "| | |\n|---|---|\n"
    for label, texts in preset_facts(preset):
        if label != "traps":
            yield f"| {label} | {'<br>'.join(_cell(text) for text in texts)} |\n"
    if preset.traps:
        yield "\n"
        yield from (f"- {_cell(trap)}\n" for trap in preset.traps)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _anchor(preset: Preset) -> str:
    return preset.name.replace(".", "")


if __name__ == "__main__":
    main()
