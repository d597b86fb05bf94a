"""Every option of every command, declared once, in a table of each family; `gaecli.cli.command` builds signatures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gaecli.cli.column_options import NORMALIZATION_OPTIONS, ROLE_OPTIONS, WRITTEN_OPTIONS
from gaecli.cli.command_options import COMMAND_OPTIONS
from gaecli.cli.estimator_options import DECAY_OPTIONS, ESTIMATOR_OPTIONS, OWN_OPTIONS, STREAM_OPTIONS
from gaecli.cli.group_options import GROUP_OPTIONS
from gaecli.cli.label_options import LABEL_OPTIONS, SUCCESS_OPTIONS
from gaecli.cli.option import Option
from gaecli.cli.run_options import CELL_OPTIONS, RUN_OPTIONS, SHARED_OPTIONS
from gaecli.cli.step_options import END_OPTIONS, MASK_OPTIONS, UNIT_OPTIONS

_OF_SETTINGS = (
    *(*ESTIMATOR_OPTIONS, *DECAY_OPTIONS, *OWN_OPTIONS, *STREAM_OPTIONS),
    *(*END_OPTIONS, *MASK_OPTIONS, *UNIT_OPTIONS, *WRITTEN_OPTIONS, *NORMALIZATION_OPTIONS),
    *(*GROUP_OPTIONS, *SUCCESS_OPTIONS, *LABEL_OPTIONS, *CELL_OPTIONS),
)


def _key(row: Option) -> str:
    """What commands list it under: for a role that is its flag."""
    return row.spellings[0].removeprefix("--").replace("-", "_") if row.fills == "role" else row.name


def _listed(rows: Iterable[Option]) -> str:
    return " ".join(_key(row) for row in rows)


#: By the names that commands list them under.
OPTIONS: Mapping[str, Option] = {
    **{row.name: row._replace(fills="setting") for row in _OF_SETTINGS},
    **{_key(row): row for row in ROLE_OPTIONS},
    **{row.name: row._replace(fills="run") for row in RUN_OPTIONS},
    **{row.name: row._replace(fills="given") for row in SHARED_OPTIONS},
    **COMMAND_OPTIONS,
}

# Families, as commands list them that have all of one. A help page has its panels in the order of first options.
ESTIMATOR = _listed(ESTIMATOR_OPTIONS)
DECAYS = _listed(DECAY_OPTIONS)
#: Without the one γ and the one λ, which a sweep tries and a verification finds.
OTHER_DECAYS = _listed(row for row in DECAY_OPTIONS if row.name not in ("gamma", "lam"))
OWN = _listed(OWN_OPTIONS)
STREAMS = _listed(STREAM_OPTIONS)
ENDS = _listed(END_OPTIONS)
MASKS = _listed(MASK_OPTIONS)
UNITS = f"unit {_listed(UNIT_OPTIONS)}"
ROLE_COLUMNS = _listed(row for row in ROLE_OPTIONS if row.name != "unit")
WRITTEN = _listed(WRITTEN_OPTIONS)
NORMALIZATION = _listed(NORMALIZATION_OPTIONS)
#: What scores are made of and compared with.
GROUPS = _listed(GROUP_OPTIONS)
#: Of commands that read rewards and write none.
SUCCESS = _listed(SUCCESS_OPTIONS)
LABELS = _listed(LABEL_OPTIONS)
#: Which rows are positive.
LABEL_RULE = (
    "label_rule label_quantile label_side label_threshold label_operator label_by force_positive label_forced"
)
#: Clips of off-policy estimators.
CLIPS = "rho_bar c_bar pg_bar"
