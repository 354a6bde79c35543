"""What all separators of songs share: which arrays are songs, middle and sides, and two stems.

A separator is an object with

    separate(x, sr) -> (2, ...)        vocals and accompaniment, each of the shape and dtype of x

for a song x (N,), (1, N) or (2, N). The accompaniment is what the vocals leave: the stems sum to
the song.

The networks do not hear left and right but the *middle* and the *side*,

    m = (l + r) / sqrt(2)        s = (l - r) / sqrt(2)

which is a rotation: it keeps energies, and turns back by the same formulas. A singer stands in the
middle, so that the side holds the band without the voice. A song of one channel has an empty side,
and needs no other network.

Nor do they hear how loud the song is: it is brought to the level of the songs they learned from,
and the voice back to where it was. A song at another gain has the same stems at this gain.
"""

import math

import numpy as np

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer, require_signal

LEVEL = 0.12  # RMS of a song that networks hear; that of the songs to learn from, on average
SOFTEST = 1e-10  # RMS of a song that is still brought to it
WIENER_BLOCK = 300  # frames that the Wiener filter takes at once, at least


def require_song(x, sr):
    """Return x, or raise unless it is a song of one or two channels at a sampling rate."""
    x = require_signal("x", x)
    require_positive_integer("sr", sr)
    if x.ndim > 2 or len(np.atleast_2d(x)) > 2:
        raise ShapeError(
            f"x must be a song of one or two channels, (N,), (1, N) or (2, N), got shape {x.shape}"
        )
    return x


def middle_and_side(x):
    """Left and right to middle and side, or back: (2, ...) -> (2, ...).

    Examples
    --------
    >>> middle_and_side(middle_and_side(np.array([3.0, 5.0]))).round(6)
    array([3., 5.])
    """
    return np.stack([x[0] + x[1], x[0] - x[1]]) * math.sqrt(0.5)


def as_middle_and_side(x):
    """Middle and side of a song, (N,), (1, N) or (2, N) -> (2, N); of one channel: itself, and 0.

    `from_middle_and_side` goes back.
    """
    x = np.atleast_2d(x)
    return middle_and_side(x) if len(x) == 2 else np.concatenate([x, np.zeros_like(x)])


def from_middle_and_side(y, shape):
    """What a song of this shape is in left and right: (2, N) -> (N,), (1, N) or (2, N)."""
    return middle_and_side(y) if shape[:-1] == (2,) else y[0].reshape(shape)


def stems(x, vocals):
    """Vocals, and what is left of the song x without them: (2, ...) in the dtype of x."""
    vocals = vocals.reshape(x.shape).astype(x.dtype)
    return np.stack([vocals, x - vocals])


def stems_from_stft(x, Y, n_fft, hop_length):
    """The same, from the STFT Y (C, F, T) of the vocals."""
    return stems(x, dsp.istft(Y, n_fft=n_fft, hop_length=hop_length, length=x.shape[-1]))


def separate_by_network(model, x, sr, voice_of):
    """Take the vocals out of a song with a network: stems (2, ...).

    The song is brought to the network's sampling rate; what that one cannot hold stays with the
    accompaniment.

    Parameters
    ----------
    model : Layer with sample_rate and n_channels, which must be 2
    x : (N,), (1, N) or (2, N) song
    sr : its sampling rate, Hz
    voice_of : function (middle and side of the song (2, N'), float32) -> those of the voice
    """
    x = require_song(x, sr)
    if model.n_channels != 2:
        raise ConfigError(
            f"a network that separates songs must have n_channels=2, middle and side, this one has "
            f"{model.n_channels}"
        )
    heard = dsp.resample(x, sr, model.sample_rate) if sr != model.sample_rate else x
    heard = as_middle_and_side(heard.astype(np.float32))
    rms = math.sqrt(np.square(heard, dtype=np.float64).mean())
    gain = LEVEL / max(rms, SOFTEST)
    vocals = voice_of(heard * np.float32(gain)) / np.float32(gain)
    if sr != model.sample_rate:
        vocals = dsp.resample(vocals, model.sample_rate, sr)[..., : x.shape[-1]]
    return stems(x, from_middle_and_side(vocals, x.shape))


def separate_by_magnitudes(model, x, sr, n_iter=0):
    """The same with a network that knows magnitudes; they get the phase of the song.

    Parameters
    ----------
    model : as above, with n_fft and hop_length; its forward maps magnitudes of the `n_bins` lowest
        bins of middle and side, (1, 2, F, T), to those of the voice
    x, sr : the song
    n_iter : rounds of `dsp.multichannel_wiener` with two sources, the voice and what it leaves
    """

    def voice_of(heard):
        N = heard.shape[-1]
        # Whole hops: the last samples, too, lie between the middles of two windows, not at the
        # very end of one, where istft divides by next to nothing.
        heard = np.pad(heard, ((0, 0), (0, -N % model.hop_length)))
        X = dsp.stft(heard, n_fft=model.n_fft, hop_length=model.hop_length)  # (2, F, T)
        Y = np.zeros_like(X)
        known = X[:, : model.n_bins]
        Y[:, : model.n_bins] = dsp.with_phase(model.eval().forward(np.abs(known)[None])[0], known)
        if n_iter:
            n_blocks = max(1, X.shape[-1] // WIENER_BLOCK)
            blocks = zip(*(np.array_split(Z, n_blocks, axis=-1) for Z in (X, Y)), strict=True)
            both = [(mix, np.stack([voice, mix - voice])) for mix, voice in blocks]
            Y = np.concatenate([dsp.multichannel_wiener(*b, n_iter)[0] for b in both], axis=-1)
        return dsp.istft(Y, n_fft=model.n_fft, hop_length=model.hop_length, length=N)

    return separate_by_network(model, x, sr, voice_of)
