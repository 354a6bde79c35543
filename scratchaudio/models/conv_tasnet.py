"""Conv-TasNet: separation without a Fourier transform.

    x  ->  encoder  ->  w  ->  separator  ->  masks m_s  ->  m_s w  ->  decoder  ->  s
    (B, C, N)        (B, N', T)            (B, S, N', T)                         (B, S, C, N)

The STFT is a choice: sines as basis, windows of some length, phases that nobody predicts. Here the
basis is learned. The *encoder* is a convolution of stride L / 2 with N' filters of L samples, in
the place of the STFT; the *decoder*, a transposed convolution, in the place of its inverse; both
are short, 2 ms, so that there is little delay, and nothing has a phase. Between them the
*separator* predicts a mask for each source.

The separator is a *temporal convolutional network*: 1 x 1 convolutions that mix channels, and
between them a depthwise convolution that mixes time, each channel for itself, over P frames that
lie 2^i apart. X such blocks see 2^X times as far as one, and R stacks of them R times that:

    y = norm(prelu(W1 x))                  B -> H channels
    z = norm(prelu(depthwise_2^i(y)))      H -> H
    x <- x + W2 z                          the residual path, to the next block
    total <- total + W3 z                  the skip path, to the masks

    m = sigmoid(W prelu(total))            S masks of N' channels

It trains by what one hears, the SI-SDR of the waveforms (`nn.si_sdr_loss`).

With `causal`, convolutions reach to the past only and the normalisation is cumulative; then the
network runs while one listens: `start`, `step`.

Legend (the paper's): N filters of the encoder (N' above, where N is samples), L their length, B
channels of the bottleneck and the residual path, H of the blocks, Sc of the skip path, P kernel of
the blocks, X blocks in a stack, R stacks; here also C channels of the song, S sources, T frames.

Reference: Luo & Mesgarani (2019), Conv-TasNet: surpassing ideal time-frequency magnitude masking
for speech separation, IEEE/ACM TASLP 27(8), section II; sizes of table II.
"""

import numpy as np

from scratchaudio.errors import CallOrderError, ConfigError, ShapeError, require_positive_integer
from scratchaudio.models.songs import separate_by_network
from scratchaudio.nn import (
    Conv1d,
    ConvTranspose1d,
    CumulativeLayerNorm,
    GlobalLayerNorm,
    Layer,
    PReLU,
    sigmoid,
)

SMALL = {
    "N": 192,
    "L": 64,
    "B": 64,
    "H": 128,
    "Sc": 64,
    "X": 7,
    "R": 2,
    "n_channels": 2,
    "n_sources": 1,
    "sample_rate": 16000,
}


class ConvTasNet(Layer):
    """Waveforms of a mixture to those of its sources: (B, C, N) -> (B, S, C, N).

    Parameters
    ----------
    N, L, B, H, Sc, P, X, R : sizes, see above; L even, P odd
    n_channels : C
    n_sources : S
    causal : look at the past only
    sample_rate : of the songs, Hz
    rng : seed or Generator for the initial weights
    """

    def __init__(
        self,
        N=512,
        L=16,
        B=128,
        H=512,
        Sc=128,
        P=3,
        X=8,
        R=3,
        n_channels=1,
        n_sources=2,
        causal=False,
        sample_rate=8000,
        rng=None,
    ):
        sizes = {"N": N, "L": L, "B": B, "H": H, "Sc": Sc, "P": P, "X": X, "R": R}
        sizes |= {"n_channels": n_channels, "n_sources": n_sources, "sample_rate": sample_rate}
        for name, value in sizes.items():
            require_positive_integer(name, value)
        if L % 2:
            raise ConfigError(f"L must be even, for a stride of L / 2, got {L}")
        if P % 2 == 0 and not causal:
            raise ConfigError(f"P must be odd, to reach as far back as ahead, got {P}")
        rng = np.random.default_rng(rng)
        self.settings = sizes | {"causal": causal}
        self.stride, self.sample_rate, self.causal = L // 2, sample_rate, causal
        self.n_channels, self.n_sources, self.N = n_channels, n_sources, N
        self.encoder = Conv1d(n_channels, N, L, stride=L // 2, bias=False, rng=rng)
        self.norm = _norm(N, causal)
        self.bottleneck = Conv1d(N, B, 1, rng=rng)
        self.blocks = [Block(B, H, Sc, P, 2**i, causal, rng) for _ in range(R) for i in range(X)]
        self.prelu = PReLU()
        self.masks = Conv1d(Sc, n_sources * N, 1, rng=rng)
        self.decoder = ConvTranspose1d(N, n_channels, L, stride=L // 2, bias=False, rng=rng)

    @property
    def receptive_field(self):
        """Frames of the encoder that one frame of the masks sees: 1 + R (P - 1) (2^X - 1)."""
        return 1 + sum(block.reach for block in self.blocks)

    def forward(self, x):
        if x.ndim != 3 or x.shape[1] != self.n_channels or 0 in x.shape:
            raise ShapeError(f"x must be (batch, {self.n_channels}, samples), got {x.shape}")
        n_samples = x.shape[2]
        x = np.pad(x, ((0, 0), (0, 0), self._margins(n_samples)))
        w = self.encoder.forward(x)  # (B, N, T)
        y = self.bottleneck.forward(self.norm.forward(w))
        total = 0
        for block in self.blocks:
            y, skip = block.forward(y)
            total = total + skip
        m = sigmoid(self.masks.forward(self.prelu.forward(total)))
        m = m.reshape(len(x), self.n_sources, self.N, -1)  # (B, S, N, T)
        self.save_for_backward(w, m, n_samples)
        masked = (m * w[:, None]).reshape(-1, self.N, w.shape[2])  # (B S, N, T)
        s = self.decoder.forward(masked)[..., self.stride : self.stride + n_samples]
        return s.reshape(len(x), self.n_sources, self.n_channels, n_samples)

    def backward(self, ds):  # (B, S, C, N) -> (B, C, N)
        w, m, n_samples = self.pop_saved()
        B, S, N, T = m.shape
        margins = self._margins(n_samples)
        ds = np.pad(ds.reshape(B * S, self.n_channels, n_samples), ((0, 0), (0, 0), margins))
        dmasked = self.decoder.backward(ds).reshape(m.shape)
        dw = (dmasked * m).sum(axis=1)  # w is used by every source, and below by the separator
        dlogits = (dmasked * w[:, None] * m * (1 - m)).reshape(B, S * N, T)
        dtotal = self.prelu.backward(self.masks.backward(dlogits))
        dy = np.zeros((B, *self.bottleneck.b.value.shape, T), ds.dtype)
        for block in self.blocks[::-1]:
            dy = block.backward(dy, dtotal)  # added -> every block's skip gets the same gradient
        dw = dw + self.norm.backward(self.bottleneck.backward(dy))
        dx = self.encoder.backward(dw)
        return dx[..., margins[0] : margins[0] + n_samples]

    def _margins(self, n_samples):
        """Zeros before and behind, so that every sample lies in two windows: (before, behind)."""
        return self.stride, self.stride + -n_samples % self.stride

    # While one listens -----------------------------------------------------------------------

    def start(self, batch_size=1):
        """State of a song that is heard as it comes, for `step`."""
        if self.training or not self.causal:
            raise CallOrderError("start is for evaluation, and for a network made with causal=True")
        dtype = self.encoder.W.value.dtype
        overlap = np.zeros((batch_size, self.n_channels, self.stride), dtype)
        return {
            "heard": overlap,
            "norm": self.norm.start(batch_size),
            "blocks": [block.start(batch_size) for block in self.blocks],
            "unfinished": np.repeat(overlap, self.n_sources, axis=0),
        }

    def step(self, x, state):
        """Separate the next samples: (B, C, n), n a multiple of L / 2 -> (B, S, C, n).

        Each sample lies in two windows, and comes out when the second is known: L / 2 samples
        later than it went in. `state` is brought up to date. As many zeros at the end bring out
        the last samples.
        """
        if x.ndim != 3 or x.shape[1] != self.n_channels or x.shape[2] % self.stride:
            raise ShapeError(
                f"x must be (batch, {self.n_channels}, a multiple of {self.stride} samples), got "
                f"{x.shape}"
            )
        n = x.shape[2]
        x = np.concatenate([state["heard"], x], axis=2)
        state["heard"] = x[..., n:]
        w = self.encoder.forward(x)  # (B, N, n / stride)
        y = self.bottleneck.forward(self.norm.step(w, state["norm"]))
        total = 0
        for block, block_state in zip(self.blocks, state["blocks"], strict=True):
            y, skip = block.step(y, block_state)
            total = total + skip
        m = sigmoid(self.masks.forward(self.prelu.forward(total)))
        masked = m.reshape(len(x), self.n_sources, self.N, -1) * w[:, None]
        s = self.decoder.forward(masked.reshape(-1, self.N, w.shape[2]))
        s[..., : self.stride] += state["unfinished"]
        state["unfinished"] = s[..., n:]
        return s[..., :n].reshape(len(x), self.n_sources, self.n_channels, n)

    # From sound to sound ---------------------------------------------------------------------

    def separate(self, x, sr):
        """Take the vocals, the first source, out of a song: (2, ...), see `models.songs`."""

        def voice_of(heard):
            return self.eval().forward(heard[None])[0, 0]  # (2, N)

        return separate_by_network(self, x, sr, voice_of)

    @classmethod
    def from_checkpoint(cls, checkpoint):
        """Build the untrained model of a checkpoint, if its weights have the sizes it states."""
        shape = {name: np.shape(W) for name, W in checkpoint.model.items()}
        N, n_channels, L = shape.get("encoder.W", (0, 0, 0))
        H, _, P = shape.get("blocks.0.depthwise.W", (0, 0, 0))
        n_blocks = len({name.split(".")[1] for name in shape if name.startswith("blocks.")})
        sizes = {"N": N, "n_channels": n_channels, "L": L, "H": H, "P": P}
        sizes["B"] = shape.get("bottleneck.b", (0,))[0]
        sizes["Sc"] = shape.get("blocks.0.skip.b", (0,))[0]
        sizes["n_sources"] = shape.get("masks.b", (0,))[0] // max(1, N)
        X = checkpoint.settings.get("X")
        sizes["R"] = n_blocks // X if type(X) is int and X > 0 else None
        return checkpoint.build(cls, sizes)


class Block(Layer):
    """One block of the separator: (B, B', T) -> residual path (B, B', T), skip path (B, Sc, T).

    Parameters
    ----------
    B, H, Sc, P : sizes, see above
    dilation : frames between the taps of the depthwise convolution
    causal : look at the past only
    rng : seed or Generator for the initial weights
    """

    def __init__(self, B, H, Sc, P, dilation, causal=False, rng=None):
        rng = np.random.default_rng(rng)
        self.reach = (P - 1) * dilation  # frames
        padding = 0 if causal else self.reach // 2
        self.expand = Conv1d(B, H, 1, rng=rng)
        self.prelu1, self.norm1 = PReLU(), _norm(H, causal)
        self.depthwise = Conv1d(
            H, H, P, padding=padding, dilation=dilation, groups=H, causal=causal, rng=rng
        )
        self.prelu2, self.norm2 = PReLU(), _norm(H, causal)
        self.residual = Conv1d(H, B, 1, rng=rng)
        self.skip = Conv1d(H, Sc, 1, rng=rng)

    def forward(self, x):
        y = self.norm1.forward(self.prelu1.forward(self.expand.forward(x)))
        z = self.norm2.forward(self.prelu2.forward(self.depthwise.forward(y)))
        return x + self.residual.forward(z), self.skip.forward(z)

    def start(self, batch_size):
        """State for `step`: what the normalisations and the depthwise convolution have heard."""
        past = np.zeros((batch_size, len(self.depthwise.W.value), self.reach))
        return {
            "norm1": self.norm1.start(batch_size),
            "norm2": self.norm2.start(batch_size),
            "past": past.astype(self.depthwise.W.value.dtype),
        }

    def step(self, x, state):
        """The next frames of a causal network, as `forward`."""
        y = self.norm1.step(self.prelu1.forward(self.expand.forward(x)), state["norm1"])
        y = np.concatenate([state["past"], y], axis=2)
        state["past"] = y[..., y.shape[2] - self.reach :]
        y = self.depthwise.forward(y)[..., self.reach :]
        z = self.norm2.step(self.prelu2.forward(y), state["norm2"])
        return x + self.residual.forward(z), self.skip.forward(z)

    def backward(self, dx, dskip):  # -> (B, B', T)
        dz = self.residual.backward(dx) + self.skip.backward(dskip)  # used twice -> add
        dy = self.depthwise.backward(self.prelu2.backward(self.norm2.backward(dz)))
        return dx + self.expand.backward(self.prelu1.backward(self.norm1.backward(dy)))


def _norm(n_channels, causal):
    return CumulativeLayerNorm(n_channels) if causal else GlobalLayerNorm(n_channels)
