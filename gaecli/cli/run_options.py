"""The options of how a run goes, of what goes in and out, and of cells that cannot be computed with."""

from __future__ import annotations

from gaecli.cli.option import Option, number, switch

_RUN = "Run"
_OUTPUT = "Input and output"

CELL_OPTIONS = (
    switch(
        "join",
        "Trajectories run on from file to file, or every file stands alone. Default: shards of one data set are "
        "joined.",
        _OUTPUT,
        flags="--join/--no-join",
        default=None,
    ),
    Option(
        "precision", "float64 or float32 arithmetic; columns are float32.", _RUN, "double|single", "double"
    ),
    Option(
        "on_nan",
        "NaN, infinite and null cells are an error, or leave their episode out.",
        _OUTPUT,
        "error|drop-episode",
        "error",
    ),
)

RUN_OPTIONS = (
    Option(
        "device",
        "`auto`: NumPy below 500 million steps, above it the first CUDA device, if there is one. Other names mean "
        "torch.",
        _RUN,
        "auto|cpu|cuda|cuda:N|mps",
        "auto",
    ),
    number(
        "jobs",
        "Threads, or tasks of a cluster at a time. Default: one per core.",
        _RUN,
        int,
        flags="--jobs -j",
    ),
    Option(
        "engine",
        "`ray`: the workers of a Ray cluster do what threads of this process do otherwise.",
        _RUN,
        "local|ray",
        "local",
    ),
    Option(
        "ray_address",
        "The cluster. Default: `RAY_ADDRESS`, else a Ray of this machine for the run.",
        _RUN,
        "HOST:PORT",
    ),
    Option(
        "output",
        "File, directory or `s3://…` to write to, instead of the input; `-` for stdout.",
        _OUTPUT,
        "FILE|DIR|-",
        flags="--output -o",
    ),
    Option(
        "to",
        "The format of what is written, for a directory or stdout; a file has it by its name.",
        _OUTPUT,
        "parquet|arrow|jsonl|csv|npz",
    ),
    switch("sidecar", "Write keys and new columns to `<stem>.gae.parquet`.", _OUTPUT),
    switch("overwrite", "Replace columns or files that gaecli did not write.", _OUTPUT),
    switch("force", "Compute and write again what is up to date.", _OUTPUT),
    switch("dry_run", "Compute and report, write nothing.", _OUTPUT),
)

SHARED_OPTIONS = (
    Option(
        "inputs",
        "Files, quoted globs, directories, `s3://…`, or `-` for stdin. Default: what is piped in.",
        None,
        "INPUT",
        kind=list[str],
    ),
    Option(
        "files_from",
        "Read names of inputs from a file, or `-` for stdin; NUL or newline between.",
        _OUTPUT,
        "FILE|-",
    ),
    Option("memory", "Working set, about.", _RUN, "SIZE", "1GiB"),
    switch("no_progress", "Show no progress while a run takes its time.", _OUTPUT),
)
