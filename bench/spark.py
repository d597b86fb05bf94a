"""Files that Spark wrote, labelled by `gae compute`, and read by Spark, DuckDB, Polars and pyarrow.

    python -m venv spark && spark/bin/pip install pyspark pyarrow duckdb polars pandas    # and Java 17
    spark/bin/python bench/spark.py --gae .venv/bin/gae

No timing: it asserts. Codecs, nested types, several row groups, partitions, buckets, page versions, bloom
filters, with and without dictionaries; in place and elsewhere. Old columns must be the same, types as well,
new ones visible, and filters must find the same rows. About four minutes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

NEW = ["advantage", "return"]
ROWS = 4000
COLUMNS = """
    id, cast(id / 100 as int) episode_id, cast(id % 100 as int) t, cast(rand(1) as float) reward, randn(2) value,
    id % 100 = 99 terminated, concat('agent-', id % 3) agent,
    named_struct('x', rand(3), 'v', array(rand(4), rand(5)), 'n', named_struct('deep', 's')) observation,
    map('k', rand(6), 'j', cast(null as double)) infos,
    array(named_struct('a', id, 'b', if(id % 5 = 0, null, 'b'))) events,
    timestamp_micros(id * 1000000) at, cast(id as decimal(20, 4)) price, current_date() day,
    encode(cast(id as string), 'utf-8') blob
"""
WRITERS: dict[str, dict[str, Any]] = {
    "snappy": {"compression": "snappy"},
    "gzip": {"compression": "gzip"},
    "zstd": {"compression": "zstd"},
    "lz4": {"compression": "lz4_raw"},
    "plain": {"compression": "uncompressed", "parquet.enable.dictionary": "false"},
    "groups": {
        "parquet.block.size": 65536,
        "parquet.page.size": 4096,
        "parquet.block.size.row.check.min": 100,
        "parquet.page.size.row.check.min": 10,
    },
    "version 2": {"parquet.writer.version": "v2"},
    "bloom": {"parquet.bloom.filter.enabled#id": "true", "parquet.bloom.filter.expected.ndv#id": 5000},
    "files": {"maxRecordsPerFile": 1500},
}
FILTERS = (
    "id between 1200 and 1300",
    "agent = 'agent-1' and t < 5",
    "terminated",
    "value is null",
    "id = 77",
    "id = 100000",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gae", default="gae")
    gae = parser.parse_args().gae
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        spark = (
            SparkSession.builder.master("local[1]")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.warehouse.dir", str(root / "warehouse"))
            .getOrCreate()
        )
        spark.sparkContext.setLogLevel("OFF")
        sources = root / "sources"
        write(spark, sources)
        shutil.move(root / "warehouse" / "bucketed", sources / "bucketed")
        for source in sorted(sources.iterdir()):
            in_place = Path(shutil.copytree(source, root / "in place" / source.name))
            elsewhere = root / "elsewhere" / source.name
            elsewhere.mkdir(parents=True)
            for target, arguments in ((in_place, [in_place]), (elsewhere, [source, "-o", elsewhere])):
                done = subprocess.run([gae, "compute", *arguments, "--json"], check=True, capture_output=True)
                files = json.loads(done.stdout)["files"]
                assert all((file["status"], file["method"]) == ("written", "splice") for file in files), files
                compare(spark, source, target)
                print(f"{source.name} · {target.parent.name} · {len(files)} files", flush=True)


def write(spark: SparkSession, root: Path) -> None:
    rows = spark.range(ROWS).selectExpr(*_split(COLUMNS)).coalesce(1).sortWithinPartitions("id")
    for name, options in WRITERS.items():
        rows.write.options(**options).parquet(str(root / name))
    rows.selectExpr("*", "cast(id / 2000 as int) run").write.partitionBy("run").parquet(
        str(root / "partitions")
    )
    rows.write.bucketBy(2, "episode_id").sortBy("episode_id", "t").format("parquet").saveAsTable("bucketed")
    rows.limit(0).write.parquet(str(root / "empty"))


def compare(spark: SparkSession, source: Path, target: Path) -> None:
    for old, new in zip(sorted(source.rglob("*.parquet")), sorted(target.rglob("*.parquet")), strict=True):
        before, after = (pq.read_table(path, partitioning=None) for path in (old, new))
        assert after.column_names == [*before.column_names, *NEW]
        assert after.drop_columns(NEW).equals(before)
        assert after.drop_columns(NEW).schema.equals(before.schema)
        seen = polars.read_parquet(new, hive_partitioning=False)
        assert seen.drop(NEW).equals(polars.read_parquet(old, hive_partitioning=False))
        query = "FROM read_parquet('{}', hive_partitioning = false)"
        added = duckdb.sql('SELECT * EXCLUDE (advantage, "return") ' + query.format(new)).fetchall()
        assert added == duckdb.sql(query.format(old)).fetchall()
    before, after = spark.read.parquet(str(source)), spark.read.parquet(str(target))
    old_types, new_types = dict(before.dtypes), dict(after.dtypes)
    assert new_types == {**old_types, "advantage": "float", "return": "float"}
    assert rows_of(after.select(*before.columns)) == rows_of(before)
    everything = f"{target}/**/*.parquet"
    for condition in (*FILTERS, "advantage > 2.5"):
        found = ids(after.filter(condition))
        if "advantage" not in condition:
            assert found == ids(before.filter(condition)), condition
        query = f"SELECT id FROM read_parquet('{everything}') WHERE {condition} ORDER BY id"
        assert found == [row[0] for row in duckdb.sql(query).fetchall()], condition
    lazy = polars.scan_parquet(everything).filter(polars.col("advantage") > 2.5).select("id").sort("id")
    assert ids(after.filter("advantage > 2.5")) == lazy.collect()["id"].to_list()


def rows_of(frame: DataFrame) -> list[dict[str, Any]]:
    return [row.asDict(recursive=True) for row in frame.orderBy("id").collect()]


def ids(frame: DataFrame) -> list[int]:
    return [row["id"] for row in frame.select("id").orderBy("id").collect()]


def _split(columns: str) -> list[str]:
    """At the commas that are in no parentheses."""
    parts, depth = [""], 0
    for letter in columns:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


if __name__ == "__main__":
    main()
