"""What librosa answered, stored in tests/golden/librosa.npz, to 1e-9; no librosa needed."""

import json
from pathlib import Path

import numpy as np
import pytest

from scratchaudio import dsp

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "librosa.npz")
CASES = json.loads(str(GOLDEN["cases"]))


def arguments_of(arguments):
    """`"@name"` is the stored array of that name; JSON knows no tuples."""
    for name, value in arguments.items():
        if isinstance(value, str) and value.startswith("@"):
            arguments[name] = GOLDEN[f"input.{value[1:]}"]
        elif name == "window" and isinstance(value, list):
            arguments[name] = tuple(value)
    return arguments


@pytest.mark.parametrize(
    "number", range(len(CASES)), ids=[f"{number}-{case[0]}" for number, case in enumerate(CASES)]
)
def test_librosa_gave(number):
    function, arguments = CASES[number]
    arguments = arguments_of(dict(arguments))
    if function == "window_sumsquare":
        arguments["dtype"] = np.float64
    expected = GOLDEN[f"result.{number}"]
    result = np.asarray(getattr(dsp, function)(**arguments))
    assert result.dtype == expected.dtype, CASES[number]
    assert result.shape == expected.shape, CASES[number]
    tolerance = 1e-6 if expected.dtype == np.float32 else 1e-9
    error = np.abs(result - expected).max() / max(np.abs(expected).max(), 1e-300)
    assert error <= tolerance, f"{function}({CASES[number][1]}) is off by {error:.1e}"


def test_every_function_has_at_least_five_cases():
    names = [case[0] for case in CASES]
    assert min(names.count(name) for name in set(names)) >= 5
    assert str(GOLDEN["origin"]).startswith("librosa 0.11.")
