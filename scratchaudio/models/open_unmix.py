"""Open-Unmix: a recurrent network that predicts the magnitudes of one source of a song.

    |X|  ->  crop, normalise  ->  dense  ->  3 LSTM layers, both ways  ->  dense  ->  dense  ->  y
    (B, C, F, T)                 (B, T, H)         (B, T, H)             (B, T, H)   (B, C, F, T)

All frequencies of a frame at once become a code of H numbers; the LSTM reads these codes forward
and backward in time, so that it may know at every moment the whole verse; two dense layers turn its
answer, beside the code itself (a *skip*: the network need only learn what time adds), into one
number for each frequency. These numbers multiply the magnitudes of the mixture:

    h = tanh(norm(W1 (crop(|X|) + mean) scale))
    z = relu(norm(W2 [h, lstm(h)]))
    y = relu(scale_out norm(W3 z) + mean_out) |X|

That is not a mask of 0 to 1: where two sources cancel in the mixture, each is louder than both.

The network knows magnitudes only. The phase of the mixture and, with `n_iter` > 0, the multichannel
Wiener filter (`dsp.multichannel_wiener`) turn them into sound; the filter shares out what voice and
accompaniment claim both, and uses where each stands.

Channels are the song's middle and side, see `models.songs`; the published network hears left and
right.

Legend: B batch, C channels, F bins, F' bins that the network hears, T frames, H hidden units.

Reference: Stoter, Uhlich, Liutkus & Mitsufuji (2019), Open-Unmix: a reference implementation for
music source separation, Journal of Open Source Software 4(41).
"""

import numpy as np

from scratchaudio.errors import CallOrderError, ConfigError, ShapeError, require_positive_integer
from scratchaudio.models.songs import separate_by_magnitudes
from scratchaudio.nn import LSTM, BatchNorm, Bidirectional, Dropout, Layer, Linear, Parameter, relu

SMALL = {
    "n_hidden": 128,
    "n_fft": 2048,
    "hop_length": 512,
    "sample_rate": 22050,
    "bandwidth": 8000,
}


class OpenUnmix(Layer):
    """Magnitudes of a song to those of one source: (B, C, F, T) -> (B, C, F, T).

    Parameters
    ----------
    n_channels : C
    n_hidden : H, even
    n_layers : LSTM layers, each of H / 2 units in both directions, or H in one
    bidirectional : read both ways
    dropout : share dropped between LSTM layers in training
    n_fft, hop_length : of the STFT; F = n_fft / 2 + 1
    sample_rate : of the songs, Hz
    bandwidth : Hz; what is above is predicted, but not heard
    rng : seed or Generator, for the initial weights and the dropout

    Attributes
    ----------
    input_mean, input_scale : Parameters (F',), minus the mean and one over the standard deviation
        of each bin of the training songs; `normalise` sets them
    output_mean, output_scale : Parameters (F,), ones at first: the gain begins around 1
    """

    def __init__(
        self,
        n_channels=2,
        n_hidden=512,
        n_layers=3,
        bidirectional=True,
        dropout=0.4,
        n_fft=4096,
        hop_length=1024,
        sample_rate=44100,
        bandwidth=16000,
        rng=None,
    ):
        for name, value in (
            ("n_channels", n_channels),
            ("n_hidden", n_hidden),
            ("n_layers", n_layers),
            ("n_fft", n_fft),
            ("hop_length", hop_length),
            ("sample_rate", sample_rate),
        ):
            require_positive_integer(name, value)
        if n_fft % 2:
            raise ConfigError(f"n_fft must be even, got {n_fft}")
        if bidirectional and n_hidden % 2:
            raise ConfigError(f"n_hidden must be even, half of it for each way, got {n_hidden}")
        if not 0 < bandwidth <= sample_rate / 2:
            raise ConfigError(
                f"bandwidth must be above 0 and at most sample_rate / 2 = {sample_rate / 2:g} Hz, "
                f"got {bandwidth!r}"
            )
        rng = np.random.default_rng(rng)
        self.settings = {
            "n_channels": n_channels,
            "n_hidden": n_hidden,
            "n_layers": n_layers,
            "bidirectional": bidirectional,
            "dropout": dropout,
            "n_fft": n_fft,
            "hop_length": hop_length,
            "sample_rate": sample_rate,
            "bandwidth": bandwidth,
        }
        self.n_fft, self.hop_length, self.sample_rate = n_fft, hop_length, sample_rate
        self.n_channels = n_channels
        self.n_bins = n_fft // 2 + 1  # F
        self.n_heard = 1 + int(bandwidth * n_fft / sample_rate)  # F'
        H = n_hidden
        self.input_mean = Parameter(np.zeros(self.n_heard, np.float32))
        self.input_scale = Parameter(np.ones(self.n_heard, np.float32))
        self.dense1 = Linear(n_channels * self.n_heard, H, bias=False, rng=rng)
        self.norm1 = BatchNorm(H)
        self.recurrent, self.dropouts = [], []
        for layer in range(n_layers):
            if bidirectional:
                self.recurrent.append(Bidirectional(LSTM(H, H // 2, rng), LSTM(H, H // 2, rng)))
            else:
                self.recurrent.append(LSTM(H, H, rng))
            self.dropouts.append(Dropout(dropout if layer < n_layers - 1 else 0.0, rng))
        self.dense2 = Linear(2 * H, H, bias=False, rng=rng)
        self.norm2 = BatchNorm(H)
        self.dense3 = Linear(H, n_channels * self.n_bins, bias=False, rng=rng)
        self.norm3 = BatchNorm(n_channels * self.n_bins)
        self.output_scale = Parameter(np.ones(self.n_bins, np.float32))
        self.output_mean = Parameter(np.ones(self.n_bins, np.float32))

    def normalise(self, magnitudes):
        """Set input_mean and input_scale from magnitudes (..., F, T) of training songs."""
        shape = magnitudes.shape
        if len(shape) < 2 or shape[-2] != self.n_bins or 0 in shape:
            raise ShapeError(
                f"magnitudes must have shape (..., {self.n_bins}, frames), got {shape}"
            )
        heard = np.moveaxis(magnitudes, -2, 0)[: self.n_heard].reshape(self.n_heard, -1)
        if not np.isfinite(heard).all() or not np.ptp(heard, axis=1).any():
            raise ShapeError("magnitudes must be finite and vary, or they have no scale")
        deviation = heard.std(axis=1)
        self.input_mean.value[...] = -heard.mean(axis=1)
        self.input_scale.value[...] = 1 / np.maximum(deviation, 1e-4 * deviation.max())

    def forward(self, X, state=None):
        """`state`, as `start` returns it, is brought up to date: X goes on where it ended."""
        if X.ndim != 4 or X.shape[1:3] != (self.n_channels, self.n_bins) or 0 in X.shape:
            raise ShapeError(
                f"X must have shape (batch, {self.n_channels}, {self.n_bins}, frames), got "
                f"{X.shape}"
            )
        if state is not None and self.training:
            raise CallOrderError("a state is for evaluation: call eval() first")
        B, C, F, T = X.shape
        x = X[:, :, : self.n_heard].transpose(0, 3, 1, 2)  # (B, T, C, F')
        centred = x + self.input_mean.value
        x = (centred * self.input_scale.value).reshape(B * T, -1)
        h = np.tanh(self.norm1.forward(self.dense1.forward(x))).reshape(B, T, -1)  # (B, T, H)
        y = h
        for i, (lstm, dropout) in enumerate(zip(self.recurrent, self.dropouts, strict=True)):
            if state is None:
                y = lstm.forward(y)
            else:
                y, state[i] = lstm.forward(y, state[i])
            y = dropout.forward(y)
        code = np.concatenate([h, y], axis=-1).reshape(B * T, -1)  # (B T, 2H)
        z = relu(self.norm2.forward(self.dense2.forward(code)))  # (B T, H)
        w = self.norm3.forward(self.dense3.forward(z)).reshape(B, T, C, F)
        gain = relu(w * self.output_scale.value + self.output_mean.value)
        gain_by_bin = gain.transpose(0, 2, 3, 1)  # (B, C, F, T)
        self.save_for_backward(X, centred, h, z, w, gain)
        return gain_by_bin * X

    def backward(self, dy):  # (B, C, F, T) -> (B, C, F, T)
        X, centred, h, z, w, gain = self.pop_saved()
        B, T, C, F = w.shape
        dX = gain.transpose(0, 2, 3, 1) * dy  # X is used twice: as factor, and below as input
        dw = (dy * X).transpose(0, 3, 1, 2) * (gain > 0)  # (B, T, C, F)
        self.output_scale.grad += (dw * w).sum(axis=(0, 1, 2))
        self.output_mean.grad += dw.sum(axis=(0, 1, 2))
        dw = (dw * self.output_scale.value).reshape(B * T, C * F)
        dz = self.dense3.backward(self.norm3.backward(dw)) * (z > 0)
        dcode = self.dense2.backward(self.norm2.backward(dz)).reshape(B, T, -1)
        dh, dy = np.split(dcode, 2, axis=-1)  # concatenated -> split
        for lstm, dropout in zip(self.recurrent[::-1], self.dropouts[::-1], strict=True):
            dy = lstm.backward(dropout.backward(dy))
        dh = (dh + dy) * (1 - h * h)  # used twice -> add; then tanh
        dx = self.dense1.backward(self.norm1.backward(dh.reshape(B * T, -1)))
        dx = dx.reshape(B, T, C, -1)
        self.input_scale.grad += (dx * centred).sum(axis=(0, 1, 2))
        dx = dx * self.input_scale.value
        self.input_mean.grad += dx.sum(axis=(0, 1, 2))
        dX[:, :, : self.n_heard] += dx.transpose(0, 2, 3, 1)
        return dX

    def start(self, batch_size=1):
        """State of a song that is heard as it comes, for `forward` in evaluation."""
        if self.training or self.settings["bidirectional"]:
            raise CallOrderError(
                "start is for evaluation, and for bidirectional=False: who reads both ways must "
                "know the end"
            )
        return [lstm.initial_state(batch_size) for lstm in self.recurrent]

    # From sound to sound ---------------------------------------------------------------------

    def separate(self, x, sr, n_iter=1):
        """Take the vocals out of a song: (2, ...), see `models.songs`.

        `n_iter` rounds of the multichannel Wiener filter; 0 takes the song's phase as it is.
        """
        return separate_by_magnitudes(self, x, sr, n_iter)

    @classmethod
    def from_checkpoint(cls, checkpoint):
        """Build the untrained model of a checkpoint, if its weights have the sizes it states."""
        weights = checkpoint.model
        n_bins = np.size(weights.get("output_mean", []))
        layers = {name.split(".")[1] for name in weights if name.startswith("recurrent.")}
        sizes = {
            "n_channels": np.size(weights.get("norm3.gamma", [])) // max(1, n_bins),
            "n_hidden": np.size(weights.get("norm1.gamma", [])),
            "n_layers": len(layers),
            "n_fft": 2 * (n_bins - 1),
        }
        return checkpoint.build(cls, sizes)
