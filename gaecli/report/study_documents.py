"""The studies for a program: the documents that `--json` of explain, sweep and verify prints."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from gaecli.label_summary import LabelVerification
from gaecli.report.document import failure_to_dict, plain_value, to_json
from gaecli.results import Attempt, Derivation, Explanation, Sweep, Verification, Verifications
from gaecli.summary import SCHEMA_VERSION


def explanation_to_dict(explanation: Explanation | Derivation) -> dict[str, Any]:
    document = _document(explanation) | {"written": explanation.written}
    if explanation.stored is not None:
        document["stored"]["difference"] = explanation.stored.difference
    if isinstance(explanation, Derivation):
        return _plain(document | {"difference": explanation.difference})
    document |= {
        "decay": explanation.decay,
        "effective_horizon": explanation.effective_horizon,
        "is_complete": explanation.is_complete,
        "differences": {
            "mixture": explanation.mixture - explanation.recursion,
            "delta_sum": explanation.delta_sum - explanation.recursion,
        },
    }
    return _plain(document)


def sweep_to_dict(sweep: Sweep) -> dict[str, Any]:
    document = _document(sweep)
    settings = sweep.settings
    reference: dict[str, Any] = {"estimator": settings["estimator"], "preset": settings["preset"]}
    if sweep.is_grid:
        numbers = {"lam": sweep.reference[1] if sweep.reference is not None else None}
        numbers["n_steps"] = settings.get("n_steps")
        reference = {
            **({"gamma": settings["gamma"]} if sweep.gammas else {}),
            **{name: one for name, one in numbers.items() if one is not None},
        }
    return _plain(document | {"reference": reference, "exit_code": sweep.exit_code})


def verification_to_dict(verification: Verification | LabelVerification) -> dict[str, Any]:
    document = _document(verification)
    if isinstance(verification, LabelVerification):
        told = {"is_reproduced": verification.is_reproduced, "exit_code": verification.exit_code}
        return _plain(document | told)
    document |= {
        "is_reproduced": verification.is_reproduced,
        "exit_code": verification.exit_code,
        "attempts": [_attempt(attempt) for attempt in verification.attempts],
    }
    return _plain(document)


def verification_lines_of(found: Verification | LabelVerification | Verifications) -> list[str]:
    """One document; of several inputs a line for each, and one for all of them at the end."""
    if not isinstance(found, Verifications):
        return [to_json(verification_to_dict(found))]
    documents = [verification_to_dict(one) for one in found.inputs]
    return [json.dumps(document, allow_nan=False) for document in [*documents, verifications_to_dict(found)]]


def verifications_to_dict(found: Verifications) -> dict[str, Any]:
    """The rule that they have in common, and which inputs it is not of."""
    return _plain(
        {
            "schema_version": SCHEMA_VERSION,
            "exit_code": found.exit_code,
            "streams": found.streams,
            "num_inputs": len(found.inputs) + sum(failure.follows is None for failure in found.failures),
            "following": [found.inputs[index].path for index in found.following],
            "differing": [one.path for one in found.differing],
            "rule": None if found.rule is None else verification_to_dict(found.rule),
            "failures": [failure_to_dict(failure) for failure in found.failures],
        }
    )


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        **{field.name: getattr(attempt, field.name) for field in fields(attempt)},
        "is_reproduced": attempt.is_reproduced,
        "is_affine": attempt.is_affine,
    }


def _document(result: Any) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        **{field.name: plain_value(getattr(result, field.name)) for field in fields(result)},
    }


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = plain_value(document)
    return plain
