"""The last step of a derivation: what `--normalize` makes of the number of one row."""

from __future__ import annotations

from gaecli.explanation import NormalizedNumber
from gaecli.pipeline.block_stages import StageTerm
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.group_facts import shown_label
from gaecli.pipeline.settle import Settled
from gaecli.settings import Settings
from gaecli.studies.final_numbers import Finisher
from gaecli.studies.locate import Place
from gaecli.studies.reading import SettledStream
from gaecli.studies.tail import step_at


def normalized_number(reading: SettledStream, place: Place, finish: Finisher) -> NormalizedNumber | None:
    """None where nothing is normalised. Blocks are looked at one by one up to the one with the step."""
    if not finish.normalizes:
        return None

    def look(file: int, start: int, settled: Settled, carry: Carry) -> tuple[float, StageTerm] | None:
        step = step_at(file, start, settled, place)
        if step is None:
            return None
        return float(finish(file, start, settled, carry)[step]), finish.terms(file, settled, carry, step)[-1]

    seen = reading.stream.visit(reading.context, look)
    written, term = next(found for found in seen if found is not None)
    return _of(term, written, reading)


def _of(term: StageTerm, written: float, reading: SettledStream) -> NormalizedNumber:
    settings, stream = reading.stream.settings, reading.stream
    column = settings.normalize_by
    return NormalizedNumber(
        scope=settings.normalize if column is None else "column",
        column=column,
        label=None if column is None else shown_label(term.label),
        count=term.group.count,
        unit=_unit(settings),
        mean=term.group.mean,
        std=term.group.std,
        ddof=settings.norm_ddof,
        eps=settings.norm_eps,
        floor=settings.norm_floor,
        scale=term.group.scale,
        raw=term.score,
        written=written,
        num_rows=stream.opened.num_rows,
        num_files=len(stream.files),
    )


def _unit(settings: Settings) -> str:
    """What enters mean and std once."""
    if settings.sample_columns and settings.normalize != "episode":
        return "rollouts"
    if settings.measured_over == "steps" and settings.convention.normalizes_units:
        return "units"
    return settings.measured_over
