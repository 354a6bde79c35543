"""Voice activity detection: which frames of a recording hold speech.

    recording  ->  log-mel features  ->  LSTM layers  ->  one logit a frame  ->  segments
     (N,)            (T, D)               (T, H)            (T,)                 [(start, end)]

A frame is 10 ms; frame t is centred at sample t * HOP_LENGTH, so that its time is t / 100 s, and it
counts as speech when that instant lies in a labelled segment.

Loudness and microphone differ between recordings and say nothing about speech. In log-mel features
both are a constant added to each band, so subtracting each band's mean over time removes them.
Reading both ways (`bidirectional=True`) is best where the recording is complete; a detector that
runs while one speaks knows only the past: it reads one way, subtracts a running mean, and its
`VadStream` gives the same probabilities chunk by chunk as the whole recording gives at once.

Legend: B batch, N samples, T frames, D features, M mel bands, H hidden units.
"""

import math
from dataclasses import dataclass

import numpy as np

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer, require_signal
from scratchaudio.nn import LSTM, Bidirectional, Layer, Linear, sigmoid

SAMPLE_RATE = 16000  # Hz
HOP_LENGTH = 160  # samples between frames: 10 ms
WIN_LENGTH = 400  # samples a frame looks at: 25 ms
N_FFT = 512
FRAME_RATE = SAMPLE_RATE // HOP_LENGTH  # frames a second

# Long recordings run through the network in pieces, each with some context on both sides.
PIECE_FRAMES = 60 * FRAME_RATE
CONTEXT_FRAMES = 5 * FRAME_RATE


# Features ----------------------------------------------------------------------------------------


def log_mel_features(x, n_mels=40, center=True):
    """Log-mel energies of each 10 ms frame: (N,) at 16 kHz -> (T, n_mels), in nepers of power.

    The small constant under the logarithm is about the power of 16-bit rounding noise, below
    which differences mean nothing.
    """
    mel = dsp.melspectrogram(
        y=x,
        sr=SAMPLE_RATE,
        n_fft=N_FFT,
        hop_length=HOP_LENGTH,
        win_length=WIN_LENGTH,
        n_mels=n_mels,
        fmin=60.0,
        center=center,
    )
    return np.log(mel.T + 1e-9)


def mfcc_features(x, n_mfcc=13, center=True):
    """MFCC with first and second deltas: (N,) at 16 kHz -> (T, 3 n_mfcc).

    The deltas look four frames ahead, so these features suit whole recordings, not streams.
    """
    log_mel = log_mel_features(x, 40, center)
    mfcc = log_mel @ dsp.dct_matrix(40)[:n_mfcc].T.astype(log_mel.dtype)  # (T, n_mfcc)
    deltas = [dsp.delta(mfcc, order=order, axis=0, mode="nearest") for order in (1, 2)]
    return np.concatenate([mfcc, *deltas], axis=1)


FEATURES = {"log_mel": (log_mel_features, 40), "mfcc": (mfcc_features, 39)}


def remove_mean(features):
    """Subtract each feature's mean over the recording, (T, D) -> (T, D)."""
    return features - features.mean(axis=0)


class RunningMean:
    """Subtract each feature's running mean, which knows only the past.

        m_t = m_{t-1} + a_t (x_t - m_{t-1}),     a_t = max(1 / (t + 1), 1 / memory)

    the plain mean of everything so far for the first `memory` frames, then one that forgets with
    that time constant.
    """

    def __init__(self, memory=3 * FRAME_RATE):
        self.memory = memory
        self.count = 0
        self.mean = 0.0

    def __call__(self, features):  # (T, D) -> (T, D)
        centred = np.empty_like(features)
        for t, frame in enumerate(features):
            self.count += 1
            self.mean = self.mean + (frame - self.mean) / min(self.count, self.memory)
            centred[t] = frame - self.mean
        return centred


# The network -------------------------------------------------------------------------------------


class VoiceActivityDetector(Layer):
    """Recurrent network that gives each frame a speech logit: (B, T, D) -> (B, T).

    Parameters
    ----------
    features : "log_mel" (40 features) or "mfcc" (13 with two deltas: 39)
    n_hidden : H, units of each LSTM and direction
    n_layers : LSTM layers
    bidirectional : read both ways (whole recordings), or one way (streams)
    rng : seed or Generator for the initial weights
    """

    def __init__(self, features="log_mel", n_hidden=64, n_layers=2, bidirectional=True, rng=None):
        if features not in FEATURES:
            raise ConfigError(f"features must be one of {sorted(FEATURES)}, got {features!r}")
        require_positive_integer("n_layers", n_layers)
        rng = np.random.default_rng(rng)
        self.settings = {
            "features": features,
            "n_hidden": n_hidden,
            "n_layers": n_layers,
            "bidirectional": bidirectional,
        }
        self.bidirectional = bidirectional
        self.extract, width = FEATURES[features]
        self.recurrent = []
        for _ in range(n_layers):
            if bidirectional:
                layer = Bidirectional(LSTM(width, n_hidden, rng), LSTM(width, n_hidden, rng))
            else:
                layer = LSTM(width, n_hidden, rng)
            self.recurrent.append(layer)
            width = 2 * n_hidden if bidirectional else n_hidden
        self.output = Linear(width, 1, rng=rng)

    def initial_state(self, batch_size):
        """Zeros in the form `forward` takes as `state`: one LSTM state a layer."""
        return [layer.initial_state(batch_size) for layer in self.recurrent]

    def forward(self, x, state=None, lengths=None):  # (B, T, D) -> (B, T)
        new_state = []
        for k, layer in enumerate(self.recurrent):
            if state is None:
                x = layer.forward(x, None, lengths)
            else:
                x, layer_state = layer.forward(x, state[k], lengths)
                new_state.append(layer_state)
        logits = self.output.forward(x)[..., 0]
        return logits if state is None else (logits, new_state)

    def backward(self, dlogits):  # (B, T) -> (B, T, D)
        dx = self.output.backward(dlogits[..., None])
        for layer in reversed(self.recurrent):
            dx = layer.backward(dx)
        return dx

    def normalized_features(self, x):
        """The network's input for a recording: (N,) at 16 kHz -> (T, D)."""
        normalize = remove_mean if self.bidirectional else RunningMean()
        return normalize(self.extract(x))

    def probabilities(self, x):
        """Probability of speech every 10 ms: (N,) float32 at 16 kHz -> (1 + N // 160,).

        The network is switched to evaluation. Recordings over a minute pass in overlapping pieces.
        """
        x = require_signal("x", x)
        if x.ndim != 1:
            raise ShapeError(
                f"x must be one channel of shape (samples,) at {SAMPLE_RATE} Hz, got shape "
                f"{x.shape}; mix the channels down first: x.mean(axis=0)"
            )
        self.eval()
        features = self.normalized_features(x)
        pieces, state = [], self.initial_state(1)
        for start in range(0, len(features), PIECE_FRAMES):
            stop = min(start + PIECE_FRAMES, len(features))
            if self.bidirectional:
                first = max(0, start - CONTEXT_FRAMES)
                logits = self.forward(features[None, first : stop + CONTEXT_FRAMES])
                pieces.append(logits[0, start - first : stop - first])
            else:
                logits, state = self.forward(features[None, start:stop], state)
                pieces.append(logits[0])
        return sigmoid(np.concatenate(pieces))


class VadStream:
    """A one-way detector that listens: samples in chunks of any size, probabilities out.

    Frame t looks at samples t * 160 - 256 .. t * 160 + 255, so its probability comes 16 ms after
    its centre. Fed in any chunks, the stream gives the probabilities of the whole recording.

    Examples
    --------
    >>> model = VoiceActivityDetector(n_hidden=8, bidirectional=False, rng=0)
    >>> stream = VadStream(model)
    >>> first = stream.feed(np.zeros(1000, np.float32))
    >>> len(first), len(stream.finish())
    (5, 2)
    """

    def __init__(self, model):
        if model.bidirectional or model.extract is not log_mel_features:
            raise ConfigError(
                "a stream needs a detector with bidirectional=False and features='log_mel': the "
                "others look into the future"
            )
        self.model = model.eval()
        self.state = model.initial_state(1)
        self.normalize = RunningMean()
        self.buffer = np.zeros(N_FFT // 2, np.float32)  # from the start of the next frame on
        self.finished = False

    def feed(self, chunk):
        """Take (N,) samples at 16 kHz; return the probabilities of the frames now complete."""
        if self.finished:
            raise ConfigError("this stream is finished; make a new VadStream")
        chunk = np.asarray(chunk)
        if chunk.ndim != 1 or not np.issubdtype(chunk.dtype, np.floating):
            raise ShapeError(
                f"chunk must be floating-point samples of shape (N,), got {chunk.dtype} of shape "
                f"{chunk.shape}"
            )
        self.buffer = np.concatenate([self.buffer, chunk])
        n_frames = 1 + (len(self.buffer) - N_FFT) // HOP_LENGTH
        if n_frames < 1:
            return np.empty(0, np.float32)
        taken = (n_frames - 1) * HOP_LENGTH + N_FFT
        features = log_mel_features(self.buffer[:taken], center=False)
        self.buffer = self.buffer[n_frames * HOP_LENGTH :]
        logits, self.state = self.model.forward(self.normalize(features)[None], self.state)
        return sigmoid(logits[0])

    def finish(self):
        """End the recording; return the probabilities of its last frames."""
        last = self.feed(np.zeros(N_FFT // 2, np.float32))
        self.finished = True
        return last


# From probabilities to segments, and from segments to labels --------------------------------------


@dataclass(frozen=True)
class SegmentSettings:
    """How frame probabilities become segments; all durations in seconds.

    onset : speech starts where the probability reaches this ...
    offset : ... and ends where it falls below this; the gap between the two (hysteresis) keeps a
        probability that hovers around one threshold from chopping a word into pieces
    min_silence : shorter gaps are filled: the closure of a "p" is not the end of a sentence
    min_speech : shorter segments are dropped: a click is not a word
    pad : each segment grows by this much at both ends, so that soft beginnings are kept
    """

    onset: float = 0.5
    offset: float = 0.35
    min_silence: float = 0.15
    min_speech: float = 0.1
    pad: float = 0.0

    def __post_init__(self):
        if not 0 <= self.offset <= self.onset <= 1:
            raise ConfigError(
                f"thresholds must satisfy 0 <= offset <= onset <= 1, got offset={self.offset}, "
                f"onset={self.onset}"
            )
        for name in ("min_silence", "min_speech", "pad"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be at least 0 s, got {getattr(self, name)}")


def decide(probabilities, settings=None):
    """Frame decisions (T,) bool: hysteresis, then gaps filled, short ones dropped, then padded."""
    settings = settings or SegmentSettings()
    active = hysteresis(np.asarray(probabilities), settings.onset, settings.offset)
    for start, stop in runs(~active):
        inside = start > 0 and stop < len(active)
        if inside and stop - start < settings.min_silence * FRAME_RATE:
            active[start:stop] = True
    for start, stop in runs(active):
        if stop - start < settings.min_speech * FRAME_RATE:
            active[start:stop] = False
    pad = round(settings.pad * FRAME_RATE)
    for start, stop in runs(active):
        active[max(0, start - pad) : stop + pad] = True
    return active


def hysteresis(probabilities, onset, offset):
    """Frame decisions (T,) bool: on from `onset` upwards, until the value falls below `offset`.

    A frame between the two thresholds keeps the decision of the last frame outside them.
    """
    decided = (probabilities >= onset) | (probabilities < offset)
    last = np.maximum.accumulate(np.where(decided, np.arange(len(probabilities)), -1))
    return np.where(last >= 0, probabilities[last] >= onset, False)


def runs(active):
    """(start, stop) of each run of True in a boolean (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def frames_to_segments(active):
    """Frame decisions (T,) -> [(start, end)] in seconds; a frame stands for +-5 ms around it."""
    half = 0.5 / FRAME_RATE
    return [
        (max(0.0, start / FRAME_RATE - half), (stop - 1) / FRAME_RATE + half)
        for start, stop in runs(active)
    ]


def segments_to_frames(segments, n_frames):
    """[(start, end)] in seconds -> (n_frames,) bool: True where a frame's centre lies inside."""
    times = np.arange(n_frames) / FRAME_RATE
    active = np.zeros(n_frames, bool)
    for start, end in segments:
        if not 0 <= start <= end:
            raise ShapeError(f"a segment must have 0 <= start <= end, got ({start}, {end})")
        if end > n_frames / FRAME_RATE + 1e-9:
            raise ShapeError(
                f"the segment ({start}, {end}) ends behind the recording's end at "
                f"{(n_frames - 1) / FRAME_RATE:.2f} s; are these the labels of another file?"
            )
        active |= (times >= start - 1e-9) & (times < end - 1e-9)
    return active


def keep_segments(x, sr, segments, fade=0.01):
    """Silence everything outside the segments: (..., N) -> (..., N), with fades against clicks.

    The fades of `fade` seconds lie outside the segments; a gap too short for two of them is kept.
    `x - keep_segments(x, ...)` is the complement.
    """
    times, gains = [-math.inf], [0.0]
    for start, end in segments:
        if start - fade < times[-1]:  # no room to fade out and in again
            del times[-2:], gains[-2:]
        else:
            times += [start - fade, start]
            gains += [0.0, 1.0]
        times += [end, end + fade]
        gains += [1.0, 0.0]
    gain = np.interp(np.arange(x.shape[-1]) / sr, times[1:] or [0.0], gains[1:] or [0.0])
    smooth = 0.5 - 0.5 * np.cos(np.pi * gain)  # raised cosine
    return x * smooth.astype(x.dtype)
