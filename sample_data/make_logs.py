"""Logs of responses as libraries write them: `python sample_data/make_logs.py` writes `sample_data/logs/`.

No library is run: columns, their order, their types and the nesting are those of the functions named beside each. The
content is made up. Advantages are what the library's rule makes of the rewards.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

OUTPUT = Path(__file__).resolve().parent / "logs"
STEP = 3
#: (prompt, responses, accuracy, format). The second has no variance in accuracy; NaN: the function said nothing.
QUESTIONS = (
    ("What is 17 + 25?", ["42", "41", "The answer is 42.", "32"], [1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 1.0]),
    ("What is 9 * 8?", ["72", "72.", "It is 72", "seventy-two"], [1.0, 1.0, 1.0, 1.0], [1.0, 0.5, 0.0, 0.0]),
    (
        "Name a prime above 90.",
        ["97", "91", "93", "101"],
        [1.0, 0.0, 0.0, 1.0],
        [1.0, 1.0, float("nan"), 1.0],
    ),
)


def responses() -> Iterable[tuple[int, str, str, float, float]]:
    for number, (prompt, texts, accuracies, formats) in enumerate(QUESTIONS):
        for text, accuracy, form in zip(texts, accuracies, formats, strict=True):
            yield number, prompt, text, accuracy, form


def advantages(scores: list[float], eps: float, ddof: int = 1) -> list[float]:
    """(s - mean) / (std + ε) of four in a row, in float32 as torch has it."""
    groups = np.array(scores, np.float32).reshape(-1, 4)
    centred = groups - groups.mean(axis=1, keepdims=True)
    found = centred / (groups.std(axis=1, ddof=ddof, keepdims=True) + np.float32(eps))
    return [float(one) for one in found.astype(np.float32).reshape(-1)]


def chat(prompt: str) -> str:
    return f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"


def lines(name: str, rows: Iterable[dict[str, Any]], **how: Any) -> None:
    (OUTPUT / name).write_text("".join(json.dumps(row, **how) + "\n" for row in rows))


def trl() -> None:
    """TRL 1.16.0, trl/trainer/grpo_trainer.py, GRPOTrainer.log; reward weights 1, scale_rewards="group".

    Prompts and completions are the messages of a chat, or texts where the data set has texts.
    """
    rows = list(responses())
    scores = np.nansum([[accuracy, form] for *_, accuracy, form in rows], axis=1).tolist()
    table = {
        "step": [STEP] * len(rows),
        "prompt": [[{"role": "user", "content": prompt}] for _, prompt, *_ in rows],
        "completion": [[{"role": "assistant", "content": text}] for _, _, text, *_ in rows],
        "accuracy_reward": [accuracy for *_, accuracy, _ in rows],
        "format_reward": [form for *_, form in rows],
        "advantage": advantages(scores, 1e-4),
    }
    pd.DataFrame(table).to_parquet(OUTPUT / "trl_completions_00003.parquet")


def ms_swift() -> None:
    """ms-swift 4.6.0, swift/rlhf_trainers/grpo_trainer.py, GRPOTrainer.log: a line is a batch in lists."""
    rows = list(responses())
    found = []
    for step in (STEP, STEP + 1):
        scores = [accuracy for *_, accuracy, _ in rows]
        found.append(
            {
                "step": [str(step)] * len(rows),
                "prompt": [chat(prompt) for _, prompt, *_ in rows],
                "completion": [text for _, _, text, *_ in rows],
                "MathAccuracy": scores,
                "advantages": advantages(scores, 1e-4),
            }
        )
    lines("ms_swift_completions.jsonl", found, ensure_ascii=False)


def verl() -> None:
    """verl 0.9.1, verl/trainer/ppo/ray_trainer.py, RayPPOTrainer._write_generations; `acc` is of the reward."""
    rows = [
        {
            "input": f"user\n{prompt}\nassistant\n",
            "output": text,
            "gts": str(number),
            "score": accuracy,
            "step": STEP,
            "acc": accuracy > 0,
        }
        for number, prompt, text, accuracy, _ in responses()
    ]
    lines("verl_3.jsonl", rows, ensure_ascii=False, default=str)


def open_instruct() -> None:
    """open-instruct e6c3044, open_instruct/rl_utils.py, _save_rollouts: dataclass RolloutRecord; ddof 0 there."""
    rows = list(responses())
    found = advantages([10 * accuracy for *_, accuracy, _ in rows], 1e-8, ddof=0)
    lines(
        "open_instruct_rollouts_000000.jsonl",
        (
            {
                "step": STEP,
                "sample_idx": index,
                "prompt_idx": number,
                "prompt_tokens": [101, *map(ord, prompt[:4])],
                "response_tokens": [*map(ord, text[:4])],
                "reward": 10 * accuracy,
                "advantage": advantage,
                "finish_reason": "stop",
                "dataset": "gsm8k",
                "ground_truth": [52, 50],
                "request_info": None,
                "logprobs": [-0.25] * len(text[:4]),
            }
            for index, ((number, prompt, text, accuracy, _), advantage) in enumerate(
                zip(rows, found, strict=True)
            )
        ),
    )


def skyrl() -> None:
    """SkyRL 0.4.0, skyrl/train/utils/trainer_utils.py, dump_per_dataset_eval_results; a score per token."""
    rows = [
        {
            "input_prompt": chat(prompt),
            "output_response": text,
            "score": [0.0, 0.0, accuracy],
            "stop_reason": "stop",
            "env_class": "gsm8k",
            "env_extras": {"reward_spec": {"ground_truth": str(number)}},
            "data_source": "openai/gsm8k",
        }
        for number, prompt, text, accuracy, _ in responses()
    ]
    lines("skyrl_openai_gsm8k.jsonl", rows, ensure_ascii=False)


def prime_rl() -> None:
    """prime-rl 0.8.0, FileMonitor.log_episodes, of verifiers 0.4.0, Episode.to_record (None left out)."""
    rows = [
        {
            "id": f"{index:032x}",
            "env": {"id": "gsm8k", "name": "math"},
            "task": {"type": "Gsm8k", "data": {"idx": number, "prompt": prompt}, "hash": f"{number:016x}"},
            "group": {"id": f"group-{number}"},
            "run": {"type": "train", "id": "run", "work": {"type": "train", "step": STEP}},
            "ok": True,
            "errors": [],
            "traces": [
                {
                    "version": 1,
                    "id": f"{100 + index:032x}",
                    "task": {"type": "Gsm8k", "data": {"idx": number, "prompt": prompt}},
                    "nodes": [
                        {"message": {"role": "user", "content": prompt}},
                        {"message": {"role": "assistant", "content": text}, "parent": 0},
                    ],
                    "rewards": {
                        "correct": {"score": accuracy, "weight": 1.0},
                        "format": {"score": 0.0 if form != form else form, "weight": 1.0},
                    },
                    "metrics": {"num_turns": 1.0},
                    "info": {},
                    "is_completed": True,
                    "ok": True,
                }
            ],
        }
        for index, (number, prompt, text, accuracy, form) in enumerate(responses())
    ]
    lines("prime_rl_traces.jsonl", rows, separators=(",", ":"))


def verifiers() -> None:
    """verifiers 0.4.0, verifiers/legacy/utils/save_utils.py, state_to_output: prompts are messages of a chat."""
    rows = [
        {
            "example_id": number,
            "prompt": [{"role": "user", "content": prompt}],
            "completion": [{"role": "assistant", "content": text}],
            "answer": str(number),
            "reward": accuracy,
            "timing": {"generation_ms": 12.5, "scoring_ms": 0.5, "total_ms": 13.0},
            "is_completed": True,
            "is_truncated": False,
            "metrics": {"correct": accuracy},
        }
        for number, prompt, text, accuracy, _ in responses()
    ]
    lines("verifiers_results.jsonl", rows)


def nemo() -> None:
    """NeMo-RL 0.6.0, nemo_rl/utils/logger.py, log_batched_dict_as_jsonl of grpo_train: each value a batch of one."""
    rows = list(responses())
    found = advantages([accuracy for *_, accuracy, _ in rows], 1e-6)
    lines(
        "nemo_train_data_step3.jsonl",
        (
            {
                "content": [f"{prompt}{text}"],
                "rewards": [accuracy],
                "input_lengths": [6],
                "token_ids": [[1, 2, 3, 4, 5, 6]],
                "token_loss_mask": [[0, 0, 0, 1, 1, 1]],
                "sample_loss_mask": [1.0],
                "advantages": [[advantage] * 6],
                "generation_logprobs": [[0.0, 0.0, 0.0, -0.5, -0.25, -0.125]],
                "prev_logprobs": [[0.0, 0.0, 0.0, -0.5, -0.25, -0.125]],
                "idx": index,
            }
            for index, ((_, prompt, text, accuracy, _), advantage) in enumerate(zip(rows, found, strict=True))
        ),
    )


def main() -> None:
    OUTPUT.mkdir(exist_ok=True)
    for write in (trl, ms_swift, verl, open_instruct, skyrl, prime_rl, verifiers, nemo):
        write()


if __name__ == "__main__":
    main()
