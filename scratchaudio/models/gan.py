"""Generative adversarial networks for sound: WaveGAN makes waveforms, SpecGAN spectrograms.

A generator turns random numbers z into a sound, a discriminator into a logit how real a sound is:

                 z (B, n_latent)                                x (B, C, N)
                        |                                            |
    dense, reshape, ReLU         (B, 4w, N / 64)      convolution, stride 4, leaky ReLU, shuffle
    transposed conv, stride 4, ReLU  (2w, N / 16)     convolution, stride 4, leaky ReLU, shuffle
    transposed conv, stride 4, ReLU   (w, N / 4)      convolution, stride 4, leaky ReLU
    transposed conv, stride 4, tanh   (C, N)          reshape, dense
                        |                                            |
                 x (B, C, N)                                   logits (B,)

(here with three layers; w is `width`). Both halve, or double, the channels where they make the
signal 4 times longer, or shorter. SpecGAN is the same with images: the logarithm of a magnitude
spectrogram, standardised in each bin, as one picture, and convolutions of 5 x 5 with a stride of 2;
a sound is made of it by Griffin-Lim, as the phases are not modelled.

Each network is trained by the other's opinion (`nn.gan_losses` says how): `discriminator_step` and
`generator_step` are the two updates, a few lines each. They take turns:

    for each batch of real sounds:
        n times    discriminator_step(D, D_optimizer, WASSERSTEIN, real, G.forward(z), penalty=10)
        once       generator_step(G, D, G_optimizer, WASSERSTEIN, z)

The slope of D must be bounded or its opinion is worth nothing. Two ways: a gradient penalty
(`penalty`; exact, and twice the work), or spectral normalisation of its layers (`spectral=True`;
free, and a bound that is seldom reached). Neither network has batch normalisation: it would let the
examples of a batch see each other, and the penalty asks for the slope of each alone.

Legend: B batch, C channels (1 for mono), N samples, F bins, T frames.

References
----------
Donahue, McAuley & Puckette (2019), Adversarial audio synthesis, ICLR, sections 3.1 to 3.3 and
tables 3 to 6 (the sizes, and WGAN-GP with 5 steps of the critic to one).
"""

from dataclasses import dataclass

import numpy as np

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer, require_signal
from scratchaudio.nn import (
    Conv1d,
    Conv2d,
    ConvTranspose1d,
    ConvTranspose2d,
    Layer,
    LeakyReLU,
    Linear,
    PhaseShuffle,
    ReLU,
    Reshape,
    Sequential,
    SpectralNorm,
    Tanh,
    frozen,
    gradient_penalty,
    kaiming_normal,
    tangent,
)
from scratchaudio.nn.layer import Buffer

# For generator and discriminator alike, a second of sound at 8 kHz, or half a one at 16 kHz; they
# train in minutes. The defaults of the classes are the paper's sizes.
SMALL_WAVE = {"n_samples": 8192, "width": 8, "n_layers": 5}
SMALL_SPEC = {"n_bins": 64, "n_frames": 64, "width": 8, "n_layers": 4}


# The two updates ---------------------------------------------------------------------------------


def discriminator_step(discriminator, optimizer, game, real, fake, penalty=0.0, rng=None):
    """Update the discriminator once; return its loss.

    Fakes come as an array: no gradient finds a way back to what made them.

    Parameters
    ----------
    discriminator : Layer that gives one logit for each example
    optimizer : of the discriminator's parameters
    game : a `GANLoss`, such as `nn.WASSERSTEIN`
    real, fake : (B, ...) examples
    penalty : weight of the gradient penalty; 0 does without
    rng : seed or Generator of the penalty's points
    """
    discriminator.zero_grad()
    logits = discriminator.forward(np.concatenate([real, fake]))  # two passes in one
    loss, dreal, dfake = game.discriminator(logits[: len(real)], logits[len(real) :])
    discriminator.backward(np.concatenate([dreal, dfake]))
    if penalty:
        loss += penalty * gradient_penalty(discriminator, real, fake, penalty, rng)
    optimizer.step()
    return loss


def generator_step(generator, discriminator, optimizer, game, z):
    """Update the generator once; return its loss.

    The gradient runs through the discriminator, whose parameters and their gradients stay as they
    are, bit for bit.

    Parameters
    ----------
    generator, discriminator : Layers
    optimizer : of the generator's parameters
    game : a `GANLoss`, the discriminator's
    z : (B, n_latent) random numbers
    """
    generator.zero_grad()
    logits = discriminator.forward(generator.forward(z))
    loss, dlogits = game.generator(logits)
    with frozen(discriminator):
        dfake = discriminator.backward(dlogits)
    generator.backward(dfake)
    optimizer.step()
    return loss


# What both kinds share ---------------------------------------------------------------------------


class Generator(Layer):
    """Base of the generators: random numbers (B, n_latent) -> (B, C, ...), each in -1..1.

    Parameters
    ----------
    n_latent : random numbers that one example is made of
    start : shape (channels, ...) of the example after the dense layer
    convolutions : transposed convolutions, first to last
    rng : seed or Generator for the dense layer's initial weights
    """

    def __init__(self, n_latent, start, convolutions, rng):
        require_positive_integer("n_latent", n_latent)
        self.n_latent = n_latent
        layers = [Linear(n_latent, int(np.prod(start)), rng=rng), Reshape(*start)]
        for convolution in convolutions:
            layers += [ReLU(), convolution]
        self.network = Sequential(*layers, Tanh())

    def draw(self, n, rng=None):
        """Random numbers for n examples, from U(-1, 1): (n, n_latent)."""
        require_positive_integer("n", n)
        rng = np.random.default_rng(rng)
        dtype = self.network.layers[0].W.value.dtype
        return rng.uniform(-1, 1, (n, self.n_latent)).astype(dtype)

    def forward(self, z):
        if z.ndim != 2 or len(z) == 0 or z.shape[1] != self.n_latent:
            raise ShapeError(
                f"z must have shape (batch, {self.n_latent}), the latent numbers this generator "
                f"was made for, got {z.shape}; draw(n) gives n of them"
            )
        return self.network.forward(z)

    def backward(self, dx):
        return self.network.backward(dx)


class Discriminator(Layer):
    """Base of the discriminators: (B, C, ...) with values in -1..1 -> logits (B,).

    Parameters
    ----------
    shape : of one example
    end : shape (channels, ...) of what the last convolution makes of it
    blocks : lists of layers, one for each convolution, first to last
    spectral : bound the dense layer by its spectral norm
    rng : seed or Generator for the dense layer's initial weights
    """

    def __init__(self, shape, end, blocks, spectral, rng):
        self.shape = shape
        dense = Linear(int(np.prod(end)), 1, rng=rng)
        if spectral:
            dense = SpectralNorm(dense, axis=1, rng=rng)
        layers = [layer for block in blocks for layer in block]
        self.network = Sequential(*layers, Reshape(int(np.prod(end))), dense)

    def forward(self, x):
        if x.ndim != 1 + len(self.shape) or len(x) == 0 or x.shape[1:] != self.shape:
            sizes = ", ".join(map(str, self.shape))
            raise ShapeError(f"x must have shape (batch, {sizes}), got {x.shape}")
        loudest = max(x.real.max(), -x.real.min())
        if not loudest <= 1:  # NaN fails too
            raise ShapeError(
                f"x must lie in -1..1, as all that the generator makes does, but reaches "
                f"{loudest:.4g}: so loud, it would be told from fakes by that alone. Divide sounds "
                f"by their peak; encode spectrograms"
            )
        return self.network.forward(x)[:, 0]

    def backward(self, dlogits):
        return self.network.backward(dlogits[:, None])

    def tangent(self):
        """Its derivative as a layer, for `nn.gradient_penalty`."""
        return tangent(self.network)


def _channels(width, n_layers):
    """Channels between the layers of a discriminator, w, 2w, 4w, ...; a generator's in reverse."""
    require_positive_integer("width", width)
    require_positive_integer("n_layers", n_layers)
    return [width * 2**i for i in range(n_layers)]


def _shortest(name, size, stride, n_layers):
    """What is left of a size that each layer divides by the stride."""
    require_positive_integer(name, size)
    if size % stride**n_layers:
        raise ConfigError(
            f"{name} must be a multiple of {stride**n_layers}: {n_layers} layers divide it by "
            f"{stride} each, got {size}"
        )
    return size // stride**n_layers


def _paddings(kernel_size, stride):
    """Padding for a convolution that divides a length by the stride; and what its transpose adds.

    floor((T + 2p - k) / s) + 1 = T / s needs 2p = k - s, or one more if that is odd.
    """
    if kernel_size < stride:
        raise ConfigError(
            f"kernel_size must be at least the stride {stride}, to leave no gaps, got {kernel_size}"
        )
    padding = (kernel_size - stride + 1) // 2
    return padding, 2 * padding - (kernel_size - stride)


def _start(convolution, n_terms, rng):
    """The convolution with weights that keep the variance, if n_terms of its inputs are summed."""
    W = convolution.W.value
    W[...] = kaiming_normal(W.shape, n_terms, rng, W.dtype)
    convolution.b.value[...] = 0
    return convolution


# Waveforms ---------------------------------------------------------------------------------------


class WaveGANGenerator(Generator):
    """Random numbers to waveforms: (B, n_latent) -> (B, C, N).

    Parameters
    ----------
    n_samples : N, a multiple of stride^n_layers
    n_latent : random numbers that a sound is made of
    width : channels before the last layer, and twice as many in each layer before
    n_layers : transposed convolutions
    kernel_size : taps
    stride : by how much each makes the signal longer
    n_channels : C
    sample_rate : of the sounds, Hz
    rng : seed or Generator for the initial weights
    """

    def __init__(
        self,
        n_samples=16384,
        n_latent=100,
        width=64,
        n_layers=5,
        kernel_size=25,
        stride=4,
        n_channels=1,
        sample_rate=16000,
        rng=None,
    ):
        self.settings = {"n_samples": n_samples, "n_latent": n_latent, "width": width}
        self.settings |= {"n_layers": n_layers, "kernel_size": kernel_size, "stride": stride}
        self.settings |= {"n_channels": n_channels, "sample_rate": sample_rate}
        for name, value in self.settings.items():
            require_positive_integer(name, value)
        self.sample_rate = sample_rate
        rng = np.random.default_rng(rng)
        channels = [*_channels(width, n_layers)[::-1], n_channels]
        padding, output_padding = _paddings(kernel_size, stride)
        convolutions = [
            ConvTranspose1d(n_in, n_out, kernel_size, stride, padding, output_padding, rng=rng)
            for n_in, n_out in zip(channels, channels[1:], strict=False)
        ]
        for layer in convolutions[:-1]:
            _start(layer, layer.n_in * kernel_size / stride, rng)
        start = channels[0], _shortest("n_samples", n_samples, stride, n_layers)
        super().__init__(n_latent, start, convolutions, rng)

    @classmethod
    def from_checkpoint(cls, checkpoint):
        """Build the untrained generator of a checkpoint, if its weights have the sizes it says."""
        dense, kernels = _shapes(checkpoint, 3)
        width, n_channels, kernel_size = kernels[-1]
        stride = checkpoint.settings.get("stride")
        n_samples = None
        if type(stride) is int and 0 < stride <= kernel_size:
            n_samples = dense[1] // max(1, kernels[0][0]) * stride ** len(kernels)
        sizes = {"n_samples": n_samples, "n_latent": dense[0], "width": width}
        sizes |= {"n_layers": len(kernels), "kernel_size": kernel_size, "n_channels": n_channels}
        return checkpoint.build(cls, sizes)


class WaveGANDiscriminator(Discriminator):
    """Waveforms to logits: (B, C, N) -> (B,).

    Parameters
    ----------
    n_samples : N, a multiple of stride^n_layers
    width : channels after the first layer, and twice as many in each layer after
    n_layers : convolutions
    kernel_size : taps
    stride : by how much each makes the signal shorter
    n_channels : C
    radius : of the phase shuffle after each layer but the last; 0 does without
    shared : shuffle all examples of a batch by the same shift, as the authors' code does
    spectral : bound every layer by its spectral norm, in the place of a gradient penalty
    rng : seed or Generator for the initial weights and the shuffle
    """

    def __init__(
        self,
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
        sizes = {"n_channels": n_channels, "kernel_size": kernel_size, "stride": stride}
        for name, value in sizes.items():
            require_positive_integer(name, value)
        rng = np.random.default_rng(rng)
        channels = [n_channels, *_channels(width, n_layers)]
        end = channels[-1], _shortest("n_samples", n_samples, stride, n_layers)
        padding, _ = _paddings(kernel_size, stride)
        blocks = []
        for n_in, n_out in zip(channels, channels[1:], strict=False):
            layer = Conv1d(n_in, n_out, kernel_size, stride, padding, rng=rng)
            _start(layer, n_in * kernel_size, rng)
            layer = SpectralNorm(layer, rng=rng) if spectral else layer
            shuffle = [PhaseShuffle(radius, shared, rng)] if radius and n_out < end[0] else []
            blocks.append([layer, LeakyReLU(0.2), *shuffle])
        super().__init__((n_channels, n_samples), end, blocks, spectral, rng)


# Spectrograms ------------------------------------------------------------------------------------


class SpecGANGenerator(Generator):
    """Random numbers to log-magnitude spectrograms: (B, n_latent) -> (B, 1, F, T), in -1..1.

    `scale` says what -1..1 mean, and turns them to sound; it is saved with the weights.

    Parameters
    ----------
    n_bins, n_frames : F and T, multiples of 2^n_layers; windows have 2 F samples
    n_latent : random numbers that a sound is made of
    width : channels before the last layer, and twice as many in each layer before
    n_layers : transposed convolutions of stride 2
    kernel_size : taps, along either axis
    hop_length : samples from frame to frame; None for F, half a window, as in the paper
    sample_rate : of the sounds, Hz
    rng : seed or Generator for the initial weights
    """

    def __init__(
        self,
        n_bins=128,
        n_frames=128,
        n_latent=100,
        width=64,
        n_layers=5,
        kernel_size=5,
        hop_length=None,
        sample_rate=16000,
        rng=None,
    ):
        hop_length = n_bins if hop_length is None else hop_length
        self.settings = {"n_bins": n_bins, "n_frames": n_frames, "n_latent": n_latent}
        self.settings |= {"width": width, "n_layers": n_layers, "kernel_size": kernel_size}
        self.settings |= {"hop_length": hop_length, "sample_rate": sample_rate}
        for name, value in self.settings.items():
            require_positive_integer(name, value)
        self.hop_length, self.sample_rate = hop_length, sample_rate
        rng = np.random.default_rng(rng)
        channels = [*_channels(width, n_layers)[::-1], 1]
        padding, output_padding = _paddings(kernel_size, 2)
        convolutions = [
            ConvTranspose2d(n_in, n_out, kernel_size, 2, padding, output_padding, rng=rng)
            for n_in, n_out in zip(channels, channels[1:], strict=False)
        ]
        for layer in convolutions[:-1]:
            _start(layer, layer.n_in * (kernel_size / 2) ** 2, rng)
        start = (
            channels[0],
            _shortest("n_bins", n_bins, 2, n_layers),
            _shortest("n_frames", n_frames, 2, n_layers),
        )
        super().__init__(n_latent, start, convolutions, rng)
        self.mean = Buffer(np.zeros(n_bins, np.float32))
        self.std = Buffer(np.ones(n_bins, np.float32))

    @property
    def scale(self):
        """How its spectrograms are meant: a `SpectrogramScale`."""
        return SpectrogramScale(self.mean.value, self.std.value, self.hop_length)

    @scale.setter
    def scale(self, scale):
        if scale.mean.shape != self.mean.value.shape or scale.hop_length != self.hop_length:
            raise ConfigError(
                f"scale must be of {self.mean.value.size} bins and hop_length {self.hop_length}, "
                f"got {scale.mean.size} and {scale.hop_length}"
            )
        self.mean.value[...], self.std.value[...] = scale.mean, scale.std

    @classmethod
    def from_checkpoint(cls, checkpoint):
        """Build the untrained generator of a checkpoint, if its weights have the sizes it says."""
        dense, kernels = _shapes(checkpoint, 4)
        n_bins = np.size(checkpoint.model.get("mean", ()))
        frames = dense[1] * 4 ** len(kernels) // max(1, kernels[0][0] * n_bins)
        sizes = {"n_bins": n_bins, "n_frames": frames, "n_latent": dense[0]}
        sizes |= {"width": kernels[-1][0], "n_layers": len(kernels), "kernel_size": kernels[-1][3]}
        return checkpoint.build(cls, sizes)


class SpecGANDiscriminator(Discriminator):
    """Spectrograms to logits: (B, 1, F, T) -> (B,).

    Parameters
    ----------
    n_bins, n_frames : F and T, multiples of 2^n_layers
    width : channels after the first layer, and twice as many in each layer after
    n_layers : convolutions of stride 2
    kernel_size : taps, along either axis
    spectral : bound every layer by its spectral norm, in the place of a gradient penalty
    rng : seed or Generator for the initial weights
    """

    def __init__(
        self,
        n_bins=128,
        n_frames=128,
        width=64,
        n_layers=5,
        kernel_size=5,
        spectral=False,
        rng=None,
    ):
        require_positive_integer("kernel_size", kernel_size)
        rng = np.random.default_rng(rng)
        channels = [1, *_channels(width, n_layers)]
        end = (
            channels[-1],
            _shortest("n_bins", n_bins, 2, n_layers),
            _shortest("n_frames", n_frames, 2, n_layers),
        )
        padding, _ = _paddings(kernel_size, 2)
        blocks = []
        for n_in, n_out in zip(channels, channels[1:], strict=False):
            layer = Conv2d(n_in, n_out, kernel_size, 2, padding, rng=rng)
            _start(layer, n_in * kernel_size**2, rng)
            layer = SpectralNorm(layer, rng=rng) if spectral else layer
            blocks.append([layer, LeakyReLU(0.2)])
        super().__init__((1, n_bins, n_frames), end, blocks, spectral, rng)


@dataclass(frozen=True)
class SpectrogramScale:
    """Log-magnitude spectrograms as pictures with values in -1..1, and back to sound.

        picture = (log(|X| + 1e-6) - mean) / (3 std)         cut to -1..1

    with a mean and a standard deviation for each bin, over the training sounds: high bins, which
    are faint, count as much as low ones. The bin at half the sampling rate is left out, so that the
    number of bins is a power of 2.

    Attributes
    ----------
    mean, std : (F,) of the logarithms of magnitudes; windows have 2 F samples
    hop_length : samples from frame to frame, at most F

    Examples
    --------
    >>> x = np.sin(np.arange(1024) / 3) * np.exp(-np.arange(1024) / 300)
    >>> scale = SpectrogramScale.fit(x[None], n_bins=64, hop_length=32)
    >>> pictures = scale.encode(x[None])
    >>> pictures.shape
    (1, 1, 64, 32)
    >>> scale.decode(pictures, rng=0).shape
    (1, 1024)
    """

    mean: np.ndarray
    std: np.ndarray
    hop_length: int

    @classmethod
    def fit(cls, x, n_bins=128, hop_length=None):
        """Measure mean and deviation of training sounds (..., N); hop_length None is n_bins."""
        require_positive_integer("n_bins", n_bins)
        hop_length = n_bins if hop_length is None else hop_length
        logs = _log_magnitudes(x, n_bins, hop_length)  # (..., F, T)
        logs = np.moveaxis(logs, -2, 0).reshape(n_bins, -1)  # (F, all frames)
        # A bin that never changes has nothing to standardise.
        return cls(logs.mean(axis=1), np.maximum(logs.std(axis=1), 1e-3), hop_length)

    def encode(self, x):
        """Sounds (B, N) -> pictures (B, 1, F, T), where T = N / hop_length."""
        x = require_signal("x", x)
        if x.ndim != 2 or x.shape[1] % self.hop_length:
            raise ShapeError(
                f"x must have shape (batch, samples), a multiple of hop_length {self.hop_length} "
                f"samples, got {x.shape}"
            )
        logs = _log_magnitudes(x, len(self.mean), self.hop_length)
        pictures = (logs - self.mean[:, None]) / (3 * self.std[:, None])
        return np.clip(pictures, -1, 1)[:, None].astype(x.dtype)

    def decode(self, pictures, n_iter=32, rng=None):
        """Pictures (B, 1, F, T) -> sounds (B, N), with phases by `dsp.griffinlim`."""
        if pictures.ndim != 4 or pictures.shape[1:3] != (1, len(self.mean)):
            raise ShapeError(
                f"pictures must have shape (batch, 1, {len(self.mean)}, frames), got "
                f"{pictures.shape}"
            )
        logs = pictures[:, 0] * (3 * self.std[:, None]) + self.mean[:, None]  # (B, F, T)
        S = np.maximum(np.exp(logs) - FAINT, 0).astype(pictures.dtype)
        S = np.pad(S, ((0, 0), (0, 1), (0, 1)))  # what `encode` left out: a bin, and a frame
        return dsp.griffinlim(S, n_iter=n_iter, hop_length=self.hop_length, rng=rng)


FAINT = 1e-6  # keeps the logarithm of silence finite


def _log_magnitudes(x, n_bins, hop_length):
    """(..., N) -> (..., F, T): without the highest bin, and the frame centred behind the end."""
    X = dsp.stft(x, n_fft=2 * n_bins, hop_length=hop_length)
    return np.log(np.abs(X[..., :-1, :-1]) + FAINT)


def _shapes(checkpoint, ndim):
    """Shapes of the dense layer's W, and of the convolutions' in order, in a saved generator."""
    shapes = {name: np.shape(W) for name, W in checkpoint.model.items() if name.endswith(".W")}
    kernels = [shape for shape in shapes.values() if len(shape) == ndim]
    return shapes.get("network.layers.0.W", (0, 0)), kernels or [(0,) * ndim]
