"""What there is to tell of a stream by its headers alone."""

from __future__ import annotations

from gaecli.pipeline.opening import OpenStream
from gaecli.summary import WarningNote


def names_alike(stream: OpenStream) -> list[WarningNote]:
    """Columns that differ from new ones in case only: to DuckDB, Spark and others they have one name."""
    notes = {}
    for opened in stream.files:
        by_lower: dict[str, list[str]] = {}
        for name in opened.file.columns:
            by_lower.setdefault(name.lower(), []).append(name)
        for new in stream.settings.output_columns:
            for name in by_lower.get(new.lower(), ()):
                if name != new and (name, new) not in notes:
                    flag = stream.settings.output_flag(new)
                    notes[name, new] = WarningNote(
                        "names-alike",
                        f"`{name}` is there already and differs from the new column `{new}` in case only: many "
                        "readers of tables take them for one",
                        str(opened.file.path),
                        1,
                        hint=f"name the new column with `{flag}`",
                    )
    return list(notes.values())


def stored_settings(stream: OpenStream) -> list[WarningNote]:
    """`gamma` and `gae_lambda` scalars in an archive are shown, never used."""
    notes = []
    for opened in stream.files:
        for name, flag, used in (
            ("gamma", "--gamma", stream.settings.gamma),
            ("gae_lambda", "--lam", stream.settings.lam),
            ("lam", "--lam", stream.settings.lam),
        ):
            info = opened.file.columns.get(name)
            if (
                name in stream.settings.decay_columns
                or info is None
                or info.shape != ()
                or info.kind not in ("float", "int")
            ):
                continue
            stored = float(opened.file.read_whole(name).values)
            if abs(stored - used) > 1e-9:
                notes.append(
                    WarningNote(
                        f"stored-{name}",
                        f"`{name}` in the file is {stored:g}, computed with {used:g}",
                        str(opened.file.path),
                        1,
                        hint=f"pass `{flag} {stored:g}` to use it",
                    )
                )
    return notes
