"""What the documentation promises: examples run as printed, public names are documented."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import scratchaudio

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    info.name for info in pkgutil.walk_packages(scratchaudio.__path__, "scratchaudio.")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name):
    result = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples of {name} are wrong"


@pytest.mark.parametrize("name", MODULES)
def test_public_names_have_docstrings(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    for key, value in vars(module).items():
        public = not key.startswith("_") and getattr(value, "__module__", None) == name
        if public and (inspect.isfunction(value) or inspect.isclass(value)):
            assert value.__doc__, f"{name}.{key} has no docstring"


@pytest.mark.parametrize("package", ["dsp", "nn", "metrics", "models"])
def test_all_lists_exactly_what_is_there(package):
    module = importlib.import_module(f"scratchaudio.{package}")
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert hasattr(module, name), f"{package}.__all__ names {name!r}, which is not there"


def test_the_package_loads_without_matplotlib_and_soundfile_alone_touches_files():
    """Importing must stay quick: matplotlib is imported where something is drawn."""
    import subprocess
    import sys

    code = "import sys; import scratchaudio.models, scratchaudio.plot, scratchaudio.report; " + (
        "sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_files_that_the_readme_names_exist():
    text = (ROOT / "README.md").read_text()
    for path in re.findall(r"\]\(((?!http|#)[^)]+)\)", text):
        assert (ROOT / path).exists(), f"README.md links to {path}, which is not there"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "scratchaudio").rglob("*.py")), ids=lambda p: p.stem
)
def test_no_pickle_no_eval_and_no_global_random_state(path):
    """Nothing is unpickled, and every random number comes from a Generator that was passed in."""
    for node in ast.walk(ast.parse(path.read_text())):
        where = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None)]
            assert "pickle" not in names, f"{where} imports pickle"
        if isinstance(node, ast.keyword):
            allowed = node.arg != "allow_pickle" or node.value.value is False
            assert allowed, f"{where} allows pickle"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec"), f"{where} calls {node.func.id}"
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "np.random":
            allowed = node.attr in ("default_rng", "Generator", "PCG64")
            assert allowed, f"{where} uses the global np.random.{node.attr}"
