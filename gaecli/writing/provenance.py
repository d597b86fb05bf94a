"""What a run leaves in the files it writes, and how the next run recognises its own work."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from gaecli.formats.base import RolloutFile
from gaecli.formats.stored import columns_of, own_columns, own_entries
from gaecli.formats.wrapped import WrappedFile
from gaecli.pipeline.apply import Totals
from gaecli.pipeline.group_facts import GroupFacts, StageFacts
from gaecli.records import shallow
from gaecli.settings import Settings
from gaecli.version import __version__
from gaecli.writing.kept_report import kept_report

PROVENANCE_SCHEMA = 1
#: Constants of this many groups are stored; `num_groups` counts all.
MAX_GROUPS = 64


def make_provenance(
    settings: Settings,
    *,
    layout: str,
    roles: Mapping[str, str],
    source: str,
    inputs: str,
    totals: Totals,
    words: Mapping[str, Any],
    facts: StageFacts,
    earlier: dict[str, Any] | None,
    thresholds: Mapping[Any, float] | None = None,
) -> dict[str, Any]:
    """The document stored under the key `gaecli`.

    `source` is as of `source_of`; `inputs` is the fingerprint of all files the numbers depend on if they
    are several; `words` is as of `kept_words`, and empty for all but the first of them. The writer adds
    `payload`, the fingerprint of all that is in the new file but our columns. Columns of earlier runs that
    stay in the file keep their own entry under `earlier`.
    """
    document: dict[str, Any] = {
        "schema": PROVENANCE_SCHEMA,
        "version": __version__,
        "settings": settings.to_dict(),
        "columns": list(settings.output_columns),
        "layout": layout,
        "roles": dict(roles),
        "source": source,
        "inputs": inputs,
        "counts": shallow(totals.counts),
        "bootstrapped": shallow(totals.bootstrapped),
        "report": {**kept_report(totals), **words},
        "normalization": _groups(facts.normalization),
        "num_groups": facts.normalization.num_groups,
    }
    if thresholds is not None and settings.labelling is not None:
        document["labels"] = {
            "num_groups": len(thresholds),
            "groups": [
                {"group": _label(label), "threshold": threshold if math.isfinite(threshold) else None}
                for label, threshold in list(thresholds.items())[:MAX_GROUPS]
            ],
        }
    if settings.kind.is_grouped:
        document["baseline"] = {
            "groups": _groups(facts.baseline),
            "num_groups": facts.baseline.num_groups,
            "num_degenerate": facts.baseline.num_degenerate,
            "num_alone": facts.baseline.num_alone,
            **({"num_weightless": count} if (count := facts.baseline.num_weightless) else {}),
        }
    kept = [_less(entry, settings.output_columns) for entry in own_entries(earlier)]
    if any(entry["columns"] for entry in kept):
        document["earlier"] = [entry for entry in kept if entry["columns"]]
    return document


def _label(label: object) -> str:
    """What a group of rows is called; all rows are one without a name."""
    return "" if label == () else str(label)


def _groups(facts: GroupFacts) -> list[dict[str, Any]]:
    return [
        {"group": group.label, "count": group.count, "mean": group.mean, "std": group.std}
        for group in facts.groups[:MAX_GROUPS]
    ]


def _less(entry: Mapping[str, Any], replaced: Sequence[str]) -> dict[str, Any]:
    """What an earlier run stored, for those of its columns that stay: they are still ours."""
    left = {key: value for key, value in entry.items() if key != "earlier"}
    return {**left, "columns": [name for name in columns_of(entry) if name not in replaced]}


def is_up_to_date(
    provenance: dict[str, Any] | None,
    settings: Settings,
    *,
    payload: str,
    source: str | None,
    inputs: str,
    names: Sequence[str],
) -> dict[str, Any] | None:
    """The entry of an earlier run that did just this on just these inputs, if there is one.

    `payload` is as of `payload_of`; `source` as of `source_of`, where the output is another file than the input.
    """
    wanted, columns = settings.to_dict(), settings.output_columns
    for entry in own_entries(provenance):
        if entry.get("settings") == wanted and set(columns) <= set(columns_of(entry)):
            why = why_stale(
                entry, payload=payload, source=source, inputs={inputs}, columns=columns, names=names
            )
            if why is None:
                return entry
    return None


def why_stale(
    entry: Mapping[str, Any],
    *,
    payload: str,
    source: str | None,
    inputs: Collection[str],
    columns: Sequence[str],
    names: Sequence[str],
) -> str | None:
    """Why the command that stored the entry would not leave its result alone; None: it would.

    `payload` and `source` are as of `is_up_to_date`; `inputs` is what fingerprints of all inputs may be, `columns`
    those that are to be among `names`, the columns of the file.
    """
    if entry.get("version") != __version__:
        return f"by gaecli {entry.get('version')}, and this is {__version__}"
    if entry.get("payload") != payload:
        return "its other columns have changed since"
    if source is not None and entry.get("source") != source:
        return "its input has changed since"
    if entry.get("inputs") not in inputs:
        return "files that its numbers depend on have changed since, or are not among the inputs"
    missing = [name for name in columns if name not in names]
    return f"its column `{missing[0]}` is gone" if missing else None


def digest_of(entry: Mapping[str, Any]) -> str:
    """Different wherever the numbers of a run may be, by what it stored; empty where it stored nothing."""
    if not entry:
        return ""
    told = [entry.get(key) for key in ("version", "settings", "source", "inputs")]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def payload_of(file: RolloutFile) -> str:
    """Fingerprint of all that is in a file but what gaecli put there."""
    return file.fingerprint(own_columns(file.provenance))


def source_of(file: RolloutFile, *, in_place: bool) -> str:
    """What the output depends on of its input. Elsewhere than in the input itself, time tells as well."""
    size, modified_ns, _ = file.identity
    return payload_of(file) if in_place else f"{payload_of(file)}:{size}:{modified_ns}"


def inputs_of(files: Sequence[RolloutFile]) -> str:
    """Fingerprint of all files that their numbers depend on; empty where each is a matter of one file alone."""
    return inputs_of_prints([fingerprint_of(file) for file in files])


class Fingerprint(NamedTuple):
    """Of a file, and of what is told of it beside it, if anything is."""

    payload: str
    beside: str | None


def fingerprint_of(file: RolloutFile) -> Fingerprint:
    return Fingerprint(payload_of(file), file.told_beside if isinstance(file, WrappedFile) else None)


def inputs_of_prints(prints: Sequence[Fingerprint]) -> str:
    """`inputs_of` without the files."""
    beside = [one for one in dict.fromkeys(each.beside for each in prints) if one is not None]
    if len(prints) < 2 and not beside:
        return ""
    return combined_fingerprint([*(each.payload for each in prints), *beside])


def combined_fingerprint(fingerprints: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(fingerprints).encode()).hexdigest()
