"""What the documentation promises: examples run as printed, public names are documented."""

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


def test_no_pickle_and_no_global_random_state():
    """Nothing is unpickled, and every random number comes from a Generator that was passed in."""
    forbidden = r"allow_pickle=True|import pickle|np\.random\.(?!default_rng|Generator|PCG64)|(?<!\.)\beval\("
    for path in (ROOT / "scratchaudio").rglob("*.py"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(forbidden, line) and "eval(self)" not in line:
                raise AssertionError(f"{path.name}:{number} {line.strip()}")
