"""U-Net: a convolutional network that paints the mask of a voice over a spectrogram.

    |X|  ->  down, down, ...  ->  ..., up, up  ->  mask  ->  times |X|
             each half as high     each twice as high
             and wide, with        and wide, beside what
             more channels         went down at that size

A spectrogram is looked at as a picture. Each convolution on the way *down* has stride 2: its pixels
see twice as much of the picture at half the resolution, until one pixel at the bottom knows seconds
of the song over all frequencies: here is a verse, there a drum alone. On the way *up* transposed
convolutions bring back the resolution. Where exactly a harmonic lies was lost at the bottom, so
what stood at each size on the way down is laid beside what comes up: the *skips* that give the
network its shape and name.

    d_i = leaky_relu(norm(conv(d_{i-1})))                 d_0 = log(1 + |X|)
    u_i = relu(norm(transposed(concat[u_{i+1}, d_i])))    at the bottom transposed(d_L) alone
    mask = sigmoid(transposed(concat[u_1, d_1]))          y = mask |X|

The logarithm brings loud and soft nearer to each other; the published network takes magnitudes
scaled to 0 ... 1. Channels are the song's middle and side, see `models.songs`; the published
network hears one.

Legend: B batch, C channels of the song, F bins that the network hears, T frames, L levels.

Reference: Jansson, Humphrey, Montecchio, Bittner, Kumar & Weyde (2017), Singing voice separation
with deep U-Net convolutional networks, ISMIR, section 3.
"""

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer
from scratchaudio.models.songs import separate_by_magnitudes
from scratchaudio.nn import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Layer,
    LeakyReLU,
    ReLU,
    Sequential,
    sigmoid,
)

KERNEL = 5
SMALL = {
    "n_channels": 2,
    "widths": (12, 24, 48, 72, 96),
    "n_fft": 2048,
    "hop_length": 512,
    "n_bins": 512,
    "sample_rate": 22050,
}


class UNet(Layer):
    """Magnitudes of a song to those of its voice: (B, C, F, T) -> (B, C, F, T).

    T may be any number of frames: the picture is continued by zeros until it can be halved L times.

    Parameters
    ----------
    n_channels : C
    widths : channels of each level on the way down
    dropout : share dropped in training on the way up, in the three lowest levels but the last
    n_fft, hop_length : of the STFT
    n_bins : F, the lowest bins, a multiple of 2^L; what is above is left to the accompaniment
    sample_rate : of the songs, Hz
    rng : seed or Generator, for the initial weights and the dropout
    """

    def __init__(
        self,
        n_channels=1,
        widths=(16, 32, 64, 128, 256, 512),
        dropout=0.5,
        n_fft=1024,
        hop_length=768,
        n_bins=512,
        sample_rate=8192,
        rng=None,
    ):
        for name, value in (
            ("n_channels", n_channels),
            ("n_fft", n_fft),
            ("hop_length", hop_length),
            ("n_bins", n_bins),
            ("sample_rate", sample_rate),
            *((f"widths[{i}]", width) for i, width in enumerate(widths)),
        ):
            require_positive_integer(name, value)
        if not widths or n_bins % 2 ** len(widths) or n_bins > n_fft // 2 + 1:
            raise ConfigError(
                f"n_bins must be a multiple of 2^{len(widths)}, to be halved in each of the levels "
                f"of widths, and at most n_fft / 2 + 1 = {n_fft // 2 + 1}, got {n_bins}"
            )
        rng = np.random.default_rng(rng)
        self.settings = {
            "n_channels": n_channels,
            "widths": list(widths),
            "dropout": dropout,
            "n_fft": n_fft,
            "hop_length": hop_length,
            "n_bins": n_bins,
            "sample_rate": sample_rate,
        }
        self.n_channels, self.n_bins = n_channels, n_bins
        self.n_fft, self.hop_length, self.sample_rate = n_fft, hop_length, sample_rate
        sizes = [n_channels, *widths]
        self.downs = [
            Sequential(
                Conv2d(n_in, n_out, KERNEL, stride=2, padding=KERNEL // 2, bias=False, rng=rng),
                BatchNorm(n_out),
                LeakyReLU(0.2),
            )
            for n_in, n_out in zip(sizes, sizes[1:], strict=False)
        ]
        self.ups = []  # from the bottom to the top
        for level in range(len(widths), 0, -1):
            n_in = sizes[level] * (1 if level == len(widths) else 2)
            up = _upwards(n_in, sizes[level - 1], bias=level == 1, rng=rng)
            if level == 1:  # the mask's logits
                self.ups.append(up)
                continue
            p = dropout if level > len(widths) - 3 else 0.0
            self.ups.append(Sequential(up, BatchNorm(sizes[level - 1]), ReLU(), Dropout(p, rng)))

    @property
    def receptive_field(self):
        """Frames, and bins, of the spectrogram that one entry of the mask can depend on, at most.

        Level i counts in steps of 2^i. On the way down the 5 taps of a convolution add 2 steps of
        the level above it on either side. On the way up an entry n of level i is made of those
        entries m of the level below, with n - 2 <= 2 m <= n + 2: again 2 steps of level i.
        """
        L = len(self.downs)
        reach = 2 * (KERNEL // 2) * sum(2**i for i in range(L))  # to either side: up, then down
        return 2 * reach + 1

    def forward(self, X):
        if X.ndim != 4 or X.shape[1:3] != (self.n_channels, self.n_bins) or 0 in X.shape:
            raise ShapeError(
                f"X must have shape (batch, {self.n_channels}, {self.n_bins}, frames), got "
                f"{X.shape}"
            )
        T, step = X.shape[3], 2 ** len(self.downs)
        x = np.pad(np.log1p(X), ((0, 0), (0, 0), (0, 0), (0, -T % step)))
        skips = []
        for down in self.downs:
            x = down.forward(x)
            skips.append(x)
        x = self.ups[0].forward(skips.pop())
        for up in self.ups[1:]:
            x = up.forward(np.concatenate([x, skips.pop()], axis=1))
        mask = sigmoid(x[..., :T])
        self.save_for_backward(X, mask)
        return mask * X

    def backward(self, dy):  # (B, C, F, T) -> (B, C, F, T)
        X, mask = self.pop_saved()
        T, step = X.shape[3], 2 ** len(self.downs)
        dlogits = dy * X * mask * (1 - mask)
        dx = np.pad(dlogits, ((0, 0), (0, 0), (0, 0), (0, -T % step)))
        dskips = []
        for up in self.ups[:0:-1]:
            dx, dskip = np.split(up.backward(dx), 2, axis=1)  # concatenated -> split
            dskips.append(dskip)
        dx = self.ups[0].backward(dx)
        for down in self.downs[:0:-1]:
            dx = down.backward(dx) + dskips.pop()  # used twice -> add
        dx = self.downs[0].backward(dx)[..., :T]
        return dy * mask + dx / (1 + X)  # X is used twice: as factor and as input

    # From sound to sound ---------------------------------------------------------------------

    def separate(self, x, sr):
        """Take the vocals out of a song: (2, ...), see `models.songs`."""
        return separate_by_magnitudes(self, x, sr)

    @classmethod
    def from_checkpoint(cls, checkpoint):
        """Build the untrained model of a checkpoint, if its weights have the sizes it states."""
        weights = checkpoint.model
        n_levels = len({name.split(".")[1] for name in weights if name.startswith("downs.")})
        convolutions = [weights.get(f"downs.{i}.layers.0.W", []) for i in range(n_levels)]
        sizes = {
            "widths": [len(W) for W in convolutions],
            "n_channels": np.shape(convolutions[0])[1] if convolutions else 0,
        }
        return checkpoint.build(cls, sizes)


def _upwards(n_in, n_out, bias, rng):
    """Make a transposed convolution of stride 2: (B, C, F, T) -> (B, C', 2 F, 2 T)."""
    return ConvTranspose2d(
        n_in, n_out, KERNEL, stride=2, padding=KERNEL // 2, output_padding=1, bias=bias, rng=rng
    )
