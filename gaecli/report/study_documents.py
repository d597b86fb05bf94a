"""The studies for a program: the documents that `--json` of explain, sweep and verify prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from gaecli.explanation import Derivation, Explanation
from gaecli.label_summary import LabelVerification
from gaecli.report.document import enveloped, plain_value
from gaecli.results import Attempt, Sweep, Verification, Verifications
from gaecli.summary import Failure


def explanation_to_dict(explanation: Explanation | Derivation) -> dict[str, Any]:
    own = _own(explanation) | {"written": explanation.written}
    if explanation.stored is not None:
        own["stored"]["difference"] = explanation.stored.difference
    if isinstance(explanation, Derivation):
        own |= {"difference": explanation.difference}
    else:
        own |= {
            "decay": explanation.decay,
            "effective_horizon": explanation.effective_horizon,
            "is_complete": explanation.is_complete,
            "differences": {
                "mixture": explanation.mixture - explanation.recursion,
                "delta_sum": explanation.delta_sum - explanation.recursion,
            },
        }
    return enveloped(
        "explain",
        own,
        settings=explanation.settings,
        files=[explanation.path],
        warnings=explanation.warnings,
    )


def sweep_to_dict(sweep: Sweep) -> dict[str, Any]:
    settings = sweep.settings
    reference: dict[str, Any] = {"estimator": settings["estimator"], "preset": settings["preset"]}
    if sweep.is_grid:
        numbers = {"lam": sweep.reference[1] if sweep.reference is not None else None}
        numbers["n_steps"] = settings.get("n_steps")
        reference = {
            **({"gamma": settings["gamma"]} if sweep.gammas else {}),
            **{name: one for name, one in numbers.items() if one is not None},
        }
    return enveloped(
        "sweep",
        _own(sweep) | {"reference": reference},
        exit_code=sweep.exit_code,
        settings=settings,
        files=[plain_value(file) for file in sweep.files],
        failures=[
            Failure(file.input, file.error, file.hint, file.exit_code, file.follows)
            for file in sweep.files
            if file.error is not None
        ],
        warnings=sweep.warnings,
        seconds=sweep.seconds,
    )


def verification_documents(
    found: Verification | LabelVerification | Verifications, settings: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """One; of several inputs one for each, and at the end one for all of them."""
    if not isinstance(found, Verifications):
        return [verification_to_dict(found, settings)]
    return [
        *(verification_to_dict(one, settings) for one in found.inputs),
        verifications_to_dict(found, settings),
    ]


def verification_to_dict(
    verification: Verification | LabelVerification, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    own = _own(verification) | {"is_reproduced": verification.is_reproduced}
    if isinstance(verification, Verification):
        own |= {"attempts": [_attempt(attempt) for attempt in verification.attempts]}
    return enveloped(
        "verify",
        own,
        exit_code=verification.exit_code,
        settings=settings,
        files=[verification.path],
        warnings=verification.warnings if isinstance(verification, Verification) else (),
    )


def verifications_to_dict(found: Verifications, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The rule that they have in common, and which inputs it is not of."""
    own = {
        "streams": found.streams,
        "num_inputs": len(found.inputs) + sum(failure.follows is None for failure in found.failures),
        "following": [found.inputs[index].path for index in found.following],
        "differing": [one.path for one in found.differing],
        "rule": None if found.rule is None else verification_to_dict(found.rule, settings),
    }
    return enveloped(
        "verify",
        own,
        exit_code=found.exit_code,
        settings=settings,
        files=[one.path for one in found.inputs],
        failures=found.failures,
        warnings=found.warnings,
    )


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        **{field.name: getattr(attempt, field.name) for field in fields(attempt)},
        "is_reproduced": attempt.is_reproduced,
        "is_affine": attempt.is_affine,
    }


#: Fields of results that stand in the envelope.
_OF_ENVELOPE = ("settings", "files", "failures", "warnings", "seconds")


def _own(result: Any) -> dict[str, Any]:
    names = [field.name for field in fields(result) if field.name not in _OF_ENVELOPE]
    return {name: plain_value(getattr(result, name)) for name in names}
