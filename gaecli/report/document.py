"""What `--json` prints, for a program: documents of one shape, whichever the command.

document = enveloped("compute", {"totals": totals}, files=[{"input": "a.parquet", "steps": 750}])
print(to_json(document))

`docs/json.md` lists the keys, and `tests/cli/test_json_documents.py` holds every command to it: a new command gives
what is its own to `enveloped`, prints by `gaecli.cli.documents.print_document`, and has its row there.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from gaecli.diagnosis import Checkup, Finding, RuleInfo
from gaecli.summary import SCHEMA_VERSION, Failure, FileSummary, Seconds, Summary, WarningNote
from gaecli.version import __version__

if TYPE_CHECKING:
    from gaecli.inspection import Inspection

#: A list of nothing but numbers as `json.dumps` indents it, one to a line. No string holds a line break.
_NUMBER_LIST = re.compile(r"\[\s*\n\s*[-\d][^\[\]{}\"]*\]")


def enveloped(
    command: str,
    own: Mapping[str, Any],
    *,
    exit_code: int = 0,
    settings: Mapping[str, Any] | None = None,
    files: Iterable[str | Mapping[str, Any]] = (),
    failures: Iterable[Failure] = (),
    warnings: Iterable[WarningNote] = (),
    seconds: float | Seconds | None = None,
) -> dict[str, Any]:
    """What `own` says beneath the keys that all commands share, in the types of JSON.

    Args:
        command: as it is typed, `compute`.
        own: what no other command says; none of the names of the envelope.
        settings: those that numbers depend on; None of a command that takes none.
        files: every input, by its name or with `input` among other keys; what failed need not be among them.
        failures: the inputs that could not be done.
        seconds: wall time, in all or by phase.
    """
    failed = [failure_to_dict(failure) for failure in failures]
    errors = {one["input"]: one for one in failed}
    named = [{"input": one} if isinstance(one, str) else one for one in files]
    others = errors.keys() - {file["input"] for file in named}
    document = {
        "schema_version": SCHEMA_VERSION,
        "command": command,
        "gaecli": __version__,
        "exit_code": exit_code,
        "settings": settings,
        "files": [
            *({**_DONE, **errors.get(file["input"], {}), **file} for file in named),
            *(one for name, one in errors.items() if name in others),
        ],
        "failures": failed,
        "warnings": list(warnings),
        "seconds": {"total": seconds} if isinstance(seconds, int | float) else seconds,
    }
    assert not document.keys() & own.keys(), document.keys() & own.keys()
    plain: dict[str, Any] = plain_value({**document, **own})
    return plain


#: What is said of an input that nothing went wrong with.
_DONE: Mapping[str, Any] = {"input": "", "error": None, "hint": None, "exit_code": 0}


def summary_to_dict(summary: Summary) -> dict[str, Any]:
    """Plain dicts, lists, strings and finite numbers; keys are added over time, never renamed."""
    own = {
        "interrupted": summary.interrupted,
        "device": summary.device,
        "backend": summary.backend,
        "device_reason": summary.device_reason,
        "streams": summary.streams,
        "totals": summary.totals,
        "bootstrapped": summary.bootstrapped,
        "columns": summary.columns,
        "explained_variance": summary.explained_variance,
        "explained_variances": summary.explained_variances,
        "normalization": summary.normalization,
        "baseline": summary.baseline,
        "units": summary.units,
        "labels": summary.labels,
        "success": summary.success,
        "steps_per_second": summary.steps_per_second,
    }
    return enveloped(
        "compute",
        own,
        exit_code=summary.exit_code,
        settings=summary.settings,
        files=[_file(file) for file in summary.files],
        failures=summary.failures,
        warnings=summary.warnings,
        seconds=summary.seconds,
    )


def inspection_to_dict(inspection: Inspection, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What `gae inspect --json` prints: a file of `files`, or the first of a stream, has all that `FileInfo` has."""
    own = {
        "streams": inspection.streams,
        "gamma": inspection.gamma,
        "explained_variance": inspection.explained_variance,
        "explained_variances": inspection.explained_variances,
    }
    return enveloped(
        "inspect",
        own,
        exit_code=inspection.exit_code,
        settings=settings,
        files=[{"input": info.path, **plain_value(info)} for info in inspection.infos],
        failures=inspection.failures,
        warnings=[note for info in inspection.infos for note in info.warnings],
        seconds=inspection.seconds,
    )


def checkup_to_dict(checkup: Checkup, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What `gae check --json` prints: a finding says which rule, where, how often, why and what to do."""
    own = {
        "strict": checkup.is_strict,
        "rules": checkup.codes,
        "counts": {
            "errors": checkup.num_errors,
            "warnings": checkup.num_warnings,
            "notes": checkup.num_notes,
            "files": checkup.num_files,
            "rows": checkup.num_rows,
        },
        "findings": [finding_to_dict(finding) for finding in checkup.findings],
        "fix": checkup.mending,
    }
    return enveloped(
        "check",
        own,
        exit_code=checkup.exit_code,
        settings=settings,
        files=checkup.files,
        failures=checkup.failures,
        seconds=checkup.seconds,
    )


def failure_to_dict(failure: Failure) -> dict[str, Any]:
    return {
        "input": failure.input,
        "error": failure.error,
        "hint": failure.hint,
        "exit_code": failure.exit_code,
    }


def rules_to_dict(rules: Sequence[RuleInfo]) -> dict[str, Any]:
    """What `gae check --list --json` prints."""
    return enveloped("check", {"rules": rules})


def finding_to_dict(finding: Finding) -> dict[str, Any]:
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
