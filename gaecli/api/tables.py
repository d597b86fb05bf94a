"""Tables and arrays in memory, in the place of a file: what goes in, and how the new columns come back.

Whatever exports `__arrow_c_stream__` (pyarrow, Polars, pandas, relations of DuckDB) is a table, and a mapping of
names to arrays is what an NPZ file holds: flat columns, or dense [T, N] or [B, T]. It is read as a file of its kind
would be, by way of a temporary one, so that every layout, preset, estimator and normalisation holds for it.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from gaecli.api.keyword_words import messages_in_keywords
from gaecli.errors import GaeError, UsageError

R = TypeVar("R")

#: What messages and summaries call it.
SHOWN = "<table>"


class ArrowStream(Protocol):
    """A table by the Arrow PyCapsule interface."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


#: One input: a file, or a table in memory.
Source = str | Path | ArrowStream | Mapping[str, Any]
#: Any number of them.
Files = str | Path | Sequence[str | Path]


def is_in_memory(source: object) -> bool:
    return hasattr(source, "__arrow_c_stream__") or isinstance(source, Mapping)


def held(source: Any) -> Any:
    """The table itself, or, of what can be read once, all of it.

    Raises:
        UsageError: if it is nothing that rollouts come in.
    """
    if not is_in_memory(source):
        kind = type(source)
        is_lazy = kind.__module__.startswith("polars") and hasattr(source, "collect")
        ways = (
            "a path, a list of paths, a table (Arrow, Polars, pandas, DuckDB) or a mapping of names to arrays"
        )
        raise UsageError(
            f"a `{kind.__name__}` is neither files nor a table",
            hint="collect it first: `frame.collect()`" if is_lazy else f"give {ways}",
        )
    is_frame = type(source).__module__.partition(".")[0] in ("polars", "pandas")
    return source if is_frame or isinstance(source, Mapping) else _arrow(source)


class OpenedSource:
    """What a function was given, as commands take it, and results of it as the caller knows it."""

    def __init__(self, files: list[str | Path], *, is_table: bool) -> None:
        self.files = files
        self.is_table = is_table

    @property
    def only(self) -> str | Path:
        """Of what looks at one input."""
        if len(self.files) != 1:
            raise UsageError(
                f"{len(self.files)} inputs are given, and this looks at one",
                hint="call it for each; a folder or a pattern may name files that follow one another",
            )
        return self.files[0]

    def shown(self, result: R) -> R:
        """Flags in messages become keywords, and a table has no name of a file."""
        if self.is_table:
            from gaecli.storage.shown_texts import with_texts

            result = with_texts(result, lambda text: text.replace(str(self.files[0]), SHOWN))
        told: R = messages_in_keywords(result)
        return told


@contextlib.contextmanager
def opened_source(source: Any) -> Iterator[OpenedSource]:
    """A table is a file for as long as the block lasts; a name, or a list of them, is what it is."""
    if not is_in_memory(source):
        if isinstance(source, bytes) or not isinstance(source, str | Path | Sequence):
            held(source)
        names = [source] if isinstance(source, str | Path) else list(source)
        for name in names:
            if not isinstance(name, str | Path):
                held(name)
                raise UsageError("a list of tables is given", hint="put them together, or call it for each")
        if not names:
            raise UsageError("no input given", hint="the list of paths is empty")
        yield OpenedSource(names, is_table=False)
        return
    with as_file(source) as path:
        yield OpenedSource([path], is_table=True)


@contextlib.contextmanager
def as_file(source: Any) -> Iterator[Path]:
    """The table as a file, for as long as the block lasts; errors tell of the table.

    Raises:
        UsageError: if it is neither a table nor arrays.
    """
    with tempfile.TemporaryDirectory(prefix="gaecli-") as folder:
        is_arrays = isinstance(source, Mapping)
        path = Path(folder, "table.npz" if is_arrays else "table.arrow")
        try:
            (_write_arrays if is_arrays else _write_table)(source, path)
            yield path
        except GaeError as error:
            raise shown_as_table(error, path) from None


def shown_as_table(error: GaeError, path: Path) -> GaeError:
    error.message = error.message.replace(str(path), SHOWN)
    error.hint = None if error.hint is None else error.hint.replace(str(path), SHOWN)
    error.args = (error.message,)
    return error


def with_new(source: Any, written: Path, names: Sequence[str]) -> Any:
    """The table with its new columns, out of the file that they were written to."""
    if isinstance(source, Mapping):
        import numpy as np

        with np.load(written, allow_pickle=False) as arrays:
            return with_arrays(source, {name: arrays[name] for name in names})
    import pyarrow.parquet as pq

    return with_columns(source, pq.read_table(written, columns=list(names)))


def with_columns(source: Any, new: Any) -> Any:
    """The table with the columns of the Arrow table `new`, which has its rows; as the kind of table that it is.

    Of kinds that cannot be added to, a pyarrow table.
    """
    module = type(source).__module__.partition(".")[0]
    if module == "polars":
        import polars as pl

        added = pl.from_arrow(new)
        assert isinstance(added, pl.DataFrame)
        return source.with_columns(added.get_columns())
    if module == "pandas":
        names = {name: _series(new.column(name), source.index) for name in new.column_names}
        return source.assign(**names)
    table = _arrow(source)
    for name in new.column_names:
        index = table.schema.get_field_index(name)
        field, column = new.schema.field(name), new.column(name)
        table = table.append_column(field, column) if index < 0 else table.set_column(index, field, column)
    return table


def with_arrays(source: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays with new ones beside them; tensors, where all of them are."""
    if source and all(type(one).__module__.partition(".")[0] == "torch" for one in source.values()):
        import torch

        new = {name: torch.from_numpy(array) for name, array in new.items()}
    return {**source, **new}


def check_free(source: Any, names: Sequence[str], *, overwrite: bool) -> None:
    """Columns of the table that the new ones would take the place of are somebody else's."""
    present = list(source) if isinstance(source, Mapping) else list(_names(source))
    taken = [name for name in names if name in present]
    if taken and not overwrite:
        raise UsageError(
            f"the table has a column `{taken[0]}` already",
            hint="pass `overwrite=True` to replace it, or another name with `advantage_column` or `return_column`",
        )


def _names(source: Any) -> list[str]:
    columns = getattr(source, "columns", None)
    if isinstance(columns, list) and all(isinstance(name, str) for name in columns):
        return columns
    schema = getattr(source, "column_names", None)
    return list(schema) if schema is not None else list(_arrow(source).column_names)


def _arrow(source: Any) -> Any:
    """As a pyarrow table, without types that Arrow files of some readers lack."""
    import pyarrow as pa

    module = type(source).__module__.partition(".")[0]
    if module == "polars":
        import polars as pl

        return source.to_arrow(compat_level=pl.CompatLevel.oldest())
    if module == "pandas":
        return pa.Table.from_pandas(source, preserve_index=False)
    table = source if isinstance(source, pa.Table) else pa.RecordBatchReader.from_stream(source).read_all()
    wider = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    fields = [field.with_type(wider.get(field.type, field.type)) for field in table.schema]
    return table.cast(pa.schema(fields, table.schema.metadata))


def _write_table(source: Any, path: Path) -> None:
    import pyarrow as pa

    try:
        table = _arrow(source)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise UsageError(
            f"the table cannot be read: {'; '.join(map(str, error.args))}",
            hint="leave out what Arrow has no type for, columns of objects or of cells of unlike types, and a second "
            "column of one name",
        ) from error
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1 << 20)


def _write_arrays(source: Mapping[str, Any], path: Path) -> None:
    """Not by `numpy.savez`, to which a name such as `file` is an argument of its own."""
    import zipfile

    import numpy as np

    from gaecli.arrays.arguments import num_masked_cells

    with zipfile.ZipFile(path, "w") as archive:
        for name, values in dict[Any, Any](source).items():
            if num_masked := num_masked_cells(values):
                raise UsageError(
                    f"`{name}` is a masked array, and {num_masked} of its cells are masked",
                    hint="fill them, as with `.filled(numpy.nan)`",
                )
            host = _on_host(values)
            if not isinstance(name, str) or host.dtype.hasobject:
                raise UsageError(
                    f"`{name}` is no array of numbers, flags or texts with a name",
                    hint="a mapping has names of arrays and dense tensors; lists of unlike lengths go into a table",
                )
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, host, allow_pickle=False)


def _on_host(values: Any) -> Any:
    """A NumPy array: of objects, where NumPy can make none of numbers."""
    import numpy as np

    try:
        if not hasattr(values, "detach"):
            return np.asarray(values)
        tensor = values.detach().cpu().resolve_conj().resolve_neg()
        if tensor.dtype.is_floating_point and tensor.dtype.itemsize < 4:
            tensor = tensor.float()  # NumPy lacks bfloat16, and floats of a byte
        return tensor.numpy()
    except (ValueError, TypeError, RuntimeError):
        return np.array(None)  # lists of unlike lengths, sparse tensors


def _series(column: Any, index: Any) -> Any:
    series = column.to_pandas()
    series.index = index
    return series
