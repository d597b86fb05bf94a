"""`pip install arro3-core==0.9.1 arro3-io==0.9.1`; rows of tests/formats/arrow_writers.py, as Rust writes them."""

from __future__ import annotations

import sys
from pathlib import Path

import arro3.core
import arro3.io

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from formats.arrow_writers import rich_table  # noqa: E402 - found by the line above

table = arro3.core.Table.from_arrow(rich_table())
arro3.io.write_ipc(table, str(HERE / "arro3.arrow"), compression=None)
arro3.io.write_ipc(table, str(HERE / "arro3_lz4.arrow"), compression="LZ4")
arro3.io.write_ipc_stream(table, str(HERE / "arro3_zstd.arrows"), compression="ZSTD")
