#!/usr/bin/env bash
# An Arrow file cannot be read as a stream from byte 8, unless pyarrow wrote it.
#
# The Arrow columnar format says of an IPC file: magic bytes, padding to 8, then the same bytes as a stream, then a
# footer. So a reader that does not have the end of the file yet (a pipe, a download) passes over 8 bytes and reads
# a stream. That works with files of pyarrow 26.0.1. It fails with those of
#
#   arro3-io 0.9.1 (arrow-rs): its padding ends at byte 64, where the stream begins;
#   Polars 2.1.0 (`write_ipc`, `sink_ipc`): its first message, the schema, has neither the mark 0xFFFFFFFF nor its
#   length before it, so that there is no stream anywhere.
#
# Readers that begin at the footer see nothing of it: the schema stands there again, with the places of all batches.
# What to do: go by the footer, and let pipes carry streams (`write_ipc_stream` of either library).
#
# Installs into a folder of its own, and fails if any of this is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  polars==2.1.0 pyarrow==26.0.1 arro3-core==0.9.1 arro3-io==0.9.1
cd "$folder"
venv/bin/python - <<'PY'
import io

import arro3.core
import arro3.io
import polars as pl
import pyarrow as pa

rows = {"reward": [1.0, 2.0], "value": [0.5, 0.25]}
table = pa.table(rows)
frame = pl.DataFrame(rows)

with pa.ipc.new_file("pyarrow.arrow", table.schema) as writer:
    writer.write_table(table)
arro3.io.write_ipc(arro3.core.Table.from_arrow(table), "arro3.arrow", compression=None)
frame.write_ipc("polars.arrow")
frame.lazy().sink_ipc("polars_sink.arrow")
frame.write_ipc_stream("polars.arrows")


def as_stream(content: bytes) -> str:
    try:
        found = pa.ipc.open_stream(io.BytesIO(content)).read_all()
    except Exception as error:  # whatever the reader makes of it
        return f"fails: {type(error).__name__}: {error}"
    assert found.to_pydict() == rows
    return "reads"


contents, seen = {}, {}
print(f"polars {pl.__version__}, pyarrow {pa.__version__}, arro3-io {arro3.io.__version__}")
for name in ("pyarrow.arrow", "arro3.arrow", "polars.arrow", "polars_sink.arrow"):
    with open(name, "rb") as file:
        content = contents[name] = file.read()
    assert content[:8] == b"ARROW1\0\0"
    assert pa.ipc.open_file(name).read_all().to_pydict() == rows, "by the footer, all are read"
    seen[name] = as_stream(content[8:])
    print(f"{name:18} bytes 8 to 12: {content[8:12].hex(' ')}   as a stream: {seen[name]}")
with open("polars.arrows", "rb") as file:
    assert as_stream(file.read()) == "reads"

assert seen["pyarrow.arrow"] == "reads"
assert seen["arro3.arrow"].startswith("fails"), "arro3-io now begins at byte 8"
assert as_stream(contents["arro3.arrow"][64:]) == "reads", "arro3-io no longer begins at byte 64"
for name in ("polars.arrow", "polars_sink.arrow"):
    assert seen[name].startswith("fails"), f"{name} now begins with a message as of a stream"
    assert all(as_stream(contents[name][start:]) != "reads" for start in range(0, len(contents[name]), 4))
print("as described")
PY
