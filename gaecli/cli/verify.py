"""`gae verify`: flags in, one library call, which convention made a column."""

from __future__ import annotations

import typer

from gaecli.cli.command import Given, command
from gaecli.cli.documents import print_documents
from gaecli.cli.options import CLIPS, LABEL_RULE, OTHER_DECAYS, ROLE_COLUMNS, STREAMS, UNITS
from gaecli.label_summary import LabelVerification
from gaecli.results import Verification, Verifications
from gaecli.settings import Settings

_SCORE_COLUMNS = ("sample_of", "batch_column", "length_column", "state_column", "baseline_column")


@command(
    "inputs against against_file only_preset only_estimator only_groups only_n_steps bootstrap done_at reward_at "
    "layout",
    f"rewards {' '.join(_SCORE_COLUMNS)}",
    f"{LABEL_RULE} advantage_column",
    "success_column only_success_reward only_failure_cost success_at",
    CLIPS,
    *(OTHER_DECAYS, STREAMS, UNITS, ROLE_COLUMNS),
    "memory files_from join document_json quiet no_progress on_nan",
)
def verify(
    given: Given,
    against: str,
    against_file: str | None,
    only_preset: str | None,
    only_estimator: str | None,
    only_groups: list[str] | None,
    only_n_steps: int | None,
    only_success_reward: str | None,
    only_failure_cost: float | None,
    json: bool,
    quiet: bool,
) -> None:
    """Find the rule that made a column of advantages or returns, or where the column deviates from it.

    Presets with the γ and λ that fit, returns, and the group baselines of libraries over columns that may tell
    groups apart.

    Exit code 0 if one reproduces it at every row, to the rounding of float32; 3 if none does. A whitened
    column counts as reproduced if one scale and shift lead to it, a constant one does not. A column of labels
    is held against the advantages in the file, by the rule given or by those of the libraries. Of several inputs
    each is verified by itself, and one rule has to reproduce all of them.
    """
    from gaecli.commands.verify import verify_inputs as run
    from gaecli.estimator_kinds import ESTIMATOR_ROLES
    from gaecli.studies.tested import TESTED

    success = {**given.taken(["success_column", "success_at"]), "success_reward": only_success_reward}
    columns, rewards = given.taken(_SCORE_COLUMNS), given.taken(["rewards"])["rewards"]
    tested = given.taken(TESTED)
    policies = {**given.taken_columns(ESTIMATOR_ROLES), **given.taken(CLIPS.split())}
    settings = given.settings()
    sources = given.sources("gae verify FILE…; see `gae verify --help`")
    more = {
        "preset": only_preset,
        "estimator": only_estimator,
        "group_column": only_groups or None,
        "n_steps": only_n_steps,
        "rewards": rewards or None,
        "score_columns": columns,
        "tested": tested,
        "policies": policies,
        "success": {**success, "failure_cost": only_failure_cost},
        "memory_bytes": given.memory_bytes,
    }
    with given.progress(quiet=quiet) as progress:
        found = run(sources, against, settings, column_source=against_file, progress=progress, **more)
    _show(found, settings, as_json=json, quiet=quiet)
    raise typer.Exit(found.exit_code)


def _show(
    found: Verification | LabelVerification | Verifications, settings: Settings, *, as_json: bool, quiet: bool
) -> None:
    if as_json:
        from gaecli.report.study_documents import verification_documents

        print_documents(verification_documents(found, settings.to_dict()))
    elif not quiet:
        from gaecli.report.console import output_console
        from gaecli.report.label_verification import render_label_verification
        from gaecli.report.verification import render_verification
        from gaecli.report.verifications import render_verifications

        if isinstance(found, Verification):
            render_verification(found, output_console())
        elif isinstance(found, LabelVerification):
            render_label_verification(found, output_console())
        else:
            render_verifications(found, output_console())
    if isinstance(found, Verifications) and found.failures:
        from gaecli.report.messages import print_failures

        print_failures(failure for failure in found.failures if failure.follows is None)
