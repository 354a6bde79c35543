"""BSS Eval of ten seconds at 44.1 kHz: ours against mir_eval (version 3) and museval (version 4).

Prints median ratios of interleaved runs (below 1 we are faster). By default mir_eval's functions
try every pair of a reference and an estimate; "in order" takes them as they come.
"""

import warnings
from functools import partial

import mir_eval
import museval
import numpy as np

from benchmarks.timing import ratio
from scratchaudio.metrics import bss_eval, bss_eval_images, bss_eval_sources

SR, SECONDS = 44_100, 10
REPEATS = 7


def draw(S, C):
    """Noises; each estimate keeps some of the other source and has noise of its own."""
    rng = np.random.default_rng(0)
    references, noise = rng.standard_normal((2, S, SECONDS * SR, C))
    return references, references + 0.2 * np.roll(references, 1, axis=0) + 0.1 * noise


def main():
    mono, stereo = draw(2, 1), draw(2, 2)
    waveforms = [x[..., 0] for x in mono]
    theirs = mir_eval.separation
    rows = (
        ("sources, mono, mir_eval", bss_eval_sources, theirs.bss_eval_sources, waveforms),
        ("images, mono, mir_eval", bss_eval_images, theirs.bss_eval_images, waveforms),
        ("images, stereo, mir_eval", bss_eval_images, theirs.bss_eval_images, stereo),
        (
            "images, mono, in order, mir_eval",
            partial(bss_eval_images, compute_permutation=False),
            partial(theirs.bss_eval_images, compute_permutation=False),
            waveforms,
        ),
        (
            "version 4, stereo, museval",
            partial(bss_eval, window=SR),
            partial(museval.evaluate, win=SR, hop=SR),
            stereo,
        ),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mir_eval calls its module deprecated
        for name, ours, peer, pair in rows:
            quotient = ratio(partial(ours, *pair), partial(peer, *pair), REPEATS)
            print(f"{name:32}  ours / theirs {quotient:.3f}", flush=True)


if __name__ == "__main__":
    main()
