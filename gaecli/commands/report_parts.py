"""What was seen of a stream, as the page of `gae report` has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gaecli.pipeline.episodes import ENDS
from gaecli.report_page.content import (
    PlacedFinding,
    ReportCurves,
    ReportEpisode,
    ReportGroup,
    ReportGroups,
    ReportScatter,
)
from gaecli.studies.episode_curves import CurveCollector
from gaecli.studies.episode_steps import SOURCES
from gaecli.studies.episode_table import MEASURES, Chosen, Of, value_errors
from gaecli.studies.group_scores import ChosenGroups
from gaecli.studies.step_sample import StepSample


def episodes_of(
    chosen: Chosen,
    collector: CurveCollector,
    groups: ChosenGroups | None,
    keys: Sequence[Mapping[str, Any]],
    paths: Sequence[str],
) -> list[ReportEpisode]:
    """Those that are shown; `keys`: what the files call them."""
    lines, names = chosen.lines, list(MEASURES)
    measures = np.stack([measure(lines) for measure in MEASURES.values()]) if len(lines) else np.zeros((1, 0))
    errors = value_errors(lines)
    group_of = {} if groups is None else {group: index for index, group in enumerate(groups.indices.tolist())}
    found = []
    for index, line in enumerate(lines):
        number, steps = int(line[Of.NUMBER]), int(line[Of.STEPS])
        piece = collector.curve(number)
        file, strangest = int(line[Of.FILE]), int(chosen.strangest[index])
        found.append(
            ReportEpisode(
                number=number,
                key=keys[index],
                file=paths[file],
                row=int(line[Of.ROW]),
                num_steps=steps,
                num_positions=int(line[Of.POSITIONS]),
                total_reward=float(line[Of.REWARD]),
                mean_value=_known(line[Of.VALUE] / steps),
                largest_advantage=_known(line[Of.ADVANTAGE]),
                value_error=_known(errors[index]),
                largest_delta=_known(line[Of.DELTA]),
                end=ENDS[int(line[Of.END])],  # type: ignore[arg-type]
                bootstrap=SOURCES[int(line[Of.SOURCE])],
                bootstrap_value=float(line[Of.BOOTSTRAP]),
                strangeness=float(chosen.strangeness[index]),
                strangest=names[strangest],
                measure=float(measures[strangest, index]),
                median=float(chosen.medians[strangest]),
                chosen_as=chosen.reasons[index],
                curves=ReportCurves(
                    piece.positions,
                    piece.rows,
                    piece.items,
                    piece.series,
                    collector.masked.get(number, ()),
                ),
                group=group_of.get(int(line[Of.GROUP])) if groups is not None else None,
            )
        )
    return found


def placed_findings(
    rows: Sequence[int | None], found: dict[int, int], episodes: Sequence[ReportEpisode]
) -> list[PlacedFinding]:
    places = {episode.number: index for index, episode in enumerate(episodes)}
    placed = []
    for finding, row in enumerate(rows):
        index = None if row is None else places.get(found.get(row, -1))
        if index is None or row is None:
            continue
        curves = episodes[index].curves
        nearest = int(np.argmin(np.abs(curves.rows - row)))
        placed.append(PlacedFinding(finding, index, int(curves.steps[nearest])))
    return placed


def scatter_of(sample: StepSample) -> ReportScatter | None:
    columns = sample.columns()
    if not columns or not len(columns[0]):
        return None
    rows, values, returns = columns
    return ReportScatter(values, returns, rows.astype(np.int64), sample.num_steps)


def groups_of(groups: ChosenGroups, names: Sequence[str]) -> ReportGroups:
    columns = zip(
        groups.labels,
        groups.counts.tolist(),
        groups.means.tolist(),
        groups.stds.tolist(),
        groups.lows.tolist(),
        groups.highs.tolist(),
        groups.flat.tolist(),
        groups.scores,
        strict=True,
    )
    return ReportGroups(
        names,
        [ReportGroup(*row) for row in columns],
        groups.num_groups,
        groups.num_flat,
        groups.num_alone,
        groups.how,
    )


def _known(number: float) -> float | None:
    return None if np.isnan(number) else float(number)
