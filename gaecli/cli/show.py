"""`gae show`: flags in, what `gae report` gathers, one screen."""

from __future__ import annotations

from gaecli.cli.command import Given, command
from gaecli.cli.options import DECAYS, ENDS, ESTIMATOR, GROUPS, OWN, ROLE_COLUMNS, STREAMS, SUCCESS, UNITS
from gaecli.errors import UsageError


@command(
    *("one_input page_episodes", ESTIMATOR, DECAYS, OWN, STREAMS, ENDS),
    *("mask_mode masked_reward", UNITS, "normalize normalize_by norm_ddof norm_eps norm_floor", GROUPS),
    *(ROLE_COLUMNS, SUCCESS),
    "advantage_column memory jobs join on_nan no_progress",
)
def show(given: Given, input: str | None, page_episodes: int) -> None:
    """Explore rollouts in the terminal: episodes and their curves, findings, distributions.

    What gae report puts on a page, with the same options. Keys stand in the last line; q quits.
    Needs the extra gaecli[show].
    """
    settings = given.settings(of_groups="grpo")
    if input is None:
        raise UsageError("no input given", hint="gae show FILE; see `gae show --help`")
    from gaecli.screen import check_available

    check_available(input)
    from gaecli.commands.report import ReportOptions, report_content

    options = ReportOptions(
        episodes=page_episodes,
        memory_bytes=given.memory_bytes,
        jobs=given["jobs"],
        command="gae show",
    )
    with given.progress() as progress:
        content = report_content(input, settings, options, progress=progress)
    from gaecli.screen.app import ShowApp

    ShowApp(content).run()
