"""How the copy of a file with new columns would be written, told without writing it."""

from __future__ import annotations

from collections.abc import Sequence

from gaecli.formats.base import RolloutFile

#: Formats that are written in one way only.
_METHODS = {
    "npz": "archive",
    "arrow": "rewrite: Arrow",
    "jsonl": "append: fields of each line",
    "hdf5": "copy: datasets added",
}


def num_row_groups(file: RolloutFile) -> int | None:
    """None for formats without row groups."""
    rows = row_group_rows(file)
    return None if rows is None else len(rows)


def row_group_rows(file: RolloutFile) -> Sequence[int] | None:
    """The rows of each row group; None for formats without them."""
    if file.format_name != "parquet":
        return None
    from gaecli.formats.parquet.footer import read_footer

    return read_footer(file.path).row_group_rows


def planned_method(file: RolloutFile, own: Sequence[str], foreign: Sequence[str]) -> str | None:
    """`FileWriter.method` of a writer that takes these columns out; None where only writing would tell."""
    if file.format_name != "parquet":
        return _METHODS.get(file.format_name)
    from gaecli.formats.parquet.footer import read_footer, stands_behind

    footer = read_footer(file.path)
    if not footer.is_canonical:
        return "rewrite: the footer is in an unusual form"
    dropped, ours = footer.positions(foreign), footer.positions(own)
    if not dropped and not ours:
        return "splice"
    payload_end = (file.provenance or {}).get("payload_end")
    is_last = ours == set(range(len(footer.columns) - len(ours), len(footer.columns)))
    is_behind = is_last and isinstance(payload_end, int) and stands_behind(footer, ours, payload_end)
    if not dropped and is_behind:
        return "splice"
    displaced = dropped or ours
    names = ", ".join(f"`{footer.columns[index]}`" for index in sorted(displaced))
    reason = "foreign" if dropped else "displaced"
    return f"rewrite: {reason} column{'s' if len(displaced) > 1 else ''} {names} replaced"
