"""The script people write: (score - mean) / (std + ε) by `groupby().transform()`, and the file written again.

python pandas_grpo.py FILE
"""

from __future__ import annotations

import sys

import pandas as pd

EPSILON = 1e-6


def main() -> None:
    path = sys.argv[1]
    table = pd.read_parquet(path)
    scores = table.groupby("prompt_id")["score"]
    spread = scores.transform("std").fillna(0.0) + EPSILON
    table["advantage"] = ((table["score"] - scores.transform("mean")) / spread).astype("float32")
    table.to_parquet(path, index=False)


if __name__ == "__main__":
    main()
