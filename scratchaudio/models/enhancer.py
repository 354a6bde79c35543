"""Speech enhancement: a Transformer hears what is voice and what is not, and turns the rest down.

    recording -> STFT -> features -> Transformer encoder -> mask -> times STFT -> recording
     (C, N)     (T, F)   (T, 2F)          (T, D)           (T, F)                  (C, N)

The network never makes a sound. It gives a *mask*, a number from 0 to 1 for each time and each
frequency, by which the recording's own spectrum is multiplied; so it can take away but not invent,
and the phase stays that of the noisy recording. The `phase_sensitive` loss asks for the mask that
leaves the least error under that condition, not for the cleanest magnitude.

It begins where the classical methods end. Before any training its mask is that of the
decision-directed Wiener filter (`dsp.denoise`, on a coarser grid), which knows the noise by its
least power over some seconds: bin by bin, for noise of any colour, but only if it is steady. The
network adds to that mask what it takes from the four seconds around, all frequencies together:
this is a voice, that only stood out like one.

A mask is a function of time and frequency, made at 16 kHz but usable at any rate. `enhance` asks
it at the times and frequencies of the recording's own STFT; above 8 kHz, where it knows nothing,
it goes on with its mean over the 3 kHz below. All channels share one mask, so that every sound
stays where it was between the loudspeakers.

Legend: C channels, N samples, B batch, T frames, F bins, D d_model.
"""

import numpy as np

from scratchaudio import dsp
from scratchaudio.errors import ShapeError, require_positive_integer, require_signal
from scratchaudio.nn import Layer, Linear, Parameter, TransformerEncoder, sigmoid

SAMPLE_RATE = 16000  # Hz
N_FFT = 768  # 48 ms: long enough to tell the harmonics of a low voice apart
HOP_LENGTH = 256  # 16 ms
N_BINS = N_FFT // 2 + 1
WINDOW = 250  # frames that the network sees at once: 4 s
OVERLAP = 62  # frames that two windows share: 1 s


# Features and loss -------------------------------------------------------------------------------


def features(power):
    """What the network is told of a power spectrogram: (..., T, F) -> (..., T, 2F) float32.

    First the power relative to its mean over all times and frequencies, since loudness says nothing
    about what is speech: log10 of it, cut at -60 dB, over 3. Then the Wiener filter's a-priori SNR
    xi, from -20 dB on: ln(xi) over 4. For noisy speech both lie in about -2 ... 1, but where there
    is no noise at all xi is limited by the clip alone, and the second is 2.3.

    The filter's constants are those of `dsp.denoise`, made for a hop of 8 ms. With 16 ms its noise
    is 0.8 dB too high and its memory twice as long; what that costs, the network has learned to
    give back.
    """
    mean = power.mean(axis=(-2, -1), keepdims=True)
    power = power / np.maximum(mean, 1e-30)
    level = np.log10(power + 1e-6) / 3  # (..., T, F)
    bins_first = power.swapaxes(-1, -2)  # (..., F, T)
    noise = dsp.noise_power(bins_first, frame_rate=SAMPLE_RATE / HOP_LENGTH)
    gain = dsp.wiener_decision_directed(bins_first, noise)  # xi / (1 + xi)
    gain = np.clip(gain, 1e-4, 1 - 1e-4).swapaxes(-1, -2)
    log_xi = np.log(gain / (1 - gain)) / 4
    return np.concatenate([level, log_xi], axis=-1).astype(np.float32)


def phase_sensitive(mask, X, S, softening=1e-3):
    """Loss of a mask: the error that it leaves, relative to the mixture, in dB.

        error = sum |m X - S|^2 over times and frequencies of an example
        loss = mean over the batch of 10 log10( (error + softening E) / E ),    E = sum |X|^2

    which is, but for a constant, minus the signal-to-noise ratio of the result. The logarithm gives
    an example at 20 dB the same say as one at -5 dB; the softening ends the reward at 30 dB below
    the mixture, and keeps the loss finite for silence. With m real,

        dloss/dm = 10 / ln 10 * 2 Re( conj(X) (m X - S) ) / (error + softening E) / B

    Parameters
    ----------
    mask : (B, T, F) real
    X : (B, T, F) complex STFT of the mixture
    S : (B, T, F) complex STFT of the speech in it
    softening : share of the mixture's energy

    Returns
    -------
    loss : float, dB
    dmask : (B, T, F)

    References
    ----------
    Erdogan, Hershey, Watanabe & Le Roux (2015), Phase-sensitive and recognition-boosted speech
    separation using deep recurrent neural networks, ICASSP, eq. 6; softening: Wisdom et al. (2020),
    Unsupervised sound separation using mixture invariant training, NeurIPS, eq. 2.
    """
    if not mask.shape == X.shape == S.shape or mask.ndim != 3:
        raise ShapeError(
            f"mask, X and S must have one shape (batch, frames, bins), got mask {mask.shape}, "
            f"X {X.shape}, S {S.shape}"
        )
    E = np.square(abs(X)).sum(axis=(1, 2), keepdims=True) + 1e-20  # (B, 1, 1)
    error = mask * X - S
    left = np.square(abs(error)).sum(axis=(1, 2), keepdims=True) + softening * E
    loss = 10 * np.log10(left / E).mean()
    dmask = (X.conj() * error).real * (20 / np.log(10) / len(X) / left)
    return loss.item(), dmask.astype(mask.dtype)


# The network -------------------------------------------------------------------------------------


class SpeechEnhancer(Layer):
    """Transformer that gives a mask for noisy speech: features (B, T, 2F) -> mask (B, T, F).

        mask = sigmoid( slope ln(xi) + output(encoder(input(x))) )

    With slope = 1 and output = 0, as it begins, mask = xi / (1 + xi): the Wiener filter.

    Parameters
    ----------
    d_model : D, width of the Transformer
    n_heads : attention heads, a divisor of D
    n_layers : blocks of the encoder, pre-norm with rotary positions
    d_ff : width of the feed-forward layers
    dropout : share dropped in training
    rng : seed or Generator, for the initial weights and the dropout
    """

    def __init__(self, d_model=128, n_heads=4, n_layers=4, d_ff=512, dropout=0.0, rng=None):
        rng = np.random.default_rng(rng)
        self.settings = {
            "d_model": d_model,
            "n_heads": n_heads,
            "n_layers": n_layers,
            "d_ff": d_ff,
            "dropout": dropout,
        }
        self.input = Linear(2 * N_BINS, d_model, rng=rng)
        self.encoder = TransformerEncoder(
            d_model, n_heads, n_layers, d_ff, dropout, norm_first=True, rotary=True, rng=rng
        )
        self.output = Linear(d_model, N_BINS, rng=rng)
        self.output.W.value[...] = self.output.b.value[...] = 0
        self.slope = Parameter(np.ones(N_BINS, np.float32))

    @classmethod
    def from_checkpoint(cls, checkpoint):
        """Build the untrained model of a checkpoint, if its weights have the sizes it states."""
        weights = checkpoint.model
        layers = {name.split(".")[2] for name in weights if name.startswith("encoder.blocks.")}
        sizes = {
            "d_model": np.shape(weights.get("input.b", []))[-1],
            "d_ff": np.shape(weights.get("encoder.blocks.0.feed_forward.layers.0.b", []))[-1],
            "n_layers": len(layers),
        }
        return checkpoint.build(cls, sizes)

    def forward(self, x, weights=None):
        """`weights`, if it is a list, gets each block's attention weights (B, h, T, T) appended."""
        log_xi = 4 * x[..., N_BINS:]
        change = self.output.forward(self.encoder.forward(self.input.forward(x), weights=weights))
        mask = sigmoid(self.slope.value * log_xi + change)
        self.save_for_backward(log_xi, mask)
        return mask

    def backward(self, dmask):  # (B, T, F) -> (B, T, 2F)
        log_xi, mask = self.pop_saved()
        dlogits = dmask * mask * (1 - mask)
        self.slope.grad += (dlogits * log_xi).sum(axis=(0, 1))
        dx = self.input.backward(self.encoder.backward(self.output.backward(dlogits)))
        dx[..., N_BINS:] += 4 * self.slope.value * dlogits  # x is used twice
        return dx

    # From sound to sound ---------------------------------------------------------------------

    def mask(self, power):
        """Mask for the power spectrogram of a recording: (T, F) -> (T, F), from 0 to 1.

        The network is switched to evaluation. A recording over 4 s passes in windows of 4 s that
        overlap by at least 1 s; from one to the next, the mask is faded over.
        """
        if power.ndim != 2 or power.shape[1] != N_BINS or len(power) == 0:
            raise ShapeError(f"power must have shape (frames, {N_BINS}), got {power.shape}")
        self.eval()
        T = len(power)
        if T <= WINDOW:
            return self.forward(features(power)[None])[0]
        n_windows = 1 + -(-(T - WINDOW) // (WINDOW - OVERLAP))
        starts = np.linspace(0, T - WINDOW, n_windows).astype(int)
        fade = np.minimum(np.arange(1, WINDOW + 1), np.arange(WINDOW, 0, -1))  # a triangle
        fade = fade[:, None].astype(np.float32)
        mask, total = np.zeros((T, N_BINS), np.float32), np.zeros((T, 1), np.float32)
        for start in starts:
            window = slice(start, start + WINDOW)
            mask[window] += fade * self.forward(features(power[window])[None])[0]
            total[window] += fade
        return mask / total

    def enhance(self, x, sr):
        """Turn down what is not speech.

        Parameters
        ----------
        x : (N,) or (C, N) recording
        sr : its sampling rate, Hz

        Returns
        -------
        the cleaned recording, of the shape and dtype of `x`
        """
        x = require_signal("x", x)
        require_positive_integer("sr", sr)
        if x.ndim > 2:
            raise ShapeError(f"x must have shape (samples,) or (channels, samples), got {x.shape}")
        heard = x / (abs(x).max() or 1)  # squares of very loud or soft samples leave float32
        heard = dsp.resample(heard, sr, SAMPLE_RATE) if sr != SAMPLE_RATE else heard
        power = np.square(abs(dsp.stft(heard, n_fft=N_FFT, hop_length=HOP_LENGTH)))  # (..., F, T)
        mask = self.mask(power.reshape(-1, *power.shape[-2:]).mean(axis=0).T)  # (T, F)

        hop_length = round(sr * HOP_LENGTH / SAMPLE_RATE)
        n_fft = hop_length * N_FFT // HOP_LENGTH
        X = dsp.stft(x, n_fft=n_fft, hop_length=hop_length)  # (..., F', T')
        times = np.arange(X.shape[-1]) * (hop_length / sr * SAMPLE_RATE / HOP_LENGTH)  # in frames
        bins = np.arange(X.shape[-2]) * (sr / n_fft * N_FFT / SAMPLE_RATE)
        gain = at_points(mask, times, bins).T.astype(x.dtype)  # (F', T')
        return dsp.istft(gain * X, n_fft=n_fft, hop_length=hop_length, length=x.shape[-1]).astype(
            x.dtype
        )


def at_points(mask, times, bins):
    """Read a mask (T, F) between its points, linearly: at times (T',) and bins (F',) -> (T', F').

    Beyond its last frame the mask goes on with that frame, above its last bin with the mean of its
    bins from 5 to 8 kHz.
    """
    first = round(5000 * N_FFT / SAMPLE_RATE)
    above = mask[:, first:].mean(axis=1, keepdims=True)
    mask = np.concatenate([mask, above], axis=1)
    for axis, points in ((0, times), (1, bins)):
        last = mask.shape[axis] - 1
        points = np.minimum(points, last)
        low = np.floor(points).astype(int)
        part = (points - low).astype(mask.dtype)
        part = part[:, None] if axis == 0 else part
        high = np.minimum(low + 1, last)
        mask = mask.take(low, axis) * (1 - part) + mask.take(high, axis) * part
    return mask
