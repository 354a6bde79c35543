"""ROC, AUC and average precision of a million frames: ours against scikit-learn.

Prints median ratios of interleaved runs (below 1 we are faster), for scores of almost no ties
(a network's probabilities) and of many (levels in twentieths), and where the time goes: sorting the
classes apart and merging them, against the argsort it replaces.
"""

from functools import partial

import numpy as np
from sklearn import metrics as theirs

from benchmarks.timing import ratio
from scratchaudio import metrics as ours
from scratchaudio.metrics.classification import _sweep

N = 1_000_000


def draw_frames(dtype, tied):
    rng = np.random.default_rng(0)
    y_true = rng.random(N) < 0.6
    score = rng.normal(size=N) + 2 * y_true
    score = np.round(20 * score) / 20 if tied else 1 / (1 + np.exp(-score))
    return y_true, score.astype(dtype)


def roc_and_auc(library, *case):
    fpr, tpr, _ = library.roc_curve(*case)
    return library.auc(fpr, tpr)


def average_precision(library, *case):
    return library.average_precision_score(*case)


def compare(dtype, tied):
    case = draw_frames(dtype, tied)
    name = f"{N} frames, {np.dtype(dtype)}, {np.unique(case[1]).size} distinct scores"
    for run in (roc_and_auc, average_precision):
        quotient = ratio(partial(run, ours, *case), partial(run, theirs, *case))
        print(f"{run.__name__:20} {name:45} ours / scikit-learn {quotient:.2f}", flush=True)
    quotient = ratio(partial(_sweep, *case), partial(np.argsort, case[1], kind="stable"))
    print(f"{'all of our sweep':20} {name:45} ours / stable argsort {quotient:.2f}", flush=True)


def main():
    for dtype in (np.float32, np.float64):
        for tied in (False, True):
            compare(dtype, tied)


if __name__ == "__main__":
    main()
