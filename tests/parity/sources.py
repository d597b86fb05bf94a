"""Functions of libraries out of the files that they published, at releases and revisions that do not move.

A file comes from GitHub or from a wheel of PyPI when a test asks for it, is held against its checksum, and is kept in
the folder `PARITY_SOURCES`, if that names one: `OWNER/REPO/REVISION/PATH`, or the wheel. Nothing of it is part of
this repository. Without a network the test is skipped.
"""

from __future__ import annotations
import __future__

import ast
import hashlib
import os
import subprocess
import sys
import tempfile
import urllib.request
import warnings
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Source:
    """A file of a library. `origin` is `OWNER/REPO@REVISION`, or `NAME==VERSION` of a wheel on PyPI."""

    origin: str
    path: str
    sha256: str
    #: Of a wheel: the Python that it is made for.
    python: str = "3.12"

    @property
    def version(self) -> str:
        """As docs/parity.md has it."""
        _, is_revision, revision = self.origin.partition("@")
        return revision[:7] if is_revision else self.origin.partition("==")[2]


@cache
def text_of(source: Source) -> str:
    try:
        content = _from_wheel(source) if "==" in source.origin else _from_github(source)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"{source.path} of {source.origin} cannot be fetched: {error}")
    found = hashlib.sha256(content).hexdigest()
    assert found == source.sha256, f"{source.path} of {source.origin} is another file"
    return content.decode()


@cache
def _folder() -> Path:
    named = os.environ.get("PARITY_SOURCES")
    return Path(named) if named else Path(tempfile.mkdtemp(prefix="parity_sources_"))


def _from_github(source: Source) -> bytes:
    name, _, revision = source.origin.partition("@")
    kept = _folder() / name / revision / source.path
    if not kept.exists():
        address = f"https://raw.githubusercontent.com/{name}/{revision}/{source.path}"
        with urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as response:
            content = response.read()
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(content)
    return kept.read_bytes()


def _from_wheel(source: Source) -> bytes:
    name, _, version = source.origin.partition("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not list(_folder().glob(pattern)):
        subprocess.run(
            [
                sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                "--python-version", source.python, "--dest", _folder(), source.origin,
            ],
            check=True,
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
        )  # fmt: skip
    (wheel,) = _folder().glob(pattern)
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if f"/{name}".endswith(f"/{source.path}"))
        return archive.read(member)


def cut(source: Source, *names: str, **scope: Any) -> Any:
    """The last of the functions or classes of these names, compiled by itself, without its decorators.

    A function may be a method, or stand within another one. `scope` is what its module has beside the others named.
    """
    tree = _tree(source)
    kinds = (ast.FunctionDef, ast.ClassDef)
    found = {node.name: node for node in ast.walk(tree) if isinstance(node, kinds) and node.name in names}
    namespace = dict(scope)
    for name in names:
        found[name].decorator_list = []
        module = ast.Module([found[name]], type_ignores=[])
        # Types of the library, which annotations name, are not here.
        flags = __future__.annotations.compiler_flag
        exec(compile(module, f"{source.origin}/{source.path}", "exec", flags=flags), namespace)
    return namespace[names[-1]]


def run(source: Source, first: str, last: str, **names: Any) -> dict[str, Any]:
    """What the lines of a script make of `names`: those of one suite, from the one that begins with `first` on."""
    text, tree = text_of(source), _tree(source)
    suites = (getattr(node, field, None) for node in ast.walk(tree) for field in ("body", "orelse"))
    for suite in (suite for suite in suites if isinstance(suite, list)):
        lines = [str(ast.get_source_segment(text, statement)) for statement in suite]
        starts = [index for index, line in enumerate(lines) if line.startswith(first)]
        if starts:
            stop = next(
                index for index, line in enumerate(lines) if index >= starts[0] and line.startswith(last)
            )
            module = ast.Module(suite[starts[0] : stop + 1], type_ignores=[])
            exec(compile(module, f"{source.origin}/{source.path}", "exec"), names)
            return names
    raise AssertionError(f"{source.path} of {source.origin} has no line `{first}`")


def _tree(source: Source) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of strings with backslashes, which are its own affair
        return ast.parse(text_of(source))
