"""`gae explain`: flags in, one library call, one advantage taken apart."""

from __future__ import annotations

import sys

from gaecli.cli import options as flags
from gaecli.cli import study_options as study
from gaecli.results import Explanation
from gaecli.settings import Settings

_TOP = 12


def explain(
    input: study.OneInput,
    row: study.Row = None,
    episode: study.Episode = None,
    step: study.Step = None,
    env: study.Env = None,
    top: study.Top = None,
    gamma: flags.Gamma = None,
    lam: flags.Lam = None,
    preset: flags.Preset = "exact",
    truncation: flags.Truncation = None,
    bootstrap: flags.Bootstrap = "zero",
    done_at: flags.DoneAt = None,
    layout: flags.Layout = "auto",
    mask_mode: flags.MaskMode = None,
    masked_reward: flags.MaskedReward = "drop",
    reward_column: flags.RewardColumn = None,
    value_column: flags.ValueColumn = None,
    next_value_column: flags.NextValueColumn = None,
    bootstrap_value_column: flags.BootstrapColumn = None,
    done_column: flags.DoneColumn = None,
    terminated_column: flags.TerminatedColumn = None,
    truncated_column: flags.TruncatedColumn = None,
    not_done_column: flags.NotDoneColumn = None,
    not_truncated_column: flags.NotTruncatedColumn = None,
    final_done_column: flags.FinalDoneColumn = None,
    episode_column: flags.EpisodeColumn = None,
    env_column: flags.EnvColumn = None,
    step_column: flags.StepColumn = None,
    mask_column: flags.MaskColumn = None,
    advantage_column: flags.AdvantageColumn = "advantage",
    memory: flags.Memory = "1GiB",
    join: flags.Join = None,
    json: flags.DocumentJson = False,
    on_nan: flags.OnNan = "error",
) -> None:
    """Take one advantage apart: its δ's, its k-step advantages, and where the sum is cut.

    A is Σ (γλ)^l δ over the steps to the end of the trajectory, and just as well the mixture of the k-step
    advantages with weights (1-λ) λ^(k-1).
    """
    named = {
        "reward": reward_column,
        "value": value_column,
        "next_value": next_value_column,
        "bootstrap_value": bootstrap_value_column,
        "done": done_column,
        "terminated": terminated_column,
        "truncated": truncated_column,
        "not_done": not_done_column,
        "not_truncated": not_truncated_column,
        "final_done": final_done_column,
        "episode": episode_column,
        "env": env_column,
        "step": step_column,
        "mask": mask_column,
    }
    settings = Settings.from_preset(
        preset,
        gamma=gamma,
        lam=lam,
        truncation=truncation,
        bootstrap=bootstrap,
        done_at=done_at,
        layout=layout,
        mask_mode=mask_mode,
        masked_reward=masked_reward,
        columns={role: name for role, name in named.items() if name is not None},
        advantage_column=advantage_column,
        join=join,
        on_nan=on_nan,
    )
    from gaecli.commands.explain import explain as run
    from gaecli.studies.locate import StepQuery

    query = StepQuery(row, episode, step, env)
    shown = top if top is not None or json else _TOP
    _show(run(input, query, settings, top=shown, memory_bytes=flags.parse_size(memory)), as_json=json)


def _show(explanation: Explanation, *, as_json: bool) -> None:
    if as_json:
        from gaecli.report.document import to_json
        from gaecli.report.study_documents import explanation_to_dict

        sys.stdout.write(to_json(explanation_to_dict(explanation)) + "\n")
        return
    from gaecli.report.console import output_console
    from gaecli.report.explanation import render_explanation

    render_explanation(explanation, output_console())
