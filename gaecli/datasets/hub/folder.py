"""Folders as they are on the Hugging Face Hub: data files, and a `README.md` that says how to load them.

Where its YAML lists features (`dataset_info`, or `configs`), `load_dataset` casts every file to them, and fails
where a file has more columns. So the new ones are added to the list, in the text, when all files have them.
`dataset_infos.json` is what older versions wrote. Where there are `configs`, `datasets` 5.2 knows what it has in its
cache by this text alone, and not by the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from gaecli.datasets.base import DataSet, NewColumns, ReadMark, in_the_style_of, parsed, read_document
from gaecli.datasets.folders import rollout_files
from gaecli.datasets.hub.features import with_features, yaml_feature
from gaecli.datasets.hub.front_matter import Node, NotPlainError, front_matter, head, quoted
from gaecli.datasets.shards import group_shards
from gaecli.errors import FileError, UsageError
from gaecli.records import dataclass

CARD, LEGACY = Path("README.md"), Path("dataset_infos.json")
_BLOCKS = ("dataset_info", "configs")
_DEFAULT = "default"
_MOST_BYTES = 16 << 20
#: So far above a data file its root is looked for.
_LEVELS = 4


@dataclass(frozen=True)
class HubFolder(DataSet):
    """A stream per split, as of `shards`; those of one configuration are written together."""

    #: Names of configurations -> their files.
    configs: Mapping[str, frozenset[Path]] = field(default_factory=dict)
    #: Why the list of features cannot be changed, if so.
    problem: str | None = None
    lists_columns: bool = True
    is_cached: bool = False

    @property
    def is_copied_whole(self) -> bool:  # type: ignore[override]
        """A copy of a list that cannot be changed would be wrong: without it, the files speak for themselves."""
        return self.problem is None

    def together(self, stream: Sequence[Path]) -> tuple[Path, ...]:
        for files in self.configs.values():
            if not files.isdisjoint(stream):
                return tuple(path for path in self.paths if path in files)
        return tuple(stream)

    def refuse_in_place(self) -> UsageError | None:
        if self.problem is None:
            return None
        return UsageError(
            f"`{self.root / CARD}` lists the columns of the data set in a way that gaecli does not change: "
            f"{self.problem}",
            hint="write keys and new columns alone with `--sidecar`, or the files without `README.md` with "
            "`--output`; or take `features` out of it: `datasets` then goes by the files",
        )

    @property
    def marks(self) -> tuple[Path, ...]:
        return tuple(mark for mark in (CARD, LEGACY) if (self.root / mark).is_file())

    def closing(self, read: ReadMark, new: NewColumns) -> Mapping[Path, bytes]:
        names = {name for name, files in self.configs.items() if not files.isdisjoint(new.paths)}
        found = {}
        for mark in self.marks:
            text = read(mark)
            change = _changed_card if mark == CARD else _changed_legacy
            changed = change(self.root / mark, text, names, new)
            if changed != text:
                found[mark] = changed
        return found


def recognise(directory: Path) -> HubFolder | None:
    """The data set whose root `directory` is, if something says how to load it."""
    if not is_marked(directory):
        return None
    files = rollout_files(directory)
    if not files:
        return None
    streams = tuple(group_shards(files))
    title = "`datasets` folder with `README.md`"
    lines = _lines(directory / CARD)
    has_configs = _has_configs(lines)
    try:
        lists, patterns = _feature_lists(lines), _patterns(lines)
    except NotPlainError as error:
        problem = str(error) if _may_list_features(lines) else None
        return HubFolder(directory, title, streams, {}, problem, problem is not None, has_configs)
    legacy = read_document(directory / LEGACY) or {}
    names = list(dict.fromkeys([*(name for name, _ in lists), *legacy]))
    configs = _files_of(names or list(patterns), patterns, files, directory)
    return HubFolder(directory, title, streams, configs, None, bool(names), has_configs)


def is_marked(folder: Path) -> bool:
    if (folder / LEGACY).is_file():
        return True
    lines = _lines(folder / CARD)
    try:
        return _has_configs(lines) or bool(_may_list_features(lines) and _feature_lists(lines))
    except NotPlainError:
        return True


def _has_configs(lines: Sequence[str]) -> bool:
    """At the top of the YAML, whether that is plain or not."""
    return any(line.startswith("configs:") for line in head(lines))


def _may_list_features(lines: Sequence[str]) -> bool:
    return any(re.search(r"\bfeatures['\"]?\s*:", line) for line in head(lines))


def root_of(path: Path) -> Path | None:
    return next((folder for folder in path.absolute().parents[:_LEVELS] if is_marked(folder)), None)


def _lines(path: Path) -> list[str]:
    """With their ends; none of a file that is no card of anything."""
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return []
        return _split(path.read_bytes())
    except UnicodeDecodeError:
        return []
    except OSError as error:
        raise FileError(f"`{path}` cannot be read: {error.strerror}") from error


def _split(text: bytes) -> list[str]:
    """Not `splitlines`, for which more than line feeds end lines."""
    return re.findall(r"[^\n]*\n|[^\n]+", text.decode())


def _feature_lists(lines: Sequence[str]) -> list[tuple[str, Node]]:
    """(configuration, list of its features), wherever there is one."""
    found = []
    for block in front_matter(lines, _BLOCKS).values():
        for entry in block.items or [block]:
            features = entry.get("features")
            if features is None:
                continue
            if not features.items or not all(_name(item) for item in features.items):
                raise NotPlainError(f"line {features.start + 1}: `features` is no list of names")
            config = entry.get("config_name")
            found.append(((config.text if config is not None else None) or _DEFAULT, features))
    return found


def _name(item: Node) -> str | None:
    name = item.get("name")
    return name.text if name is not None else None


def _patterns(lines: Sequence[str]) -> dict[str, list[str]]:
    """Configuration -> patterns of its files, as far as `configs` says."""
    found: dict[str, list[str]] = {}
    configs = front_matter(lines, _BLOCKS).get("configs")
    for entry in configs.items if configs is not None else []:
        plain = entry.plain()
        name = plain.get("config_name") if isinstance(plain, dict) else None
        if isinstance(plain, dict) and isinstance(name, str) and name:
            folder = plain.get("data_dir")
            found[name] = list(_texts(plain.get("data_files"))) or (
                [folder] if isinstance(folder, str) else []
            )
    return found


def _texts(value: object) -> Iterator[str]:
    """Patterns, alone, in a list, or as the `path` of a split."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(value.get("path"))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _files_of(
    names: Sequence[str], patterns: Mapping[str, Sequence[str]], files: Sequence[Path], root: Path
) -> dict[str, frozenset[Path]]:
    """A configuration without patterns means all files."""
    found = {}
    places = {path: path.relative_to(root).as_posix() for path in files}
    for name in names:
        tests = [_pattern(text) for text in patterns.get(name, ())]
        found[name] = frozenset(
            path
            for path, place in places.items()
            if not tests or any(test.fullmatch(place) for test in tests)
        )
    return found


def _pattern(text: str) -> re.Pattern[str]:
    """As `datasets` reads it: `*` stays within a folder, `**` does not, and a folder means all that is in it."""
    pieces = re.split(r"(\*\*/?|\*|\?|\[[\w\-]+\])", text.removeprefix("./").rstrip("/"))
    special = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = [special.get(piece, piece if piece.startswith("[") else re.escape(piece)) for piece in pieces]
    return re.compile("".join(parts) + "(?:/.*)?", re.DOTALL)


def _changed_card(path: Path, text: bytes, names: set[str], new: NewColumns) -> bytes:
    lines = _split(text)
    try:
        lists = [features for name, features in _feature_lists(lines) if name in names]
    except NotPlainError as error:
        raise FileError(f"`{path}` was changed by somebody else: {error}") from error
    for features in sorted(lists, key=lambda node: node.start, reverse=True):  # line numbers above stay true
        _change_list(lines, features, new)
    return "".join(lines).encode()


def _change_list(lines: list[str], features: Node, new: NewColumns) -> None:
    """A feature that is there takes its new type, others come to the end of the list, those gone leave it."""
    added: list[str] = []
    changed: list[tuple[Node, list[str]]] = []
    for name, wanted in _wanted(lines, features, new).items():
        item = _item(lines, features, wanted)
        old = next((node for node in features.items if _name(node) == name), None)
        if old is None:
            added += item
        elif old.plain() != wanted:
            changed.append((old, item))
    changed += [(node, []) for node in features.items if _name(node) in new.gone]
    lines[features.stop : features.stop] = added
    for node, item in sorted(changed, key=lambda pair: pair[0].start, reverse=True):
        lines[node.start : node.stop] = item


def _wanted(lines: Sequence[str], features: Node, new: NewColumns) -> dict[str, dict[str, str]]:
    text = "".join(lines[features.start : features.stop])
    list_key = "sequence" if re.search(r"^\s*(- )?sequence:", text, re.MULTILINE) else "list"
    return {name: {"name": name, **yaml_feature(name, new, list_key)} for name in new.types}


def _item(lines: Sequence[str], features: Node, wanted: Mapping[str, str]) -> list[str]:
    """Lines in the manner of the first item."""
    ending = "\r\n" if lines[features.start].endswith("\r\n") else "\n"
    inner = features.items[0].column - features.column
    texts = [f"{key}: {quoted(value) if key == 'name' else value}" for key, value in wanted.items()]
    starts = ["-".ljust(inner), *[" " * inner] * (len(texts) - 1)]
    return [
        f"{' ' * features.column}{start}{text}{ending}" for start, text in zip(starts, texts, strict=True)
    ]


def _changed_legacy(path: Path, text: bytes, names: set[str], new: NewColumns) -> bytes:
    document = parsed(path, text)
    changed: dict[str, Any] = dict(document)
    for name in names & document.keys():
        info = document[name]
        if isinstance(info, dict) and isinstance(info.get("features"), dict):
            changed[name] = {**info, "features": with_features(info["features"], new)}
    return in_the_style_of(text, document, changed)
