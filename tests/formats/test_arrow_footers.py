"""Footers of Arrow files that lead astray are errors; what a footer does not list is nobody's business."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from formats.arrow_writers import WRITERS, advantages

import gaecli
from gaecli.errors import DataError, FileError, GaeError
from gaecli.formats.registry import open_file

BLOCK = struct.Struct("<qi4xq")


@pytest.fixture(params=["pyarrow file", "polars file, newest, plain", "apache-arrow of npm, file"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    place = tmp_path / "rollouts.arrow"
    WRITERS[request.param].write(place)
    return place


def blocks_of(content: bytes) -> list[int]:
    """Where the blocks stand in the footer: three numbers that lead to a message, each."""
    (length,) = struct.unpack_from("<i", content, len(content) - 10)
    footer = len(content) - 10 - length
    found = []
    for position in range(footer, len(content) - 10 - BLOCK.size, 4):
        offset, header, body = BLOCK.unpack_from(content, position)
        is_block = 8 <= offset < footer and header > 8 and body >= 0 and offset + header + body <= footer
        if is_block and content[offset : offset + 4] == b"\xff\xff\xff\xff":
            found.append(position)
    assert len(found) >= 2
    return found


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(FileError) as caught:
        gaecli.compute(path)
    assert path.read_bytes() == content
    return str(caught.value)


Change = Callable[[int, int, int], tuple[int, int, int]]
CHANGES: dict[str, tuple[Change, str]] = {
    "beyond the file": (lambda at, head, body: (1 << 40, head, body), "where no block can be"),
    "before the file": (lambda at, head, body: (-8, head, body), "where no block can be"),
    "on the magic bytes": (lambda at, head, body: (0, head, body), "where no block can be"),
    "not a multiple of 8": (lambda at, head, body: (at + 4, head, body), "multiples of 8"),
    "a header of a negative length": (lambda at, head, body: (at, -8, body), "lists a block"),
    "a header of nothing": (lambda at, head, body: (at, 0, body), "lists a block"),
    "a header beyond the file": (lambda at, head, body: (at, 1 << 24, body), "where no block can be"),
    "a header of an odd length": (lambda at, head, body: (at, head - 1, body), "multiples of 8"),
    "a header cut short": (lambda at, head, body: (at, 16, body), "a header of"),
    "a body of a negative length": (lambda at, head, body: (at, head, -8), "lists a block"),
    "a body beyond the file": (lambda at, head, body: (at, head, 1 << 50), "where no block can be"),
    "a body of the largest length": (
        lambda at, head, body: (at, head, (1 << 63) - 8),
        "where no block can be",
    ),
    "a body of an odd length": (lambda at, head, body: (at, head, body + 1), "multiples of 8"),
    "a body cut short": (lambda at, head, body: (at, head, 0), "longer than its footer says"),
}


@pytest.mark.few(14)
@pytest.mark.parametrize("name", CHANGES)
def test_a_block_that_cannot_be_is_an_error(name: str, path: Path) -> None:
    change, message = CHANGES[name]
    content = path.read_bytes()
    for position in blocks_of(content):
        changed = bytearray(content)
        BLOCK.pack_into(changed, position, *change(*BLOCK.unpack_from(content, position)))
        assert message in refusal(path, bytes(changed))


def test_blocks_that_overlap_are_an_error(path: Path) -> None:
    content = bytearray(path.read_bytes())
    first, second = blocks_of(content)[-2:]
    content[second : second + BLOCK.size] = content[first : first + BLOCK.size]
    assert "where no block can be" in refusal(path, bytes(content))


def test_a_block_of_another_kind_is_an_error(tmp_path: Path) -> None:
    """The dictionary in place of a batch and the batch in place of the dictionary."""
    path = tmp_path / "rollouts.arrow"
    WRITERS["pyarrow file"].write(path)
    content = bytearray(path.read_bytes())
    first, *_, last = sorted(blocks_of(content), key=lambda position: BLOCK.unpack_from(content, position))
    one, other = bytes(content[first : first + 24]), bytes(content[last : last + 24])
    content[first : first + 24], content[last : last + 24] = other, one
    assert "a message of another kind" in refusal(path, bytes(content))


@pytest.mark.parametrize("length", [-1, 0, 3, 1 << 20, (1 << 31) - 1])
def test_a_footer_of_an_impossible_length_is_an_error(length: int, path: Path) -> None:
    content = bytearray(path.read_bytes())
    struct.pack_into("<i", content, len(content) - 10, length)
    assert "cannot be read as Arrow IPC" in refusal(path, bytes(content))


def test_a_number_of_blocks_that_leads_out_of_the_footer_is_an_error(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for position in blocks_of(content):
        if struct.unpack_from("<I", content, position - 4)[0] <= 2:
            struct.pack_into("<I", content, position - 4, 0xFFFFFFFF)
    assert "leads out of it" in refusal(path, bytes(content))


@pytest.mark.few(1)
@pytest.mark.parametrize("at_once", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_any_number_of_the_footer_may_be_wrong(path: Path, at_once: int) -> None:
    """Refused or read, whatever stands there; never an error of ours."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<i", content, len(content) - 10)
    found = {"read": 0, "refused": 0}
    numbers = itertools.cycle((0xFFFFFFFF, 0x7FFFFFF8, 0))
    step = 4 if at_once > 1 else 8
    for position in range(len(content) - 10 - length, len(content) - 10, step):
        for number in itertools.islice(numbers, at_once):
            changed = bytearray(content)
            struct.pack_into("<I", changed, position, number)
            path.write_bytes(changed)
            try:
                file = open_file(path)
                for name, info in file.columns.items():
                    if info.unusable is None:
                        file.read_whole(name)
                found["read"] += 1
            except GaeError:
                found["refused"] += 1
    assert min(found.values()) > 0


def test_what_stands_before_the_first_block_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.arrow"
    WRITERS["pyarrow file"].write(path)
    content = bytearray(path.read_bytes())
    first = min(BLOCK.unpack_from(content, position)[0] for position in blocks_of(content))
    content[8:first] = bytes(first - 8)
    path.write_bytes(content)
    gaecli.compute(path)
    found = pa.ipc.open_file(path).read_all().column("advantage").to_pylist()
    np.testing.assert_allclose(found, advantages(), rtol=1e-6)


def test_batches_of_nothing_cannot_claim_any_number_of_rows(tmp_path: Path) -> None:
    """Runs take no bytes per row, so that a header alone can ask for a day of work."""
    path = tmp_path / "long.arrow"
    rewards = pa.RunEndEncodedArray.from_arrays(pa.array([(1 << 31) - 1]), pa.array([1.0]))
    batch = pa.record_batch({"reward": rewards, "value": rewards})
    with pa.ipc.new_file(path, batch.schema) as writer:
        writer.write_batch(batch)
    with pytest.raises(FileError, match="a batch of 2,147,483,647 rows"):
        open_file(path)


def test_compression_that_pyarrow_misreads_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.arrow"
    table = pa.table({"reward": [1.0] * 99, "value": [0.5] * 99})
    options = pa.ipc.IpcWriteOptions(compression="zstd", metadata_version=pa.ipc.MetadataVersion.V4)
    with pa.ipc.new_file(path, table.schema, options=options) as writer:
        writer.write_table(table)
    assert "pyarrow misreads" in refusal(path, path.read_bytes())


def test_a_type_that_pyarrow_does_not_know_is_refused_with_what_to_do(tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    path = tmp_path / "wide.arrow"
    pl.DataFrame({"reward": [1.0], "value": [0.5], "x": pl.Series([2**100], dtype=pl.Int128)}).write_ipc(path)
    with pytest.raises((FileError, DataError), match="64 bits") as caught:
        gaecli.compute(path)
    assert "leave the column out" in str(caught.value.hint)
