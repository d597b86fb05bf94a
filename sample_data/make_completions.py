"""Makes `completions/completions_00020.parquet`: a log of completions as TRL's `log_completions` writes them.

Four sums, four answers each, in two steps of a training run; the rewards are those of two functions with the weights
1 and 0.5, and `advantage` is what TRL's GRPO makes of them: (s - mean) / (std + 1e-4) over the answers to a prompt.

    python sample_data/make_completions.py
"""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev

import pyarrow as pa
import pyarrow.parquet as pq

OUTPUT = Path(__file__).parent / "completions" / "completions_00020.parquet"
WEIGHTS = {"accuracy_reward": 1.0, "format_reward": 0.5}
#: Prompt, the right answer, and by step the answers with whether they stand in the tags.
PROMPTS = (
    (
        "What is 17 + 25?",
        42,
        {10: ((42, 1), (42, 1), (32, 1), (43, 0)), 20: ((42, 1), (42, 1), (42, 1), (42, 1))},
    ),
    (
        "What is 9 * 8?",
        72,
        {10: ((71, 1), (72, 0), (17, 0), (81, 1)), 20: ((72, 1), (72, 0), (72, 1), (63, 1))},
    ),
    (
        "What is 100 - 58?",
        42,
        {10: ((58, 0), (52, 0), (48, 1), (42, 1)), 20: ((42, 1), (42, 1), (52, 1), (42, 1))},
    ),
    (
        "What is 144 / 12?",
        12,
        {10: ((11, 0), (14, 0), (24, 0), (16, 0)), 20: ((12, 1), (11, 1), (12, 1), (14, 0))},
    ),
)


#: What stands before an answer: no two completions of a prompt are alike.
THOUGHTS = ("Let me see.", "I take it step by step.", "That is easy.", "First the tens, then the ones.")


def rows() -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for step in (10, 20):
        for prompt, right, answers in PROMPTS:
            rewards = [(float(answer == right), float(tags)) for answer, tags in answers[step]]
            scores = [sum(w * r for w, r in zip(WEIGHTS.values(), pair, strict=True)) for pair in rewards]
            for thought, (answer, tags), pair, score in zip(
                THOUGHTS, answers[step], rewards, scores, strict=True
            ):
                found.append(
                    {
                        "step": step,
                        "prompt": prompt,
                        "completion": f"{thought} <answer>{answer}</answer>"
                        if tags
                        else f"{thought} It is {answer}.",
                        **dict(zip(WEIGHTS, pair, strict=True)),
                        "advantage": (score - mean(scores)) / (stdev(scores) + 1e-4),
                    }
                )
    return found


if __name__ == "__main__":
    OUTPUT.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows()), OUTPUT)
