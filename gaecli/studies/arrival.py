"""A column that may be of rewards which stand in the row after their step, where nothing else has made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gaecli.errors import GaeError
from gaecli.results import Verification
from gaecli.studies import sampling
from gaecli.studies.asked import Asked
from gaecli.studies.candidates import Candidate, arrival_candidates
from gaecli.studies.column import ColumnCells, Holds, what_it_holds
from gaecli.studies.estimator_court import EstimatorCourt
from gaecli.studies.fitting import Fits
from gaecli.studies.head import head_of
from gaecli.studies.readings import Readings
from gaecli.studies.trials import solve, solve_plainly

#: Of the first rows of a column that is made so most fit, whatever was done to some of them.
_MOST_DEVIATING = 0.5


def verification_of_arrival(asked: Asked) -> Verification | None:
    """None where it is not reproduced so."""
    for holds in what_it_holds(asked.against.column):
        try:
            likely = _likely(asked, holds)
            made = EstimatorCourt(asked, holds, likely).verdict() if likely else None
        except GaeError:  # such rewards do not go with the rest of the file
            continue
        if made is not None and made.is_reproduced:
            return made
    return None


def _likely(asked: Asked, holds: Holds) -> Sequence[Candidate]:
    """Those that the first rows speak for, which are read in no time; where these are all, whatever there is."""
    offered = list(arrival_candidates(asked.settings, asked.only.tested))
    if ColumnCells(asked.against).num_known <= sampling.SEARCH_STEPS:
        return offered
    first_rows = replace(asked, plan=head_of(asked.plan, 2 * sampling.SEARCH_STEPS))
    readings, found = Readings(first_rows, holds, is_head=True), []
    for candidate in offered:
        reading = readings.of(candidate)
        if not reading.is_linear:
            continue
        trial = solve(reading, solve_plainly(reading), Fits())
        if trial.share_deviating < _MOST_DEVIATING:
            found.append(candidate)
    return found
