#!/usr/bin/env bash
# pyarrow's JSON reader moves the numbers of lists when the first item of the first list is null.
#
# Logs of several reward functions keep a list of scores per response, in the order of the functions, and null where a
# function did not apply: {"rewards": [null, 0.5]}. `pyarrow.json.read_json` of pyarrow 26.0.1 infers the type of such a
# column by itself. Where the items of the first lists begin with null, it puts the nulls behind the numbers that follow,
# over the borders of lists: of the rows
#
#     [null, 0.5]   [null, 1.0]   [0.2, 0.1]
#
# it makes [0.5, null], [1.0, 0.2], [0.1, null]. Scores of the second function become those of the first, and the
# first one's 0.2 moves to the response before. No error, no warning, and the number of items is right. Lists that begin
# with a number are read as they are, and so are all of them where `explicit_schema` gives the type of the column.
# pandas 3.1.1 with `engine="pyarrow"` has the same numbers in the same wrong places, and a list
# less one null; the `json` of the standard library and Polars 2.1.0 read what was written.
#
# What to do: give the schema, or read JSON lines of such logs with another reader.
#
# Installs into a folder of its own, and fails if any of this is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 pandas==3.1.1 polars==2.1.0
cd "$folder"
venv/bin/python - <<'PY'
import json

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.json as pj

rows = [{"rewards": [None, 0.5]}, {"rewards": [None, 1.0]}, {"rewards": [0.2, 0.1]}]
with open("log.jsonl", "w") as log:
    log.writelines(json.dumps(row) + "\n" for row in rows)
written = [row["rewards"] for row in rows]
schema = pa.schema([("rewards", pa.list_(pa.float64()))])

inferred = pj.read_json("log.jsonl")["rewards"].to_pylist()
given = pj.read_json("log.jsonl", parse_options=pj.ParseOptions(explicit_schema=schema))["rewards"].to_pylist()
by_pandas = [
    [None if pd.isna(score) else float(score) for score in scores]
    for scores in pd.read_json("log.jsonl", lines=True, engine="pyarrow")["rewards"]
]
by_polars = pl.read_ndjson("log.jsonl")["rewards"].to_list()

print("written:                  ", written)
print("pyarrow 26.0.1:           ", inferred)
print("pyarrow, with the schema: ", given)
print("pandas 3.1.1, by pyarrow: ", by_pandas)
print("polars 2.1.0:             ", by_polars)
assert inferred == [[0.5, None], [1.0, 0.2], [0.1, None]], "the numbers are no longer moved as they were"
assert by_pandas == [[0.5, None], [1.0, 0.2], [0.1]], "pandas no longer shows the same"
assert given == by_polars == written
print("as described")
PY
