"""A WaveGAN that makes what it is asked for: a snare, a clap, a string.

Nobody can tell a plain generator what to make; which numbers z give a snare is found by trying. A
*conditional* game gives the kind to both players, and both have it easier. The generator need not
divide its numbers among kinds, and cannot forget one: for a snare that is no snare, however good a
sound, it gets no praise. The discriminator compares snares with snares.

    generator       z = [noise, one-hot kind]        D(x | kind) = scores[kind]
                            |                                   |
                    WaveGAN's generator              scores (B, K), one for each kind
                            |                                   |
                        x (B, C, N)                  WaveGAN's discriminator, with K outputs

The kind enters at the first layer of one and the last of the other. The one-hot vector selects a
row of the dense layer's matrix, a bias for each kind. The K scores of the discriminator are the
answers to K questions, "is this a real kick?", "a real snare?", of which only the one that was
asked counts: the others get no gradient. All layers before are shared by all kinds. A choice is
linear, so that the gradient penalty holds as it is (`given` fixes the kinds for it).

Soft sounds. A discriminator hears amplitudes, not decibels: a hiss of 1 % of full scale in the tail
of a kick is a small error to it, and 40 dB too loud to the ear. So the game can be played with
waveforms that are bent ("companded", as on the telephone), which are steep at 0:

    c = sign(x) log(1 + mu |x|) / log(1 + mu)        x = sign(c) ((1 + mu)^|c| - 1) / mu

Real sounds go through the first before D hears them, those of G through the second before we do.
With mu = 30 soft errors count 8.7 times as much as on x, and those at full scale 3.5 times less; an
exponential decay becomes nearly a straight line, which is easier to draw.

Legend: B batch, K kinds, C channels, N samples, x waveform, c companded, mu bend (0: none).

References
----------
Mirza & Osindero (2014), Conditional generative adversarial nets, arXiv:1411.1784, eq. 2; an output
for each class: Liu et al. (2019), Few-shot unsupervised image-to-image translation, ICCV, section
3.2; networks: Donahue, McAuley & Puckette (2019), Adversarial audio synthesis, ICLR; companding:
ITU-T G.711.
"""

import copy
import math

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError, require_gradient, require_positive_integer
from scratchaudio.models.gan import WaveGANDiscriminator, WaveGANGenerator
from scratchaudio.nn import Layer, Linear, Sequential, SpectralNorm

# Half a second at 16 kHz of seven kinds, trained in minutes, in less than 0.7 MB.
SMALL = {"n_samples": 8192, "width": 7, "n_layers": 5, "kernel_size": 16}


def compand(x, mu):
    """Bend a waveform in -1..1 so that soft samples become larger; mu = 0 leaves it as it is.

    Examples
    --------
    >>> compand(np.array([-1.0, 0.0, 0.01, 1.0]), mu=30).round(4)
    array([-1.    ,  0.    ,  0.0764,  1.    ])
    """
    _require_bend(mu)
    return np.sign(x) * np.log1p(mu * np.abs(x)) / math.log1p(mu) if mu else x


def expand(c, mu):
    """Undo `compand`.

    Examples
    --------
    >>> expand(compand(np.array([-0.5, 0.001]), mu=30), mu=30).round(6)
    array([-0.5  ,  0.001])
    """
    _require_bend(mu)
    return np.sign(c) * np.expm1(np.abs(c) * math.log1p(mu)) / mu if mu else c


class ClassWaveGANGenerator(WaveGANGenerator):
    """Random numbers and a kind to companded waveforms: z (B, n_latent) -> (B, C, N).

    `draw_kind` makes z, `sounds` takes the bend off what `forward` returns, `make` does it all.

    Parameters
    ----------
    kinds : their names; the last len(kinds) of the numbers z say which
    n_latent : random numbers and kinds together
    mu : bend of the waveforms that it is trained on, 0 for none
    n_samples, width, n_layers, kernel_size, stride, n_channels, sample_rate, rng : see
        `WaveGANGenerator`

    Examples
    --------
    >>> generator = ClassWaveGANGenerator(["kick", "snare"], n_latent=6, n_samples=256, width=2,
    ...                                   n_layers=2, rng=0).eval()
    >>> generator.make("snare", n=3, rng=0).shape
    (3, 1, 256)
    """

    def __init__(
        self,
        kinds,
        n_latent=100,
        mu=0.0,
        n_samples=16384,
        width=64,
        n_layers=5,
        kernel_size=25,
        stride=4,
        n_channels=1,
        sample_rate=16000,
        rng=None,
    ):
        if (
            not isinstance(kinds, list | tuple)
            or not kinds
            or not all(isinstance(kind, str) for kind in kinds)
            or len(set(kinds)) < len(kinds)
        ):
            raise ConfigError(f"kinds must be a list of names, each once, got {kinds!r}")
        require_positive_integer("n_latent", n_latent)
        if n_latent <= len(kinds):
            raise ConfigError(
                f"n_latent must be more than {len(kinds)}, one number for each kind and at least "
                f"one to vary the sound, got {n_latent}"
            )
        _require_bend(mu)
        super().__init__(
            n_samples,
            n_latent,
            width,
            n_layers,
            kernel_size,
            stride,
            n_channels,
            sample_rate,
            rng,
        )
        self.kinds, self.mu = tuple(kinds), mu
        self.settings |= {"kinds": list(kinds), "mu": mu}

    def draw(self, n, rng=None):
        """Numbers z for n examples of kinds that are drawn as well: (n, n_latent)."""
        require_positive_integer("n", n)
        rng = np.random.default_rng(rng)
        return self.draw_kind(rng.integers(len(self.kinds), size=n), rng)

    def draw_kind(self, kind, rng=None):
        """Numbers z for examples of these kinds, places in `kinds` (B,): (B, n_latent)."""
        kind = _require_kinds(kind, len(self.kinds))
        z = super().draw(len(kind), rng)
        z[:, -len(self.kinds) :] = np.eye(len(self.kinds), dtype=z.dtype)[kind]
        return z

    def make(self, name, n=1, rng=None):
        """Make n sounds of one kind, by its name: (n, C, N)."""
        if name not in self.kinds:
            raise ConfigError(f"name must be one of {self.kinds}, got {name!r}")
        require_positive_integer("n", n)
        return self.sounds(self.draw_kind(np.full(n, self.kinds.index(name)), rng))

    def sounds(self, z):
        """What to listen to: `forward`, with the bend taken off: (B, n_latent) -> (B, C, N)."""
        return expand(self.forward(z), self.mu)


class ClassWaveGANDiscriminator(WaveGANDiscriminator):
    """Waveforms and their kinds to logits: (B, C, N), (B,) -> (B,).

    Parameters
    ----------
    n_kinds : K
    n_samples, width, n_layers, kernel_size, stride, n_channels, radius, shared, spectral, rng : see
        `WaveGANDiscriminator`
    """

    def __init__(
        self,
        n_kinds,
        n_samples=16384,
        width=64,
        n_layers=5,
        kernel_size=25,
        stride=4,
        n_channels=1,
        radius=2,
        shared=False,
        spectral=False,
        rng=None,
    ):
        require_positive_integer("n_kinds", n_kinds)
        rng = np.random.default_rng(rng)
        super().__init__(
            n_samples,
            width,
            n_layers,
            kernel_size,
            stride,
            n_channels,
            radius,
            shared,
            spectral,
            rng,
        )
        *convolutions, row, _ = self.network.layers
        dense = Linear(row.shape[0], n_kinds, rng=rng)
        if spectral:
            dense = SpectralNorm(dense, axis=1, rng=rng)
        self.n_kinds = n_kinds
        self.choice = Choice()
        self.network = Sequential(*convolutions, row, dense, self.choice)

    def forward(self, x, kind):
        kind = _require_kinds(kind, self.n_kinds)
        if x.shape[:1] != kind.shape:
            raise ShapeError(f"kind must have one entry for each x, got {kind.shape} for {x.shape}")
        self.choice.kind = kind
        return super().forward(x)

    def given(self, kind):
        """Itself with the kinds (B,) fixed: a Layer of x alone, for `nn.gradient_penalty`."""
        return Given(self, kind)


class Given(Layer):
    """A discriminator whose kinds are fixed: (B, C, N) -> (B,); the parameters are shared.

    Parameters
    ----------
    discriminator : a `ClassWaveGANDiscriminator`
    kind : (B,)
    """

    def __init__(self, discriminator, kind):
        self.discriminator, self.kind = discriminator, kind

    def forward(self, x):
        return self.discriminator.forward(x, self.kind)

    def backward(self, dlogits):
        return self.discriminator.backward(dlogits)

    def tangent(self):
        """The derivative of the discriminator as a layer."""
        return self.discriminator.tangent()


class Choice(Layer):
    """Of K scores take the one of `kind`: y[b, 0] = x[b, kind[b]]; the others have dx = 0."""

    def __init__(self):
        self.kind = None  # (B,), set before each forward, which uses it up

    def forward(self, x):  # (B, K) -> (B, 1)
        kind, self.kind = self.kind[:, None], None
        self.save_for_backward(kind, x.shape)
        return np.take_along_axis(x, kind, axis=1)

    def backward(self, dy):  # (B, 1) -> (B, K)
        kind, shape = self.pop_saved()
        require_gradient(dy, kind.shape)
        dx = np.zeros(shape, dy.dtype)
        np.put_along_axis(dx, kind, dy, axis=1)
        return dx

    def tangent(self):
        """The same choice once more, for `nn.tangent`."""
        kind, shape = self.pop_saved()
        self.save_for_backward(kind, shape)
        tangent = copy.copy(self)
        tangent.kind = kind[:, 0]
        return tangent


def _require_bend(mu):
    """Raise `ConfigError` unless mu is a finite number of at least 0."""
    if isinstance(mu, bool) or not isinstance(mu, int | float) or not 0 <= mu < math.inf:
        raise ConfigError(f"mu must be a finite number of at least 0, got {mu!r}")


def _require_kinds(kind, K):
    """Return kind as an array; raise unless it holds integers of 0 ... K - 1, one axis."""
    kind = np.asarray(kind)
    if kind.ndim != 1 or kind.size == 0 or not np.issubdtype(kind.dtype, np.integer):
        raise ShapeError(
            f"kind must hold an integer for each example, got {kind.dtype} of shape {kind.shape}"
        )
    if kind.min() < 0 or kind.max() >= K:
        raise ConfigError(f"kind must be from 0 to {K - 1}, got {kind.min()} to {kind.max()}")
    return kind
