"""Voice activity detection: which frames of a recording hold speech.

    recording  ->  log-mel features  ->  LSTM layers  ->  one logit a frame
     (N,)            (T, D)               (T / K, H)        (T,)

A frame is 10 ms; frame t is centred at sample t * HOP_LENGTH, so that its time is t / 100 s, and it
counts as speech when that instant lies in a labelled segment. `segmentation.py` makes segments of
the probabilities.

Loudness and microphone differ between recordings and say nothing about speech. In log-mel features
both are a constant added to each band, so subtracting each band's mean over time removes them.
Reading both ways (`bidirectional=True`) is best where the recording is complete; a detector that
runs while one speaks knows only the past: it reads one way, subtracts a running mean, and its
`VadStream` gives the same probabilities chunk by chunk as the whole recording gives at once.

Legend: B batch, N samples, T frames, D features, H hidden units, K frames read in one step.
"""

import numpy as np

from scratchaudio import dsp
from scratchaudio.errors import (
    CallOrderError,
    ConfigError,
    ShapeError,
    require_positive_integer,
    require_signal,
)
from scratchaudio.models.segmentation import FRAME_RATE
from scratchaudio.nn import LSTM, Bidirectional, Layer, Linear, sigmoid

SAMPLE_RATE = 16000  # Hz
HOP_LENGTH = SAMPLE_RATE // FRAME_RATE  # samples between frames: 10 ms
WIN_LENGTH = 400  # samples a frame looks at: 25 ms
N_FFT = 512

# Long recordings run through the network in pieces, each with some context on both sides.
PIECE_FRAMES = 60 * FRAME_RATE
CONTEXT_FRAMES = 5 * FRAME_RATE


# Features ----------------------------------------------------------------------------------------


def log_mel_features(x, n_mels=40, center=True):
    """Log-mel energies of each 10 ms frame: (N,) at 16 kHz -> (T, n_mels), in nepers of power.

    The small constant under the logarithm is about the power of 16-bit rounding noise, below
    which differences mean nothing.
    """
    x = require_signal("x", x)
    if x.ndim != 1:
        raise ShapeError(f"x must be one channel of shape (samples,), got shape {x.shape}")
    if center:
        x = np.pad(x, N_FFT // 2)
    T = 1 + (len(x) - N_FFT) // HOP_LENGTH
    features = np.empty((T, n_mels), x.dtype)
    for start in range(0, T, PIECE_FRAMES):  # in pieces: the spectrum of an hour takes a gigabyte
        stop = min(start + PIECE_FRAMES, T)
        mel = dsp.melspectrogram(
            y=x[start * HOP_LENGTH : (stop - 1) * HOP_LENGTH + N_FFT],
            sr=SAMPLE_RATE,
            n_fft=N_FFT,
            hop_length=HOP_LENGTH,
            win_length=WIN_LENGTH,
            n_mels=n_mels,
            fmin=60.0,
            center=False,
        )
        features[start:stop] = np.log(mel.T + 1e-9)
    return features


def mfcc_features(x, n_mfcc=13, center=True):
    """MFCC with first and second deltas: (N,) at 16 kHz -> (T, 3 n_mfcc).

    The deltas look four frames ahead, so these features suit whole recordings, not streams.
    """
    log_mel = log_mel_features(x, 40, center)
    mfcc = log_mel @ dsp.dct_matrix(40, norm="ortho")[:n_mfcc].T.astype(
        log_mel.dtype
    )  # (T, n_mfcc)
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
    frames_per_step : K, frames that one step of the LSTM reads side by side and gives logits for:
        a sequence of T / K steps trains K times as fast, and reaches K times as far back
    rng : seed or Generator for the initial weights
    """

    def __init__(
        self,
        features="log_mel",
        n_hidden=64,
        n_layers=2,
        bidirectional=True,
        frames_per_step=2,
        rng=None,
    ):
        if features not in FEATURES:
            raise ConfigError(f"features must be one of {sorted(FEATURES)}, got {features!r}")
        require_positive_integer("n_layers", n_layers)
        require_positive_integer("frames_per_step", frames_per_step)
        rng = np.random.default_rng(rng)
        self.settings = {
            "features": features,
            "n_hidden": n_hidden,
            "n_layers": n_layers,
            "bidirectional": bidirectional,
            "frames_per_step": frames_per_step,
        }
        self.bidirectional = bidirectional
        self.frames_per_step = frames_per_step
        self.extract, self.n_features = FEATURES[features]
        width = self.n_features * frames_per_step
        self.recurrent = []
        for _ in range(n_layers):
            if bidirectional:
                layer = Bidirectional(LSTM(width, n_hidden, rng), LSTM(width, n_hidden, rng))
            else:
                layer = LSTM(width, n_hidden, rng)
            self.recurrent.append(layer)
            width = 2 * n_hidden if bidirectional else n_hidden
        self.output = Linear(width, frames_per_step, rng=rng)

    @classmethod
    def from_checkpoint(cls, checkpoint):
        """Build the untrained model of a checkpoint, if its weights have the sizes it states."""
        settings, weights = checkpoint.settings, checkpoint.model
        layers = {name.split(".")[1] for name in weights if name.startswith("recurrent.")}
        width, frames_per_step = np.shape(weights.get("output.W", np.zeros((0, 0))))
        directions = 2 if settings.get("bidirectional") else 1
        sizes = {
            "n_layers": len(layers),
            "n_hidden": width // directions,
            "frames_per_step": frames_per_step,
        }
        return checkpoint.build(cls, sizes)

    def initial_state(self, batch_size):
        """Zeros in the form `forward` takes as `state`: one LSTM state a layer."""
        return [layer.initial_state(batch_size) for layer in self.recurrent]

    def forward(self, x, state=None, lengths=None):  # (B, T, D) -> (B, T)
        if x.ndim != 3 or x.shape[2] != self.n_features or 0 in x.shape:
            raise ShapeError(
                f"x of VoiceActivityDetector must have shape (batch, frames, {self.n_features}) "
                f"with at least one of each, got {x.shape}"
            )
        (B, T, D), K = x.shape, self.frames_per_step
        if lengths is not None and np.max(lengths) > T:
            raise ShapeError(f"lengths must be at most {T}, the frames of x, got {lengths}")
        n_steps = -(-T // K)
        real = np.arange(n_steps * K) < (T if lengths is None else np.c_[lengths])
        h = np.zeros((B, n_steps * K, D), x.dtype)  # the last step may lack some frames: zeros
        np.copyto(h[:, :T], x, where=np.broadcast_to(real[..., :T, None], x.shape))
        h = h.reshape(B, n_steps, K * D)
        lengths = None if lengths is None else -(-np.asarray(lengths) // K)

        new_state = []
        for k, layer in enumerate(self.recurrent):
            if state is None:
                h = layer.forward(h, None, lengths)
            else:
                h, layer_state = layer.forward(h, state[k], lengths)
                new_state.append(layer_state)
        logits = self.output.forward(h).reshape(B, n_steps * K)[:, :T]
        self.save_for_backward(real, logits.shape, state is not None)
        return logits if state is None else (logits, new_state)

    def backward(self, dlogits):  # (B, T) -> (B, T, D)
        real, shape, had_state = self.pop_saved()
        if had_state:
            raise CallOrderError("train without a state: backward knows no gradient of the state")
        if dlogits.shape != shape:
            raise ShapeError(f"dlogits must have the logits' shape {shape}, got {dlogits.shape}")
        (B, T), K = shape, self.frames_per_step
        dh = np.zeros((B, real.shape[-1]), dlogits.dtype)
        dh[:, :T] = dlogits
        dh = self.output.backward(dh.reshape(B, -1, K))
        for layer in reversed(self.recurrent):
            dh = layer.backward(dh)
        dh = dh.reshape(B, -1, self.n_features) * real[..., None]
        return dh[:, :T]

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
        # Pieces and contexts of whole steps, so that steps fall on the same frames in each.
        piece = PIECE_FRAMES - PIECE_FRAMES % self.frames_per_step
        context = CONTEXT_FRAMES - CONTEXT_FRAMES % self.frames_per_step
        pieces, state = [], self.initial_state(1)
        for start in range(0, len(features), piece):
            stop = min(start + piece, len(features))
            if self.bidirectional:
                first = max(0, start - context)
                logits = self.forward(features[None, first : stop + context])
                pieces.append(logits[0, start - first : stop - first])
            else:
                logits, state = self.forward(features[None, start:stop], state)
                pieces.append(logits[0])
        return sigmoid(np.concatenate(pieces))


class VadStream:
    """A one-way detector that listens: samples in chunks of any size, probabilities out.

    Frame t waits for samples t * 160 - 256 .. t * 160 + 255, the FFT's, and for the other frames
    of its step, so with two a step its probability comes 16 to 26 ms after its centre. Fed in any
    chunks, the stream gives the probabilities of the whole recording.

    Parameters
    ----------
    model : VoiceActivityDetector with bidirectional=False and features="log_mel"

    Examples
    --------
    >>> model = VoiceActivityDetector(n_hidden=8, bidirectional=False, rng=0)
    >>> stream = VadStream(model)
    >>> first = stream.feed(np.zeros(1000, np.float32))
    >>> len(first), len(stream.finish())
    (4, 3)
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
        self.samples = np.zeros(N_FFT // 2, np.float32)  # from the start of the next frame on
        self.frames = np.zeros((0, model.n_features), np.float32)  # of the next step
        self.finished = False

    def feed(self, chunk):
        """Take (N,) samples at 16 kHz; return the probabilities of the steps now complete."""
        self._take(chunk)
        n = len(self.frames) - len(self.frames) % self.model.frames_per_step
        return self._probabilities(n)

    def finish(self):
        """End the recording; return the probabilities of its last frames."""
        self._take(np.zeros(N_FFT // 2, np.float32))
        self.finished = True
        return self._probabilities(len(self.frames))

    def _take(self, chunk):
        """Turn samples into frames, as far as they are complete."""
        if self.finished:
            raise ConfigError("this stream is finished; make a new VadStream")
        chunk = np.asarray(chunk)
        if chunk.ndim != 1:
            raise ShapeError(f"chunk must be samples of shape (N,), got shape {chunk.shape}")
        if chunk.size:
            require_signal("chunk", chunk)
        self.samples = np.concatenate([self.samples, chunk])
        n = 1 + (len(self.samples) - N_FFT) // HOP_LENGTH
        if n > 0:
            features = log_mel_features(self.samples[: (n - 1) * HOP_LENGTH + N_FFT], center=False)
            self.frames = np.concatenate([self.frames, self.normalize(features)])
            self.samples = self.samples[n * HOP_LENGTH :]

    def _probabilities(self, n):
        """Probabilities of the first n of the waiting frames."""
        if n == 0:
            return np.empty(0, np.float32)
        logits, self.state = self.model.forward(self.frames[None, :n], self.state)
        self.frames = self.frames[n:]
        return sigmoid(logits[0])
