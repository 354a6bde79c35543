"""CycleGAN: a melody of one instrument played by another, learned without a single pair.

There are sounds of timbre A and sounds of timbre B, but no melody is there in both. Two generators
are learned at once, G from A to B and F from B to A, each with a discriminator of its own that has
heard real sounds of the timbre aimed at:

    a ---> G(a) ---> F(G(a))        D_B: is G(a) a sound of B?        F(G(a)) should be a again
    b ---> F(b) ---> G(F(b))        D_A: is F(b) a sound of A?        G(F(b)) should be b again

The discriminators alone would be content with *any* sounds of the right timbre: G could answer
every melody with the same one. The way back forbids this. What F is to find again must still be
there in G(a), and the cheapest way to keep a melody is to leave it where it is. In full, for G
(F's is the same with A and B exchanged):

    loss = adversarial        mean (D_B(G(a)) - 1)^2                      nn.LEAST_SQUARES
         + w cycle            mean |F(G(a)) - a| + mean |G(F(b)) - b|     nn.l1
         + w / 2 identity     mean |G(b) - b|                             nn.l1

The last one says that what is a sound of B already needs no change. A cycle closes as well if
G plays all of it a fifth higher and F a fifth lower; a G that leaves B alone does not.

The sounds are pictures: the level of each bin of the STFT in dB, on a scale on which 0 is silence
and 1 a sine at full scale. The generator adds its change to the picture that it was given:

          picture x (B, 1, F, T), beside it the frequency of each row, -1 at 0 Hz to 1 at the top
               |
    convolution, stride 2, ReLU                     (w, F / 2, T / 2)
    convolution, stride 2, ReLU                     (2w, F / 4, T / 4)
    residual blocks x + conv(relu(conv(x)))         the same size
    transposed convolution, stride 2, ReLU          (w, F / 2, T / 2)
    transposed convolution, stride 2                (1, F, T)       the change
               |
          y = leaky_relu(x + change)                little below silence

A *patch* discriminator has no dense layer at its end but one logit for each place, which sees no
more than a patch of the picture: it judges timbre, for which a patch is enough, and leaves melodies
alone. All of these networks take pictures of any size.

What differs from the paper, which works on photographs: no convolution at full resolution before
and after (most of the time would go there), 3 residual blocks of 3 x 3 for 9, no instance
normalisation (it would take away how loud a picture is), zeros outside for reflections (zero is
silence here), the sum x + change for a new picture, the row of frequencies as a second channel
(a filter must know where on the axis it is), and far fewer channels.

Legend: B batch, F bins (the bin at half the sampling rate is left out), T frames, N samples,
w width.

References
----------
Zhu, Park, Isola & Efros (2017), Unpaired image-to-image translation using cycle-consistent
adversarial networks, ICCV, eq. 1 to 3, sections 4 and 5.2; with spectrograms: Huang, Li, Anil, Bao,
Oore & Grosse (2019), TimbreTron, ICLR; the channel of coordinates: Liu et al. (2018), An intriguing
failing of convolutional neural networks and the CoordConv solution, NeurIPS.
"""

import numpy as np

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer, require_signal
from scratchaudio.nn import (
    Conv2d,
    ConvTranspose2d,
    Layer,
    LeakyReLU,
    ReLU,
    Sequential,
    SpectralNorm,
)

RANGE = 70.0  # dB from silence, 0 in a picture, to full scale, 1
SMALL = {"width": 16, "n_blocks": 3, "n_fft": 256, "hop_length": 64, "sample_rate": 8000}


# Sounds and pictures -----------------------------------------------------------------------------


def encode(x, n_fft, hop_length):
    """Sounds to pictures of levels: (..., N) -> (..., F, T) with F = n_fft / 2.

        picture = max(0, 1 + 20 log10(|X| / full) / RANGE)

    where |X| = full is a sine of amplitude 1: half the sum of the window.

    Examples
    --------
    >>> x = 0.1 * np.sin(2 * np.pi * np.arange(2000) / 8)        # a sine at -20 dB, in bin 32
    >>> picture = encode(x, n_fft=256, hop_length=64)
    >>> picture.shape, round(float(picture[32, 15]), 3)          # 1 - 20 / 70
    ((128, 32), 0.714)
    """
    S = np.abs(dsp.stft(x, n_fft=n_fft, hop_length=hop_length))[..., :-1, :]
    silence = S.dtype.type(10 ** (-RANGE / 20))
    return 1 + np.log10(np.maximum(S / _full_scale(n_fft), silence)) * (20 / RANGE)


def decode(picture):
    """Pictures to magnitudes of the STFT: (..., F, T) -> (..., F + 1, T).

    The inverse of `encode`, but what it took for silence, and the bin that it left out, is 0. No
    magnitude is above full scale.
    """
    levels = (np.minimum(picture, 1) - 1) * (RANGE / 20)
    S = np.where(picture > 0, 10**levels * _full_scale(2 * picture.shape[-2]), 0)
    no_change = [(0, 0)] * (picture.ndim - 2)
    return np.pad(S.astype(picture.dtype), [*no_change, (0, 1), (0, 0)])


def _full_scale(n_fft):
    """Magnitude of a sine of amplitude 1 in its bin: half the sum of a Hann window."""
    return n_fft / 4


# Networks ----------------------------------------------------------------------------------------


class ResidualBlock(Layer):
    """Add what two convolutions make of a picture: (B, C, F, T) -> (B, C, F, T).

        y = x + conv2(relu(conv1(x)))

    Backward: x is used twice, so dx = dy + what comes back through the convolutions.

    Parameters
    ----------
    n_channels : C
    rng : seed or Generator for the initial weights

    References
    ----------
    He, Zhang, Ren & Sun (2016), Deep residual learning for image recognition, CVPR, eq. 1.
    """

    def __init__(self, n_channels, rng=None):
        rng = np.random.default_rng(rng)
        self.change = Sequential(
            Conv2d(n_channels, n_channels, 3, padding=1, rng=rng),
            ReLU(),
            Conv2d(n_channels, n_channels, 3, padding=1, rng=rng),
        )

    def forward(self, x):
        return x + self.change.forward(x)

    def backward(self, dy):
        return dy + self.change.backward(dy)


class CycleGenerator(Layer):
    """Pictures of one timbre to those of another: (B, 1, F, T) -> (B, 1, F, T).

        y = leaky_relu(x + change([x, f]))        f the frequency of each row, -1 ... 1

    What comes out below 0, below silence, is brought near to it; not quite to it, so that a
    generator that has silenced everything still has a gradient.

    Backward, with dz the gradient of x + change: x is used twice, and the gradient of f is of no
    use,

        dx = dz + what comes back through the change at its first channel

    Parameters
    ----------
    width : channels after the first convolution, twice as many after the second
    n_blocks : residual blocks
    rng : seed or Generator for the initial weights
    """

    def __init__(self, width=16, n_blocks=3, rng=None):
        require_positive_integer("width", width)
        require_positive_integer("n_blocks", n_blocks)
        rng = np.random.default_rng(rng)
        self.change = Sequential(
            Conv2d(2, width, 4, stride=2, padding=1, rng=rng),
            ReLU(),
            Conv2d(width, 2 * width, 4, stride=2, padding=1, rng=rng),
            ReLU(),
            Sequential(*[ResidualBlock(2 * width, rng) for _ in range(n_blocks)]),
            ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, rng=rng),
            ReLU(),
            ConvTranspose2d(width, 1, 4, stride=2, padding=1, rng=rng),
        )
        self.floor = LeakyReLU(0.1)

    def forward(self, x):
        require_pictures(x, 4)
        return self.floor.forward(x + self.change.forward(with_frequencies(x)))

    def backward(self, dy):
        dz = self.floor.backward(dy)
        return dz + self.change.backward(dz)[:, :1]


class PatchDiscriminator(Layer):
    """Pictures to a logit for each patch: (B, 1, F, T) -> (B, 1, F', T').

    Convolutions of 4 x 4, each but the last two with a stride of 2 and twice the channels of the
    one before, and leaky ReLUs between them.

    Parameters
    ----------
    width : channels after the first convolution
    n_halvings : convolutions of stride 2; with 1, 2, 3 of them a logit sees a patch of 16, 34, 70
        bins and frames, see `patch`
    spectral : bound every layer by its spectral norm
    rng : seed or Generator for the initial weights
    """

    def __init__(self, width=16, n_halvings=2, spectral=False, rng=None):
        require_positive_integer("width", width)
        require_positive_integer("n_halvings", n_halvings)
        rng = np.random.default_rng(rng)
        self.n_halvings = n_halvings
        channels = [2, *[width * 2**i for i in range(n_halvings + 1)], 1]
        layers = []
        for i, (n_in, n_out) in enumerate(zip(channels, channels[1:], strict=False)):
            stride = 2 if i < n_halvings else 1
            layer = Conv2d(n_in, n_out, 4, stride, padding=1, rng=rng)
            layers += [SpectralNorm(layer, rng=rng) if spectral else layer, LeakyReLU(0.2)]
        self.network = Sequential(*layers[:-1])

    @property
    def patch(self):
        """Bins, and frames, that one logit depends on.

        A convolution adds its 3 further taps, each as many bins apart as were halved into one
        before: 1, 2, 4 ... and twice 2^n_halvings.
        """
        return 1 + 3 * (2**self.n_halvings - 1) + 2 * 3 * 2**self.n_halvings

    def forward(self, x):
        require_pictures(x, 1)
        # The last two convolutions take one row and one frame away each.
        if min(x.shape[2:]) < 3 * 2**self.n_halvings:
            raise ShapeError(
                f"x must have at least {3 * 2**self.n_halvings} bins and frames, for one patch, "
                f"got {x.shape[2:]}"
            )
        return self.network.forward(with_frequencies(x))

    def backward(self, dlogits):
        return self.network.backward(dlogits)[:, :1]


def with_frequencies(x):
    """Lay the frequency of each row beside the picture: (B, 1, F, T) -> (B, 2, F, T)."""
    f = np.linspace(-1, 1, x.shape[2]).astype(x.dtype)
    return np.concatenate([x, np.broadcast_to(f[:, None], x.shape)], axis=1)


def require_pictures(x, step):
    """Raise unless x is (B, 1, F, T) with F and T multiples of `step`."""
    if x.ndim != 4 or x.shape[1] != 1 or 0 in x.shape or x.shape[2] % step or x.shape[3] % step:
        multiples = f", bins and frames multiples of {step}" if step > 1 else ""
        raise ShapeError(
            f"x must be pictures of shape (batch, 1, bins, frames){multiples}, got {x.shape}"
        )


class CycleGAN(Layer):
    """Both generators: pictures of A and of B -> what B and what A would make of them.

        forward(a, b) = G(a), F(b)

    In training each generator has more to do than this, and is called by itself: see the loop in
    `examples/gan_style.py`.

    Parameters
    ----------
    width, n_blocks : of each generator
    n_fft, hop_length : of the STFT
    sample_rate : of the sounds, Hz
    rng : seed or Generator for the initial weights

    Attributes
    ----------
    to_b : G; to_a : F
    """

    def __init__(
        self, width=16, n_blocks=3, n_fft=256, hop_length=64, sample_rate=8000, rng=None
    ):  # fmt: skip
        self.settings = {"width": width, "n_blocks": n_blocks, "n_fft": n_fft}
        self.settings |= {"hop_length": hop_length, "sample_rate": sample_rate}
        for name, value in self.settings.items():
            require_positive_integer(name, value)
        if n_fft % 8:
            raise ConfigError(f"n_fft must be a multiple of 8, to be halved thrice, got {n_fft}")
        self.n_fft, self.hop_length, self.sample_rate = n_fft, hop_length, sample_rate
        rng = np.random.default_rng(rng)
        self.to_b = CycleGenerator(width, n_blocks, rng)
        self.to_a = CycleGenerator(width, n_blocks, rng)

    def forward(self, a, b):  # (B, 1, F, T) each
        return self.to_b.forward(a), self.to_a.forward(b)

    def backward(self, dfake_b, dfake_a):
        return self.to_b.backward(dfake_b), self.to_a.backward(dfake_a)

    # From sound to sound ---------------------------------------------------------------------

    def play_as_b(self, a, sr):
        """A sound of timbre A, (N,) within -1..1, as one of B, (N,), which may be louder than 1."""
        return self._play(self.to_b, "a", a, sr)

    def play_as_a(self, b, sr):
        """A sound of timbre B, (N,) within -1..1, as one of A, (N,), which may be louder than 1."""
        return self._play(self.to_a, "b", b, sr)

    def _play(self, generator, name, x, sr):
        x = require_signal(name, x)
        if x.ndim != 1:
            raise ShapeError(f"{name} must be one channel of samples, (N,), got shape {x.shape}")
        if np.abs(x).max() > 1:
            raise ShapeError(
                f"{name} must lie in -1..1, but reaches {np.abs(x).max():.4g}; divide it by its "
                f"peak"
            )
        if sr != self.sample_rate:
            raise ConfigError(
                f"sr must be {self.sample_rate} Hz, at which this model has learned, got {sr}; "
                f"use dsp.resample"
            )
        magnitudes = decode(self.repaint(generator, encode(x, self.n_fft, self.hop_length)))
        X = dsp.stft(x, n_fft=self.n_fft, hop_length=self.hop_length)
        return self.sound(magnitudes, X, len(x))

    def repaint(self, generator, picture):
        """What `generator` makes of one picture (F, T) of any number of frames: (F, T)."""
        T = picture.shape[-1]
        x = np.pad(picture, ((0, 0), (0, -T % 4)))[None, None]  # (1, 1, F, T + 0 ... 3)
        return generator.forward(x)[0, 0, :, :T]

    def sound(self, magnitudes, X, length):
        """Magnitudes (F + 1, T) with the phases of X to samples (N,)."""
        Y = dsp.with_phase(magnitudes, X)
        return dsp.istft(Y, n_fft=self.n_fft, hop_length=self.hop_length, length=length)

    @classmethod
    def from_checkpoint(cls, checkpoint):
        """Build the untrained model of a checkpoint, if its weights have the sizes it states."""
        first = np.shape(checkpoint.model.get("to_b.change.layers.0.W", ()))
        blocks = "to_b.change.layers.4.layers."
        n_blocks = len({name.split(".")[5] for name in checkpoint.model if name.startswith(blocks)})
        return checkpoint.build(cls, {"width": first[0] if first else 0, "n_blocks": n_blocks})
