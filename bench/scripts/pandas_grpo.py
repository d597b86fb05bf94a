"""The script people write: (score - mean) / (std + ε) by `groupby().transform()`, and the file written again.

python pandas_grpo.py [--lambda] FILE

With pandas' own functions, or in one line with a function of each group, as it is found in notebooks.
"""

from __future__ import annotations

import sys

import pandas as pd

EPSILON = 1e-6


def main() -> None:
    *flags, path = sys.argv[1:]
    table = pd.read_parquet(path)
    scores = table.groupby("prompt_id")["score"]
    if "--lambda" in flags:
        advantages = scores.transform(lambda group: (group - group.mean()) / (group.std() + EPSILON))
    else:
        spread = scores.transform("std").fillna(0.0) + EPSILON
        advantages = (table["score"] - scores.transform("mean")) / spread
    table["advantage"] = advantages.astype("float32")
    table.to_parquet(path, index=False)


if __name__ == "__main__":
    main()
