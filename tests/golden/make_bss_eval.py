"""Freeze the results of mir_eval and museval in bss_eval.json.

Made with mir_eval 0.8.2 and museval 0.4.1 by `python tests/golden/make_bss_eval.py`. The signals
are not stored: they are closed forms and a generator's uniform numbers, and the test draws them
again with `draw`.
"""

import json
from pathlib import Path

import numpy as np

WINDOW, HOP = 1500, 1000
VERSIONS = {
    "v4": {},
    "v4 sources": {"bsseval_sources_version": True},
    "v4 framewise": {"framewise_filters": True, "filters_len": 64},
}

# S, C, N, error in dB, who pauses
SHAPES = (
    (1, 1, 4000, -20, None),
    (2, 1, 5000, -20, None),
    (2, 1, 5000, -60, "reference"),
    (2, 1, 5000, 0, "estimate"),
    (2, 1, 700, -10, None),
    (3, 1, 5000, -30, "reference"),
    (2, 2, 5000, -15, "estimate"),
)


def draw(seed, S, C, N, error_db, pause):
    """Tones that swell and noise, panned; estimates are late, dull, mixed up, and change places."""
    rng, n = np.random.default_rng(seed), np.arange(N)
    references = np.empty((S, N, C))
    for j in range(S):
        phase = 0.05 * (1 + 0.37 * j) * n + 3 * np.sin(0.0021 * n + j)
        tones = sum(np.sin(k * phase + k * k) / k for k in range(1, 9))
        swelling = 0.6 + 0.4 * np.sin(0.004 * (j + 1) * n)
        for c in range(C):
            noise = 2 * rng.random(N) - 1
            references[j, :, c] = (1 + j * c) * swelling * tones + 0.3 * noise
    estimates = np.empty_like(references)
    gain = 10 ** (error_db / 20)
    for j in range(S):
        late = np.concatenate([np.zeros((j, C)), references[j, : N - j]])
        dull = late + gain * np.concatenate([np.zeros((1, C)), late[:-1]])
        noise = 2 * rng.random((N, C)) - 1
        other = references[(j + 1) % S] if S > 1 else 0
        estimates[(j + 1) % S] = 0.8 * (dull + gain * (other + 0.5 * noise))
    if pause == "reference":
        references[-1, 2000:3600] = 0
    if pause == "estimate":
        estimates[0, 2000:3600] = 0
    return references, estimates


def _peers(references, estimates):
    """Everything that the peers say about one pair, as lists."""
    from mir_eval.separation import bss_eval_images, bss_eval_sources
    from museval.metrics import bss_eval

    S, _, C = references.shape
    results = {"images": bss_eval_images(references, estimates)}
    if C == 1:
        results["sources"] = bss_eval_sources(references[..., 0], estimates[..., 0])
    back = estimates[(np.arange(S) + 1) % S]  # in the order of the references
    for name, options in VERSIONS.items():
        *ratios, _ = bss_eval(references, back, window=WINDOW, hop=HOP, **options)
        results[name] = ratios
    return {name: [np.asarray(x).tolist() for x in values] for name, values in results.items()}


if __name__ == "__main__":
    import warnings
    from importlib.metadata import version

    warnings.simplefilter("ignore")  # mir_eval calls its module deprecated
    cases = []
    for seed, shape in enumerate(SHAPES):
        settings = dict(zip(("S", "C", "N", "error_db", "pause"), shape, strict=True))
        cases.append({"seed": seed, **settings, **_peers(*draw(seed, **settings))})
    file = Path(__file__).with_name("bss_eval.json")
    peers = ", ".join(f"{name} {version(name)}" for name in ("mir_eval", "museval"))
    lines = ",\n".join(json.dumps(case) for case in cases)
    file.write_text(f'{{"made_by": "make_bss_eval.py, {peers}", "cases": [\n{lines}\n]}}\n')
    print(f"{len(cases)} cases -> {file.name}, {file.stat().st_size} bytes")
