"""What is shipped, and what is imported when: `import torch` takes longer than all else together."""

from __future__ import annotations

import ast
import functools
import graphlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

import gaecli

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "pyarrow", "numpy", "pandas"}

# Python runs a `sitecustomize` on PYTHONPATH before anything else. It logs each package whose code is
# run, at once: in any thread, by any road (`import`, importlib, C), and whether or not the process
# comes to an orderly end, which a look at sys.modules or at `-X importtime` would need. Only asking
# whether a package is there (`importlib.util.find_spec`) runs nothing of it.
SPY = """
import os, sys

def log_package(event, args, log=os.environ["IMPORT_LOG"], tail=os.sep + "__init__.py"):
    if event == "exec":
        filename = getattr(args[0], "co_filename", "")
        if filename.endswith(tail):
            folder, name = os.path.split(filename[: -len(tail)])
            if os.path.basename(folder) in ("site-packages", "dist-packages"):
                file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                os.write(file, (name + "\\n").encode())
                os.close(file)

sys.addaudithook(log_package)
"""


@pytest.fixture
def spy(tmp_path):
    """`spy.env` makes a Python process tell what it imports, `spy.packages()` says what that was."""
    return Spy(tmp_path / "spy")


class Spy:
    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(SPY, encoding="utf-8")
        self.log = folder / "imports.log"
        self.env = {"PYTHONPATH": str(folder), "IMPORT_LOG": str(self.log)}

    def packages(self) -> set[str]:
        return set(self.log.read_text(encoding="utf-8").split()) if self.log.exists() else set()

    def python(self, code: str) -> set[str]:
        """The packages that `code` imports, in a new process."""
        command = [sys.executable, "-c", code]
        subprocess.run(command, env={**os.environ, **self.env}, check=True, timeout=60)
        return self.packages()

    def commands(self, runs: Iterable[Iterable[object]]) -> list[int]:
        """The exit codes of these command lines, one after the other in a new process, without a traceback."""
        code = (
            "import json, os, sys\n"
            "from gaecli.__main__ import main\n"
            "os._exit = sys.exit  # with which each of them would end the process\n"
            "codes = []\n"
            "for words in json.loads(sys.argv[1]):\n"
            "    sys.argv[1:] = words\n"
            "    try:\n"
            "        main()\n"
            "    except SystemExit as end:\n"
            "        codes.append(end.code)\n"
            "print(codes, flush=True)\n"
        )
        words = json.dumps([[str(word) for word in run] for run in runs])
        command, env = [sys.executable, "-c", code, words], {**os.environ, **self.env}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60)
        assert "Traceback" not in done.stderr
        codes: list[int] = json.loads(done.stdout.splitlines()[-1])
        return codes


class TestTheSpy:
    """Nothing below means anything if the spy is blind."""

    @pytest.mark.parametrize(
        "code",
        [
            "import {0}",
            "import importlib; importlib.import_module('{0}')",
            "import threading; t = threading.Thread(target=__import__, args=('{0}',)); t.start(); t.join()",
            "import {0}, os; os._exit(0)",
        ],
    )
    def test_sees_an_import(self, spy, code):
        """Of a small package as of a large one."""
        assert "pluggy" in spy.python(code.format("pluggy"))

    def test_sees_imports_of_the_console_script(self, spy, run_gae):
        assert run_gae("--version", env=spy.env).returncode == 0
        assert "typer" in spy.packages()

    def test_asking_whether_a_package_is_there_is_no_import(self, spy):
        assert "numpy" not in spy.python("import importlib.util; importlib.util.find_spec('numpy')")


class TestLazyImports:
    def test_import_gaecli_imports_nothing_heavy(self, spy):
        packages = spy.python("import gaecli; gaecli.__version__; dir(gaecli)")
        assert not packages & HEAVY

    def test_help_imports_nothing_heavy(self, spy):
        """All pages by one process: what none of them imports each of them does without."""
        commands = ["compute", "inspect", "check", "explain", "sweep", "verify"]
        pages = [["--help"], ["--version"], *([command, "--help"] for command in commands)]
        assert spy.commands(pages) == [0] * len(pages)
        assert "typer" in spy.packages()
        assert not spy.packages() & HEAVY

    def test_presets_are_data(self, spy, run_gae):
        assert run_gae("presets", env=spy.env).returncode == 0
        assert "torch" not in spy.packages()

    def test_errors_come_before_torch(self, spy, copy_sample, tmp_path):
        text = tmp_path / "notes.parquet"
        text.write_text("not a Parquet file\n", encoding="utf-8")
        sample, nan = copy_sample("cartpole.parquet"), tmp_path / "nan.npz"
        np.savez(nan, rewards=[1.0, np.nan], values=[0.0, 0.0], terminated=[False, True])
        before = sample.read_bytes()
        exit_codes = {
            ("compute", "no-such-file.parquet"): 4,
            ("compute", sample, "--gamma", "1.5"): 2,
            ("compute", sample, "--no-such-flag"): 2,
            ("compute", sample, "--reward-column", "no_such_column"): 2,
            ("compute", sample, "--preset", "no-such-preset"): 2,
            ("compute", text): 4,
            ("compute", nan): 3,
            ("inspect", "no-such-file.parquet"): 4,
        }
        assert spy.commands(exit_codes) == [*exit_codes.values()]
        assert "pyarrow" in spy.packages()
        assert "torch" not in spy.packages()
        assert sample.read_bytes() == before

    def test_a_small_file_needs_neither_torch_nor_pandas(self, spy, copy_sample):
        # Below the break-even the same kernel runs on NumPy arrays; `--device cpu` always means torch.
        # Where pandas is installed, pyarrow imports it by itself in `pa.array`, `Array.to_numpy` and
        # `pq.read_table`; `Array.from_buffers`, `np.from_dlpack` and `pq.ParquetFile` do not.
        sample = copy_sample("cartpole.parquet")
        assert spy.commands([(command, sample) for command in ("inspect", "check", "compute")]) == [0, 0, 0]
        assert "pyarrow" in spy.packages()
        assert not spy.packages() & {"torch", "pandas"}


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Name -> syntax tree of every module of the package. Nobody changes them."""
    found = {}
    for path in sorted((ROOT / "gaecli").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All of them, however deep, and none of the expressions, of which there are twenty times as many."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        # That of a conditional expression or a lambda is no list.
        inner = getattr(tree, field, ())
        for node in inner if isinstance(inner, list) else ():
            yield node
            yield from statements(node)


def imports(tree: ast.Module, known: dict[str, ast.Module]) -> Iterator[str]:
    """The modules that one imports: at its top, in its functions, and for type checking."""
    for node in statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def types_of(tree: ast.Module) -> Iterator[str]:
    """Classes and names of types. An `Annotated` one is an option, called as the setting that it sets."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
            (target,) = node.targets
            is_option = ast.unparse(node.value.value) == "Annotated"
            if isinstance(target, ast.Name) and re.match("_?[A-Z][a-z]", target.id) and not is_option:
                yield target.id


class TestTheHouse:
    def test_no_module_imports_itself_by_way_of_others(self):
        known = modules()
        graph = {name: {*imports(tree, known)} - {name} for name, tree in known.items()}
        assert sum(map(len, graph.values())) > len(graph), "the imports are not seen"
        graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle

    def test_one_name_is_one_thing(self):
        places = defaultdict(list)
        for name, tree in modules().items():
            for found in types_of(tree):
                # `_Block` beside `Block` is two things as well to whoever reads both.
                places[found.lstrip("_")].append(f"{name}.{found}")
        assert len(places) > 200, "the classes are not seen"
        assert {name: where for name, where in places.items() if len(where) > 1} == {}


class TestVersion:
    def test_the_command_the_module_and_the_metadata_agree(self, run_gae):
        result = run_gae("--version")
        assert result.returncode == 0, result.stderr
        assert gaecli.__version__ in result.stdout.split()
        assert importlib.metadata.version("gaecli") == gaecli.__version__

    def test_python_m_gaecli_is_the_command(self):
        command = [sys.executable, "-m", "gaecli", "--version"]
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert gaecli.__version__ in result.stdout.split()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Name -> bytes of what is in the wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (path,) = folder.glob("*.whl")
    assert path.name == f"gaecli-{gaecli.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


class TestWheel:
    info = f"gaecli-{gaecli.__version__}.dist-info"

    def test_holds_the_package_with_its_type_marker(self, wheel):
        modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gaecli").rglob("*.py")}
        assert modules
        assert modules | {"gaecli/py.typed"} <= wheel.keys()

    def test_holds_the_page_of_gae_report_with_the_licence_of_what_draws_it(self, wheel):
        assets = {
            path.relative_to(ROOT).as_posix() for path in (ROOT / "gaecli/report_page/assets").iterdir()
        }
        assert "gaecli/report_page/assets/uPlot-1.6.32.LICENSE.txt" in assets
        assert assets <= wheel.keys()

    def test_holds_nothing_else(self, wheel):
        assert {name.split("/")[0] for name in wheel} == {"gaecli", self.info}

    def test_carries_the_licence_and_the_command(self, wheel):
        assert f"{self.info}/licenses/LICENSE" in wheel
        assert b"gae = gaecli.__main__:main" in wheel[f"{self.info}/entry_points.txt"]

    def test_every_extra_is_declared(self, wheel):
        metadata = wheel[f"{self.info}/METADATA"].decode()
        extras = set(re.findall(r"^Provides-Extra: (\S+)$", metadata, re.MULTILINE))
        assert {"hdf5", "s3", "plot", "show", "samples", "test", "dev"} <= extras
