"""SEGAN: a generator that turns noisy speech into clean speech, and a judge of such pairs.

Most enhancers, as `models.enhancer`, turn parts of a spectrogram down. This one writes a new
waveform, sample by sample: it can, in principle, repair the phase and bring back what the noise
had covered; and it can, in practice, add sounds of its own.

    x  ->  encoder  ->  c, z  ->  decoder  ->  y  ->  out
    noisy (B, 1, N)     code beside noise      speech (B, 1, N)

The *encoder* is a row of convolutions with a stride, each of which makes the signal s times shorter
and most have more channels, until a step at the bottom stands for s^L samples. The *decoder* is
its mirror of transposed convolutions. Random numbers z come in beside the code, so that one noisy
recording has many possible answers. Where a wave's peaks were is lost at the bottom; the *skips*
lay what each convolution had heard beside what comes up at the same rate:

    h_i = conv_i(d_(i-1))            d_i = prelu(h_i)                       d_0 = x
    u_L = concat[d_L, z]             u_i = concat[prelu(up_(i+1)(u_(i+1))), h_i]
    y = tanh(up_1(u_1))

Two teachers. The mean absolute error draws y to the clean waveform s. Alone it has a weakness:
where the noise leaves several answers, it asks for one between them, and between waveforms that
differ in phase lies silence. So fine structure gets lost and speech sounds muffled. The second
teacher, a *discriminator* D, is shown pairs, and asks: could this be the clean speech of that
recording? In the least squares game (`nn.gan_losses`) with the pairs as channels,

    D:  mean (D(s, x) - 1)^2 + mean D(y, x)^2
    G:  mean (D(y, x) - 1)^2 + lambda mean |y - s|              lambda = 100 in the paper

D sees the noisy recording too: otherwise any clean sentence would do.

Speech falls by 6 dB an octave, and nearly all the error of a waveform would be that of its bass.
Both players therefore hear the first difference x[n] - 0.95 x[n - 1] (`dsp.preemphasis`), and what
G makes is summed up again (`dsp.deemphasis`): in bass and treble alike a mistake now has a price.
The sum has its own: a mistake at 100 Hz comes out 16 dB louder than one at 1 kHz. That asks for a
long training; with 0.6, as in `SMALL_GENERATOR`, it is 2 dB.

Receptive field. Each convolution, on the way down or up, adds p = (k - 1) / 2 of its own steps to
either side; level i counts in steps of s^i samples. So sample n of y depends on the samples from
n - r to n + r of x at most, r = 2 p (1 + s + s^2 + ... + s^(L - 1)).

What differs from the paper: D's virtual batch normalisation, which sends a fixed batch along with
each other one, is left out; with `spectral` D has spectral normalisation in its place.

Legend: B batch, N samples, L layers of the encoder, s stride, k kernel_size, c code.

Reference: Pascual, Bonafonte & Serra (2017), SEGAN: speech enhancement generative adversarial
network, Interspeech, sections 2 to 4, eq. 5; skips before the PReLU as in the authors' code.
"""

import numpy as np

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer, require_signal
from scratchaudio.models.gan import Discriminator, _shortest, _start
from scratchaudio.nn import Conv1d, ConvTranspose1d, Layer, LeakyReLU, PReLU, SpectralNorm

WIDTHS = (16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 1024)  # the paper's
# Trains in minutes: what both players share, and the generator.
SMALL = {"widths": (16, 24, 32, 48, 48), "kernel_size": 11, "stride": 4}
SMALL_GENERATOR = SMALL | {"n_latent": 8, "emphasis": 0.6}
LEVEL = 0.9  # the peak of what the generator hears, after the emphasis
WINDOW = 2**16  # samples that are enhanced at once


def pair(candidate, noisy):
    """What the discriminator judges: (B, 1, N) twice -> (B, 2, N), beside each other."""
    return np.concatenate([candidate, noisy], axis=1)


class SEGANGenerator(Layer):
    """Noisy speech to clean, both emphasised: x (B, 1, N), z (B, n_latent, N / s^L) -> (B, 1, N).

    Backward goes the way back, and adds where forward had used a value twice: h_i gets a gradient
    from below, through its PReLU, and one from the decoder, which splits where it had concatenated.

    Parameters
    ----------
    widths : channels after each of the L convolutions of the encoder
    n_latent : channels of the random numbers z
    kernel_size : k, odd
    stride : s
    emphasis : weight of the sample before, from 0 (none) to below 1, in `enhance`
    sample_rate : of the recordings, Hz
    rng : seed or Generator for the initial weights
    """

    def __init__(
        self,
        widths=WIDTHS,
        n_latent=1024,
        kernel_size=31,
        stride=2,
        emphasis=0.95,
        sample_rate=16000,
        rng=None,
    ):
        _require_sizes(widths, kernel_size, stride)
        require_positive_integer("n_latent", n_latent)
        require_positive_integer("sample_rate", sample_rate)
        if not 0 <= emphasis < 1:
            raise ConfigError(f"emphasis must lie in 0..1 (1 excluded), got {emphasis}")
        self.settings = {"widths": list(widths), "n_latent": n_latent, "kernel_size": kernel_size}
        self.settings |= {"stride": stride, "emphasis": emphasis, "sample_rate": sample_rate}
        self.n_latent, self.emphasis, self.sample_rate = n_latent, emphasis, sample_rate
        self.step = stride ** len(widths)  # samples that a step of the code stands for
        rng = np.random.default_rng(rng)
        padding, sizes = kernel_size // 2, [1, *widths]
        self.downs, self.down_prelus, self.ups, self.up_prelus = [], [], [], []
        for n_in, n_out in zip(sizes, widths, strict=False):
            down = Conv1d(n_in, n_out, kernel_size, stride, padding, rng=rng)
            self.downs.append(_start(down, n_in * kernel_size, rng))
            self.down_prelus.append(PReLU(n_out))
        for level in range(len(widths), 0, -1):
            beside = n_latent if level == len(widths) else sizes[level]
            n_in, n_out = sizes[level] + beside, sizes[level - 1]
            up = ConvTranspose1d(n_in, n_out, kernel_size, stride, padding, stride - 1, rng=rng)
            self.ups.append(_start(up, n_in * kernel_size / stride, rng))
            if level > 1:
                self.up_prelus.append(PReLU(n_out))
        # Begin near silence: at first u is mostly z, and tanh would have to be unlearned.
        self.ups[-1].W.value *= 0.1

    @classmethod
    def from_checkpoint(cls, checkpoint):
        """Build the untrained generator of a checkpoint, if its weights have the sizes it says."""
        shapes = {name: np.shape(W) for name, W in checkpoint.model.items()}
        kernels = [shape for name, shape in shapes.items() if name.startswith("downs.")]
        kernels = [shape for shape in kernels if len(shape) == 3] or [(0, 0, 0)]
        bottom = shapes.get("ups.0.W", (0, 0, 0))[0]
        sizes = {"widths": [shape[0] for shape in kernels], "kernel_size": kernels[0][2]}
        sizes["n_latent"] = bottom - kernels[-1][0]
        return checkpoint.build(cls, sizes)

    @property
    def reach(self):
        """Samples before and after its own that a sample of y depends on, at most: r."""
        strides = [down.taps.stride for down in self.downs]
        steps = [int(np.prod(strides[:i])) for i in range(len(strides))]
        return 2 * self.downs[0].taps.left * sum(steps)

    def draw(self, n, n_samples, rng=None):
        """Random numbers z for n recordings of n_samples, from N(0, 1): (n, n_latent, steps)."""
        require_positive_integer("n", n)
        require_positive_integer("n_samples", n_samples)
        rng = np.random.default_rng(rng)
        z = rng.standard_normal((n, self.n_latent, -(-n_samples // self.step)))
        return z.astype(self.downs[0].W.value.dtype)

    def forward(self, x, z):
        if x.ndim != 3 or x.shape[1] != 1 or 0 in x.shape or x.shape[2] % self.step:
            raise ShapeError(
                f"x must have shape (batch, 1, samples), a multiple of {self.step} samples, got "
                f"{x.shape}"
            )
        shape = len(x), self.n_latent, x.shape[2] // self.step
        if z.shape != shape:
            raise ShapeError(
                f"z must have shape {shape} for an x of {x.shape}, got {z.shape}; "
                f"draw({len(x)}, {x.shape[2]}) gives it"
            )
        skips = []
        for down, prelu in zip(self.downs, self.down_prelus, strict=True):
            x = down.forward(x)
            skips.append(x)
            x = prelu.forward(x)
        skips.pop()  # the code is no skip
        x = np.concatenate([x, z], axis=1)
        for up, prelu in zip(self.ups[:-1], self.up_prelus, strict=True):
            x = np.concatenate([prelu.forward(up.forward(x)), skips.pop()], axis=1)
        y = np.tanh(self.ups[-1].forward(x))
        self.save_for_backward(y)
        return y

    def backward(self, dy):  # (B, 1, N) -> dx (B, 1, N), dz (B, n_latent, N / s^L)
        (y,) = self.pop_saved()
        dx, dskips = self.ups[-1].backward(dy * (1 - y * y)), []
        for up, prelu in zip(self.ups[-2::-1], self.up_prelus[::-1], strict=True):
            dx, dskip = np.split(dx, [up.n_out], axis=1)  # concatenated -> split
            dskips.append(dskip)
            dx = up.backward(prelu.backward(dx))
        dx, dz = np.split(dx, [self.downs[-1].n_out], axis=1)
        dx = self.downs[-1].backward(self.down_prelus[-1].backward(dx))
        for down, prelu in zip(self.downs[-2::-1], self.down_prelus[-2::-1], strict=True):
            dx = down.backward(prelu.backward(dx) + dskips.pop())  # used twice -> add
        return dx, dz

    # From sound to sound ---------------------------------------------------------------------

    def enhance(self, x, sr, rng=0):
        """Make clean speech of a noisy recording.

        Each channel is heard for itself; all at one gain, and with the same z. Nothing is made
        above half the generator's sampling rate. The generator is switched to evaluation.

        Parameters
        ----------
        x : (N,) or (C, N) recording
        sr : its sampling rate, Hz
        rng : seed or Generator for z

        Returns
        -------
        speech, of the shape and dtype of `x`
        """
        x = require_signal("x", x)
        require_positive_integer("sr", sr)
        if x.ndim > 2:
            raise ShapeError(f"x must have shape (samples,) or (channels, samples), got {x.shape}")
        peak = abs(x).max()
        if peak == 0:
            return x.copy()  # made louder, silence would be an endless gain
        heard = (np.atleast_2d(x) / peak).astype(np.float64)
        heard = dsp.resample(heard, sr, self.sample_rate) if sr != self.sample_rate else heard
        heard = dsp.preemphasis(heard, coef=self.emphasis, zi=0)
        gain = LEVEL / (abs(heard).max() or 1)
        y = self._in_windows(gain * heard, rng) / gain
        y = dsp.deemphasis(y, coef=self.emphasis, zi=0)
        if sr != self.sample_rate:
            y = dsp.resample(y, self.sample_rate, sr)[:, : x.shape[-1]]
        return (y.astype(x.dtype) * peak).reshape(x.shape)

    def _in_windows(self, x, rng):
        """(C, N) -> (C, N), window by window: each hears its reach beyond it, so no seam shows."""
        self.eval()
        dtype = self.downs[0].W.value.dtype
        n_samples, step = x.shape[1], self.step
        z = self.draw(1, n_samples, rng).repeat(len(x), axis=0)
        x = np.pad(x, ((0, 0), (0, -n_samples % step)))[:, None].astype(dtype)  # (C, 1, N)
        y = np.empty_like(x)
        window, beyond = -(-WINDOW // step) * step, -(-self.reach // step) * step
        for start in range(0, x.shape[2], window):
            stop = min(start + window, x.shape[2])
            first, last = max(0, start - beyond), min(stop + beyond, x.shape[2])
            made = self.forward(x[..., first:last], z[..., first // step : last // step])
            y[..., start:stop] = made[..., start - first : stop - first]
        return y[:, 0, :n_samples].astype(np.float64)


class SEGANDiscriminator(Discriminator):
    """Pairs to logits: candidate and noisy recording, emphasised, (B, 2, N) -> (B,).

    The encoder's convolutions with leaky ReLUs, then one channel for all, and a dense layer.

    Parameters
    ----------
    n_samples : N, a multiple of stride^L
    widths : channels after each of the L convolutions
    kernel_size : k, odd
    stride : s
    spectral : bound every layer by its spectral norm
    rng : seed or Generator for the initial weights
    """

    def __init__(
        self, n_samples=16384, widths=WIDTHS, kernel_size=31, stride=2, spectral=False, rng=None
    ):
        _require_sizes(widths, kernel_size, stride)
        end = 1, _shortest("n_samples", n_samples, stride, len(widths))
        rng = np.random.default_rng(rng)
        layers = [
            _start(Conv1d(n_in, n_out, kernel_size, stride, kernel_size // 2, rng=rng),
                   n_in * kernel_size, rng)
            for n_in, n_out in zip([2, *widths], widths, strict=False)
        ]  # fmt: skip
        layers.append(Conv1d(widths[-1], 1, 1, rng=rng))
        if spectral:
            layers = [SpectralNorm(layer, rng=rng) for layer in layers]
        blocks = [[layer, LeakyReLU(0.3)] for layer in layers[:-1]]
        super().__init__((2, n_samples), end, [*blocks, layers[-1:]], spectral, rng)


def _require_sizes(widths, kernel_size, stride):
    """Raise unless the convolutions divide any length by the stride, and leave no gaps."""
    if len(widths) == 0:
        raise ConfigError("widths must hold at least one number of channels, got none")
    for i, width in enumerate(widths):
        require_positive_integer(f"widths[{i}]", width)
    require_positive_integer("kernel_size", kernel_size)
    require_positive_integer("stride", stride)
    if kernel_size % 2 == 0 or kernel_size < stride:
        raise ConfigError(
            f"kernel_size must be odd, and at least the stride {stride} to leave no gaps, got "
            f"{kernel_size}"
        )
