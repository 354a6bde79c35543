"""Multiplicative updates of a song's spectrogram: ours against scikit-learn's NMF(solver="mu").

A float32 spectrogram of 30 s (n_fft 2048, hop 512 at 44.1 kHz: 1025 x 2584) with 8 components, the
same start and the same number of updates. Also the memory that this needs, in arrays of (F, T).
"""

import tracemalloc
import warnings

import numpy as np
from sklearn.decomposition import NMF

from benchmarks.timing import ratio
from scratchaudio.factorization import nmf

F, T, K = 1025, 2584, 8
UPDATES = {"Euclidean": (2, 200, 5), "Kullback-Leibler": (1, 200, 3), "Itakura-Saito": (0, 50, 3)}


def draw():
    rng = np.random.default_rng(0)
    V = rng.exponential(size=(F, T)).astype(np.float32) + np.float32(1e-3)
    return V, *(0.1 + rng.random(shape, np.float32) for shape in ((F, K), (K, T)))


def compare(name, beta, n_iter, repeats):
    V, W, H = draw()

    def ours():
        return nmf(V, W, H, beta=beta, n_iter=n_iter, tol=0, every=n_iter)

    def theirs():
        model = NMF(K, init="custom", solver="mu", beta_loss=beta, max_iter=n_iter, tol=0)
        return model.fit_transform(V, W=W.copy(), H=H.copy())

    quotient = ratio(ours, theirs, repeats)
    print(f"{n_iter} {name} updates: ours / scikit-learn {quotient:.2f}", flush=True)


def memory(name, beta):
    V, W, H = draw()
    tracemalloc.start()
    nmf(V, W, H, beta=beta, n_iter=2, tol=0, every=2)
    arrays = tracemalloc.get_traced_memory()[1] / V.nbytes
    tracemalloc.stop()
    print(f"{name}: {arrays:.2f} arrays of (F, T) at the peak, beside V")


def main():
    warnings.simplefilter("ignore")  # scikit-learn warns that it did not converge
    for name, settings in UPDATES.items():
        compare(name, *settings)
    for name, (beta, *_) in UPDATES.items():
        memory(name, beta)


if __name__ == "__main__":
    main()
