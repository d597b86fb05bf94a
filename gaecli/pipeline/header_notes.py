"""What there is to tell of a stream by its headers alone."""

from __future__ import annotations

from gaecli.formats.stored import columns_of, own_entries
from gaecli.pipeline.opening import OpenFile, OpenStream
from gaecli.settings import Settings
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


def earlier_columns(stream: OpenStream) -> list[WarningNote]:
    """Labels, weights and raw advantages of a run whose advantages are replaced: they stay as they are."""
    notes = []
    for opened in stream.files:
        left = _left_behind(opened, stream.settings)
        if left:
            named, (verb, they) = ", ".join(f"`{name}`" for name in left), ("is", "it")
            if len(left) > 1:
                verb, they = "are", "them"
            notes.append(
                WarningNote(
                    "earlier-columns",
                    f"{named} {verb} of an earlier run, whose advantages are replaced, and {verb} not computed anew",
                    str(opened.file.path),
                    len(left),
                    hint=f"pass the flags that made {they} once more, or drop {they} from the file",
                )
            )
    return notes


def _left_behind(opened: OpenFile, settings: Settings) -> list[str]:
    written = settings.output_columns
    found: dict[str, None] = {}
    for entry in own_entries(opened.file.provenance):
        stored = entry.get("settings")
        names = stored if isinstance(stored, dict) else {}
        own = [names.get("advantage_column"), names.get("return_column")]
        if not any(name in written for name in own):
            continue
        streams = f"{own[1]}_"
        found |= {
            name: None
            for name in columns_of(entry)
            if name not in (*written, *own)
            and name in opened.file.columns
            and not ("stream" in names and name.startswith(streams))
        }
    return list(found)


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
