"""Freeze pystoi's results in pystoi.json.

Made with pystoi 0.4.1 by `python tests/golden/make_pystoi.py`. The signals are not stored: they are
closed forms and a generator's uniform numbers, and the test draws them again with `draw_pair`.
"""

import json
from pathlib import Path

import numpy as np

RATES = 8000, 10000, 11025, 16000, 22050, 44100, 48000
NOISE_GAINS = 0.0, 0.1, 0.5, 2.0


def draw_pair(seed, sr, noise_gain, seconds=1.5):
    """Harmonics that swell and fade in syllables, a pause of digital silence, and noise on top."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * sr)) / sr
    pitch = 110 + 5 * np.sin(2 * np.pi * 1.5 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / sr
    speech = np.zeros(t.size)
    for k in range(1, 31):
        syllables = np.sin(np.pi * (2 + k / 10) * t + k) ** 2
        speech += syllables * np.sin(k * phase + k * k) / k
    speech[t >= 0.8 * seconds] = 0
    return speech, speech + noise_gain * (2 * rng.random(t.size) - 1)


if __name__ == "__main__":
    from importlib.metadata import version

    from pystoi import stoi

    cases = []
    for seed, (sr, gain) in enumerate((sr, gain) for sr in RATES for gain in NOISE_GAINS):
        pair = draw_pair(seed, sr, gain)
        cases.append(
            {
                "seed": seed,
                "sr": sr,
                "noise_gain": gain,
                "stoi": float(stoi(*pair, sr)),
                "estoi": float(stoi(*pair, sr, extended=True)),
            }
        )
    file = Path(__file__).with_name("pystoi.json")
    made_by = f"make_pystoi.py, pystoi {version('pystoi')}"
    lines = ",\n".join(json.dumps(case) for case in cases)
    file.write_text(f'{{"made_by": {json.dumps(made_by)}, "cases": [\n{lines}\n]}}\n')
    print(f"{len(cases)} cases -> {file.name}, {file.stat().st_size} bytes")
