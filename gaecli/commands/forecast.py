"""What `gae compute` would do with files as they are: write, nothing, or ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gaecli.columns import Roles
from gaecli.errors import GaeError
from gaecli.formats.base import RolloutFile
from gaecli.formats.stored import columns_of, own_entries
from gaecli.inspection import ComputePlan, ExistingColumn
from gaecli.names import RESULT_NAMES
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan
from gaecli.storage.new_file import check_writable
from gaecli.summary import BootstrapCounts
from gaecli.writing.data_set_copies import check_parts
from gaecli.writing.provenance import (
    inputs_of,
    is_up_to_date,
    payload_of,
)
from gaecli.writing.targets import check_language, check_output_names, replaced_columns


def existing_columns(file: RolloutFile) -> list[ExistingColumn]:
    """Columns that gaecli wrote, by what it stored in the file, and those that by their name are alike."""
    entry_of: dict[str, Mapping[str, Any]] = {}
    for entry in own_entries(file.provenance):
        for name in columns_of(entry):
            entry_of.setdefault(name, entry)
    return [
        ExistingColumn(name, info.type_name, name in entry_of, entry_of.get(name))
        for name, info in file.columns.items()
        if name in entry_of or name.lower() in RESULT_NAMES
    ]


def forecast(
    plan: StreamPlan,
    files: Sequence[RolloutFile],
    settings: Settings,
    roles: Roles | None,
    bootstrapped: BootstrapCounts | None,
    problem: GaeError | None,
) -> ComputePlan:
    """What a run without further flags does, by the checks that it makes, in their order.

    `problem` is what a run met when it looked at the rows; `bootstrapped` what it counted, and `roles` the
    columns that it used, if it met none.
    """
    found = ComputePlan(
        "write",
        settings.to_dict(),
        target=str(files[0].path),
        new_columns=settings.output_columns,
        bootstrapped=bootstrapped or BootstrapCounts(),
    )
    try:
        check_parts([plan])
        if problem is not None:
            raise problem
        if _is_up_to_date(files, settings):
            return replace(found, action="up to date")
        replaced = []
        for file in files:
            if roles is not None:
                check_output_names(file, roles, settings)
                check_language(file, plan, settings, sidecar=False)
            replaced.append(replaced_columns(file, settings, overwrite=False))
            check_writable(file.path)
        own, foreign = replaced[0]
        return replace(found, method=files[0].planned_method(own, foreign), replaced_columns=own)
    except GaeError as error:
        return replace(
            found, action="refuse", error=error.message, hint=error.hint, exit_code=error.exit_code
        )


def _is_up_to_date(files: Sequence[RolloutFile], settings: Settings) -> bool:
    if not all(file.provenance for file in files):
        return False
    inputs = inputs_of(files)
    return all(
        is_up_to_date(
            file.provenance,
            settings,
            payload=payload_of(file),
            source=None,
            inputs=inputs,
            names=list(file.columns),
        )
        for file in files
    )
