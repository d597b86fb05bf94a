"""Which files of responses libraries log: what they are known by, and what tells prompts and rewards.

Plain data. Read in the sources of the libraries at the versions named; `docs/formats.md` shows the table.
"""

from __future__ import annotations

from gaecli.records import dataclass


@dataclass(frozen=True, kw_only=True)
class ResponseLogKind:
    """One row: a file that one writer makes."""

    name: str
    #: Library and version, file, function.
    writer: str
    #: What the file is called.
    files: str
    #: Columns that are all there, those that are texts (or lists of them) first.
    texts: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    #: Columns that together tell the responses to one prompt; of `A or B` the first that is there.
    group: tuple[str, ...]
    #: The columns of scores: those of the first form that is there; `*` is any name. Empty: every other column of
    #: numbers is a reward function.
    rewards: tuple[str, ...] = ()
    #: Columns of numbers beside the reward functions.
    no_rewards: tuple[str, ...] = ()
    #: Where its writer puts advantages.
    advantage: str | None = None
    estimator: str = "grpo"
    #: That of the library, whose rules for scores the command has.
    preset: str = "exact"
    #: The column that tells the responses of a group apart, of which each is several rows.
    sample_of: str | None = None
    #: Files end after so many lines, whatever the group: it goes on in the next one.
    is_sharded: bool = False
    #: Said of it wherever it is recognised.
    remark: str = ""


#: What libraries log beside rewards, per response.
_MEASURES = ("entropy", "num_turns", "completion_length", "completion_lengths", "mode", "rollout_id")

#: What more takes to recognise stands before what takes less.
RESPONSE_LOGS: tuple[ResponseLogKind, ...] = (
    ResponseLogKind(
        name="open-instruct rollouts",
        writer="open-instruct e6c3044, open_instruct/rl_utils.py, _save_rollouts",
        files="`RUN_rollouts_000000.jsonl`",
        others=("step", "sample_idx", "prompt_idx", "prompt_tokens", "response_tokens", "reward"),
        group=("step", "prompt_idx"),
        rewards=("reward",),
        advantage="advantage",
        preset="open-instruct",
        is_sharded=True,
    ),
    ResponseLogKind(
        name="ms-swift completions",
        writer="ms-swift 4.6.0, swift/rlhf_trainers/grpo_trainer.py, GRPOTrainer.log",
        files="`completions.jsonl`, a line per batch",
        texts=("step", "prompt", "completion"),
        others=("advantages",),
        group=("step", "prompt"),
        no_rewards=_MEASURES,
        advantage="advantages",
        preset="ms-swift",
    ),
    ResponseLogKind(
        name="ms-swift Megatron completions",
        writer="ms-swift 4.6.0, swift/megatron/trainers/grpo_trainer.py, _build_log_table",
        files="`completions.jsonl`, a line per batch",
        texts=("prompt", "completion"),
        others=("gen_step", "advantages"),
        group=("gen_step", "prompt"),
        no_rewards=_MEASURES,
        advantage="advantages",
        preset="ms-swift",
    ),
    ResponseLogKind(
        name="ms-swift Ray completions",
        writer="ms-swift 4.6.0, swift/ray/megatron/base_trainer.py, _maybe_log_completions",
        files="`completions.jsonl`",
        texts=("prompt", "completion"),
        others=("gen_step", "reward"),
        group=("gen_step", "prompt"),
        rewards=("reward",),
        preset="ms-swift",
    ),
    ResponseLogKind(
        name="TRL completions",
        writer="TRL 1.16.0, trl/trainer/grpo_trainer.py, GRPOTrainer.log",
        files="`completions/completions_00003.parquet`",
        texts=("prompt", "completion"),
        others=("step", "advantage"),
        group=("step", "prompt"),
        no_rewards=_MEASURES,
        advantage="advantage",
        preset="trl",
    ),
    ResponseLogKind(
        name="verl rollouts",
        writer="verl 0.9.1, verl/trainer/ppo/ray_trainer.py, RayPPOTrainer._write_generations",
        files="`<rollout_data_dir>/<step>.jsonl`",
        texts=("input", "output"),
        others=("score", "step"),
        group=("step", "input"),
        rewards=("score",),
        preset="verl",
    ),
    ResponseLogKind(
        name="SkyRL evaluation results",
        writer="SkyRL 0.4.0, skyrl/train/utils/trainer_utils.py, dump_per_dataset_eval_results",
        files="`<data_source>.jsonl`",
        texts=("input_prompt", "output_response"),
        others=("score", "env_class"),
        group=("input_prompt",),
        rewards=("score",),
        preset="skyrl",
    ),
    ResponseLogKind(
        name="verifiers results",
        writer="verifiers 0.4.0, verifiers/legacy/utils/save_utils.py, state_to_output",
        files="`results.jsonl`",
        others=("example_id", "prompt", "completion", "reward"),
        group=("example_id",),
        rewards=("reward",),
        estimator="dr-grpo",
        preset="prime-rl",
    ),
    ResponseLogKind(
        name="prime-rl episodes",
        writer="prime-rl 0.8.0, src/prime_rl/monitors/file.py, FileMonitor.log_episodes; "
        "verifiers 0.4.0, verifiers/v1/episode.py, Episode.to_record",
        files="`rollouts/step_N/train/{all,effective}/traces.jsonl`",
        others=("task", "traces", "group.id"),
        group=("group.id",),
        rewards=("traces.rewards.*.score", "traces.rewards.*", "traces.reward"),
        estimator="dr-grpo",
        preset="prime-rl",
        remark="`effective/` repeats episodes of `all/`",
    ),
    ResponseLogKind(
        name="verifiers traces",
        writer="verifiers 0.4.0, verifiers/v1/trace.py, Trace.to_record",
        files="`traces.jsonl`",
        others=("task", "nodes", "rewards"),
        group=("task.hash or task.key or task.data.idx or task.data.prompt",),
        rewards=("rewards.*.score", "rewards.*", "reward"),
        estimator="dr-grpo",
        preset="prime-rl",
    ),
    ResponseLogKind(
        name="Tinker rollout summaries",
        writer="tinker-cookbook, tinker_cookbook/rl/rollout_logging.py, write_rollout_summaries_jsonl, schema 1",
        files="`train_rollout_summaries.jsonl`",
        others=("iteration", "group_idx", "traj_idx", "total_reward", "final_reward", "steps"),
        group=("iteration", "group_idx"),
        rewards=("total_reward",),
        estimator="dr-grpo",
    ),
    ResponseLogKind(
        name="Tinker token rows",
        writer="tinker-cookbook, token DB, schema 2",
        files="Parquet, a row per turn",
        others=("iteration", "group_idx", "traj_idx", "step_idx", "ac_tokens", "total_reward"),
        group=("split", "iteration", "group_idx"),
        rewards=("total_reward",),
        estimator="dr-grpo",
        sample_of="traj_idx",
    ),
    ResponseLogKind(
        name="NeMo RL training data",
        writer="NeMo-RL 0.6.0, nemo_rl/algorithms/grpo.py, grpo_train; "
        "nemo_rl/utils/logger.py, log_batched_dict_as_jsonl",
        files="`train_data_stepN.jsonl`",
        others=("rewards", "input_lengths", "token_loss_mask", "sample_loss_mask", "idx"),
        group=(),
        rewards=("rewards",),
        advantage="advantages",
        preset="nemo",
    ),
)
