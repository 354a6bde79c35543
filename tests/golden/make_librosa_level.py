"""Write librosa_level.npz: librosa 0.11's answers to the calls below, for tests/dsp/test_level.py.

    python tests/golden/make_librosa_level.py          (needs the `peers` extra)

Everything is float64; librosa's rms is float32 unless told otherwise, hence `dtype`.
"""

import json
from pathlib import Path

import librosa
import numpy as np

FUNCTIONS = {
    "rms": librosa.feature.rms,
    "power_to_db": librosa.power_to_db,
    "db_to_power": librosa.db_to_power,
    "amplitude_to_db": librosa.amplitude_to_db,
    "db_to_amplitude": librosa.db_to_amplitude,
    "preemphasis": librosa.effects.preemphasis,
    "deemphasis": librosa.effects.deemphasis,
}

# An argument "@name" is the array of that name, "max" and "median" are NumPy's functions.
CASES = [
    ("rms", {"y": "@mono"}),
    ("rms", {"y": "@mono", "frame_length": 101, "hop_length": 37}),
    ("rms", {"y": "@stereo", "frame_length": 64, "hop_length": 29, "pad_mode": "reflect"}),
    ("rms", {"y": "@stereo", "frame_length": 64, "hop_length": 70, "center": False}),
    ("rms", {"S": "@magnitudes", "frame_length": 32}),
    ("rms", {"S": "@magnitudes", "frame_length": 33}),
    ("power_to_db", {"S": "@powers"}),
    ("power_to_db", {"S": "@powers", "ref": 0.02, "top_db": None}),
    ("power_to_db", {"S": "@powers", "ref": -3.0, "amin": 1e-3, "top_db": 20.0}),
    ("power_to_db", {"S": "@powers", "ref": "max"}),
    ("power_to_db", {"S": "@powers", "ref": "median", "top_db": 0}),
    ("power_to_db", {"S": 0.25}),
    ("amplitude_to_db", {"S": "@mono"}),
    ("amplitude_to_db", {"S": "@mono", "ref": 0.5, "top_db": None, "amin": 0.01}),
    ("amplitude_to_db", {"S": "@magnitudes", "ref": "max", "top_db": 30}),
    ("amplitude_to_db", {"S": "@stereo", "ref": -0.1}),
    ("amplitude_to_db", {"S": -0.25}),
    ("db_to_power", {"S_db": "@decibels"}),
    ("db_to_power", {"S_db": "@decibels", "ref": 0.3}),
    ("db_to_power", {"S_db": -3.0}),
    ("db_to_power", {"S_db": 7.0, "ref": 2.0}),
    ("db_to_power", {"S_db": "@mono"}),
    ("db_to_amplitude", {"S_db": "@decibels"}),
    ("db_to_amplitude", {"S_db": "@decibels", "ref": 0.3}),
    ("db_to_amplitude", {"S_db": -3.0}),
    ("db_to_amplitude", {"S_db": 7.0, "ref": 2.0}),
    ("db_to_amplitude", {"S_db": "@mono"}),
    ("preemphasis", {"y": "@mono"}),
    ("preemphasis", {"y": "@stereo", "coef": 0.95}),
    ("preemphasis", {"y": "@mono", "coef": 0.0}),
    ("preemphasis", {"y": "@mono", "coef": 1.0, "zi": [0.3]}),
    ("preemphasis", {"y": "@stereo", "zi": [[0.3], [-0.2]]}),
    ("deemphasis", {"y": "@mono"}),
    ("deemphasis", {"y": "@stereo", "coef": 0.95}),
    ("deemphasis", {"y": "@mono", "coef": 0.5}),
    ("deemphasis", {"y": "@mono", "coef": 0.9, "zi": [0.3]}),
    ("deemphasis", {"y": "@stereo", "zi": [[0.3], [-0.2]]}),
]


def inputs():
    rng = np.random.default_rng(21)
    return {
        "mono": 0.3 * rng.standard_normal(601),
        "stereo": 0.3 * rng.standard_normal((2, 211)),
        "magnitudes": np.abs(rng.standard_normal((17, 5))),
        "powers": 10.0 ** rng.uniform(-14, 3, (9, 7)) * (rng.uniform(size=(9, 7)) < 0.9),
        "decibels": rng.uniform(-100, 30, (4, 11)),
    }


def resolved(arguments, arrays):
    """Arguments as the functions want them."""
    named = {"max": np.max, "median": np.median} | {f"@{key}": a for key, a in arrays.items()}
    return {
        name: named.get(value, value) if isinstance(value, str) else value
        for name, value in arguments.items()
    }


def main():
    arrays, results = inputs(), {}
    for number, (function, arguments) in enumerate(CASES):
        double = {"dtype": np.float64} if function == "rms" else {}
        result = FUNCTIONS[function](**resolved(arguments, arrays), **double)
        results[f"result.{number}"] = np.asarray(result)
    np.savez_compressed(
        Path(__file__).with_name("librosa_level.npz"),
        origin=f"librosa {librosa.__version__}, numpy {np.__version__}, make_librosa_level.py",
        cases=json.dumps(CASES),
        **{f"input.{name}": array for name, array in arrays.items()},
        **results,
    )


if __name__ == "__main__":
    main()
