"""The same as pandas_grpo.py in one line, as it is found in notebooks: a function of each group.

python pandas_grpo_lambda.py FILE
"""

from __future__ import annotations

import sys

import pandas as pd

EPSILON = 1e-6


def main() -> None:
    path = sys.argv[1]
    table = pd.read_parquet(path)
    scores = table.groupby("prompt_id")["score"]
    table["advantage"] = scores.transform(lambda s: (s - s.mean()) / (s.std() + EPSILON)).astype("float32")
    table.to_parquet(path, index=False)


if __name__ == "__main__":
    main()
