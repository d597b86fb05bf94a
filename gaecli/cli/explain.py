"""`gae explain`: flags in, one library call, one advantage taken apart."""

from __future__ import annotations

from gaecli.cli.command import Given, command
from gaecli.cli.documents import print_document
from gaecli.cli.options import DECAYS, ENDS, ESTIMATOR, GROUPS, OWN, ROLE_COLUMNS, STREAMS, SUCCESS, UNITS
from gaecli.explanation import Derivation, Explanation

_TOP = 12


@command(
    *("one_input row the_episode the_step the_env top", ESTIMATOR, DECAYS, OWN, STREAMS, ENDS),
    *("mask_mode masked_reward", UNITS, "normalize normalize_by norm_ddof norm_eps norm_floor", GROUPS),
    *(ROLE_COLUMNS, SUCCESS),
    "advantage_column memory join on_nan document_json no_progress",
)
def explain(
    given: Given,
    input: str | None,
    row: int | None,
    the_episode: str | None,
    the_step: int | None,
    the_env: str | None,
    top: int | None,
    json: bool,
) -> None:
    """Take one number apart: what `--estimator` makes it of, term by term, and where the sum is cut.

    GAE's A is Σ (γλ)^l δ over the steps to the end of the trajectory, and just as well the mixture of the k-step
    advantages with weights (1-λ) λ^(k-1). Others are sums of rewards or δ's, or scores beside those of a group. γ
    and λ of each step, units of several rows and several streams are shown with all that they are made of.
    """
    settings = given.settings()
    source = given.source(input, "gae explain FILE --row N; see `gae explain --help`")
    from gaecli.commands.explain import explain as run
    from gaecli.studies.locate import StepQuery

    query = StepQuery(row, the_episode, the_step, the_env)
    shown = top if top is not None or json else _TOP
    with given.progress() as progress:
        found = run(source, query, settings, top=shown, memory_bytes=given.memory_bytes, progress=progress)
    _show(found, as_json=json)


def _show(explanation: Explanation | Derivation, *, as_json: bool) -> None:
    if as_json:
        from gaecli.report.study_documents import explanation_to_dict

        print_document(explanation_to_dict(explanation))
        return
    from gaecli.report.console import output_console

    if isinstance(explanation, Derivation):
        from gaecli.report.derivation import render_derivation

        render_derivation(explanation, output_console())
    else:
        from gaecli.report.explanation import render_explanation

        render_explanation(explanation, output_console())
