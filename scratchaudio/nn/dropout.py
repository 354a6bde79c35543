"""Dropout: in training, every entry is dropped with probability p.

A network that may lose any of its units at any step cannot rely on a single one of them; what it
learns is spread over many, as if it were the mean of many thinned networks. With a mask m of
independent entries, 1 with probability 1 - p and else 0,

    training:    y = x m / (1 - p)        dx = dy m / (1 - p)        the same m
    evaluation:  y = x

Dividing by 1 - p keeps the expectation of y at x, so that evaluation needs no correction.

Reference: Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov (2014), Dropout: a simple way
to prevent neural networks from overfitting, JMLR 15, section 4 and 10 ("inverted").
"""

import numpy as np

from scratchaudio.errors import ConfigError
from scratchaudio.nn.layer import Layer


class Dropout(Layer):
    """Drop entries at random in training, pass everything on in evaluation; any shape, kept.

    Parameters
    ----------
    p : probability that an entry is dropped, 0 <= p < 1; kept to 1/65536, see `forward`
    rng : the Generator that masks are drawn from, or a seed. A training run that shall resume bit
        for bit uses the Generator that it hands to `training.fit`
    """

    def __init__(self, p=0.1, rng=None):
        if not 0 <= p < 1:
            raise ConfigError(f"p must lie in 0..1 (1 excluded), got {p}")
        self.p = p
        self._threshold = min(round(65536 * p), 65535)  # of 16 random bits
        self.rng = np.random.default_rng(rng)

    def forward(self, x):
        if not self.training or self.p == 0:
            self.save_for_backward(None)
            return x
        # 16 random bits are enough to compare with p. Drawn four at a time they take half the time
        # of 16-bit numbers drawn one by one, and a quarter of that of float32.
        words = self.rng.integers(0, 2**64, -(-x.size // 4), np.uint64)
        kept = words.view(np.uint16)[: x.size].reshape(x.shape) >= self._threshold
        m = kept.astype(x.dtype)
        m *= 65536 / (65536 - self._threshold)  # 1 / (1 - p) of the p that is drawn
        self.save_for_backward(m)
        return x * m

    def backward(self, dy):
        (m,) = self.pop_saved()
        return dy if m is None else dy * m
