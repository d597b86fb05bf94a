"""The summary of `gae compute` for a program: the document that `--json` prints.

document = summary_to_dict(summary)
print(to_json(document))
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from typing import Any

from gaecli.diagnosis import Checkup, Finding, RuleInfo
from gaecli.summary import SCHEMA_VERSION, Failure, FileSummary, Inspection, Summary

#: A list of nothing but numbers as `json.dumps` indents it, one to a line. No string holds a line break.
_NUMBER_LIST = re.compile(r"\[\s*\n\s*[-\d][^\[\]{}\"]*\]")


def summary_to_dict(summary: Summary) -> dict[str, Any]:
    """Plain dicts, lists, strings and finite numbers; keys are added over time, never renamed."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "exit_code": summary.exit_code,
        "interrupted": summary.interrupted,
        "settings": summary.settings,
        "device": summary.device,
        "backend": summary.backend,
        "device_reason": summary.device_reason,
        "streams": summary.streams,
        "files": [_file(file) for file in summary.files],
        "totals": summary.totals,
        "bootstrapped": summary.bootstrapped,
        "columns": summary.columns,
        "explained_variance": summary.explained_variance,
        "explained_variances": summary.explained_variances,
        "normalization": summary.normalization,
        "baseline": summary.baseline,
        **{
            name: told
            for name in ("units", "labels", "success")
            if (told := getattr(summary, name)) is not None
        },
        "warnings": summary.warnings,
        "seconds": summary.seconds,
        "steps_per_second": summary.steps_per_second,
    }
    plain: dict[str, Any] = plain_value(document)
    return plain


def inspection_to_dict(inspection: Inspection) -> dict[str, Any]:
    """What `gae inspect --json` prints: a document per stream of files, as `FileInfo` has it."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "exit_code": inspection.exit_code,
        "streams": inspection.streams,
        "gamma": inspection.gamma,
        "explained_variance": inspection.explained_variance,
        "explained_variances": inspection.explained_variances,
        "files": inspection.infos,
        "failures": [failure_to_dict(failure) for failure in inspection.failures],
        "seconds": inspection.seconds,
    }
    plain: dict[str, Any] = plain_value(document)
    return plain


def checkup_to_dict(checkup: Checkup) -> dict[str, Any]:
    """What `gae check --json` prints: a finding says which rule, where, how often, why and what to do."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "exit_code": checkup.exit_code,
        "strict": checkup.is_strict,
        "rules": checkup.codes,
        "errors": checkup.num_errors,
        "warnings": checkup.num_warnings,
        "notes": checkup.num_notes,
        "files": checkup.num_files,
        "rows": checkup.num_rows,
        "findings": [_finding(finding) for finding in checkup.findings],
        "failures": [failure_to_dict(failure) for failure in checkup.failures],
        "seconds": checkup.seconds,
    }
    plain: dict[str, Any] = plain_value(document)
    return plain


def failure_to_dict(failure: Failure) -> dict[str, Any]:
    return {
        "input": failure.input,
        "error": failure.error,
        "hint": failure.hint,
        "exit_code": failure.exit_code,
    }


def rules_to_dict(rules: Sequence[RuleInfo]) -> dict[str, Any]:
    """What `gae check --list --json` prints."""
    plain: dict[str, Any] = plain_value({"schema_version": SCHEMA_VERSION, "rules": rules})
    return plain


def _finding(finding: Finding) -> dict[str, Any]:
    rule = finding.rule
    return {
        "code": rule.code,
        "name": rule.name,
        "severity": rule.severity,
        "file": finding.file,
        "row": finding.row,
        "place": finding.place,
        "count": finding.count,
        "unit": finding.unit,
        "message": finding.message,
        "why": rule.why,
        "bugs": rule.bugs,
        "fix": finding.fix or rule.fix,
    }


def to_json(document: Mapping[str, Any]) -> str:
    """Indented, a list of numbers to a line; in ASCII, which any locale prints whatever a file is called."""
    text = json.dumps(plain_value(document), indent=2, allow_nan=False)
    return _NUMBER_LIST.sub(lambda match: _on_one_line(match.group()), text)


def plain_value(value: Any) -> Any:
    """`value` in the types of JSON. What is not finite becomes null: JSON has no NaN."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    if isinstance(value, Set):
        return sorted((plain_value(item) for item in value), key=str)
    if is_dataclass(value) and not isinstance(value, type):
        # Not dataclasses.asdict: it copies deeply, which a read-only mapping refuses.
        return plain_value({field.name: getattr(value, field.name) for field in fields(value)})
    if hasattr(value, "item"):  # a NumPy scalar; this room does not import NumPy
        return plain_value(value.item())
    return str(value)


def _file(file: FileSummary) -> dict[str, Any]:
    """The counts of a file stand beside its name, not one level deeper."""
    return {
        "input": file.input,
        "output": file.output,
        "status": file.status,
        "format": file.format,
        "layout": file.layout,
        **plain_value(file.counts),
        "error": file.error,
        "hint": file.hint,
        "exit_code": file.exit_code,
        "method": file.method,
        "columns": file.columns,
    }


def _on_one_line(numbers: str) -> str:
    return re.sub(r"\s+", " ", numbers).replace("[ ", "[").replace(" ]", "]")
