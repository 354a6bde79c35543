"""Two Transformers that clean a magnitude spectrogram, frame by frame: the smallest that work.

Both read the magnitudes of noisy speech, one step of the sequence a frame, and give those of the
voice; with the noisy phase and the inverse STFT these become sound again (`dsp.with_phase`).

    SpectrogramTransformer   noisy -> projection -> encoder -> projection -> head

    SpectrogramSeq2Seq       noisy -> projection -> encoder -> memory
                                                                  |
                             clean frames so far -> projection -> decoder -> projection -> head

The head decides what the last numbers z mean:

    mapping   y = z                      the network must paint every magnitude from nothing
    mask      y = sigmoid(z) x           it only says how much of each noisy magnitude to keep

A mask is the easier task: where the noise is weak, 1 is already right. In the second network the
decoder writes the voice as a language model writes text, each frame after having seen those
before. In training these are the true ones, moved on by one frame (*teacher forcing*), so that all
frames train at once; in use they are its own, and its errors come back to it (*exposure bias*).

Legend: B batch, T frames, F bins of the STFT, D d_model.
"""

import numpy as np

from scratchaudio.errors import ShapeError, require_positive_integer
from scratchaudio.nn import (
    Layer,
    Linear,
    Transformer,
    TransformerEncoder,
    sigmoid,
    sinusoidal_positions,
)


class SpectrogramTransformer(Layer):
    """Transformer encoder between two projections: noisy (B, T, F) -> clean (B, T, F) magnitudes.

    Without positions it treats a spectrogram as a set of frames: shuffle them, and the same frames
    come out shuffled.

    Parameters
    ----------
    n_bins : F
    d_model : D, width of the encoder
    n_heads : attention heads, a divisor of D
    n_layers : blocks of the encoder (post-norm, ReLU)
    d_ff : width of the feed-forward layers
    dropout : share dropped in training
    mask : head: mask instead of mapping
    positions : add sinusoidal positions to the projected frames
    rng : seed or Generator, for the initial weights and the dropout
    """

    def __init__(
        self,
        n_bins,
        d_model=256,
        n_heads=4,
        n_layers=2,
        d_ff=2048,
        dropout=0.1,
        mask=False,
        positions=False,
        rng=None,
    ):
        _require_sizes(n_bins, d_model, d_ff)
        rng = np.random.default_rng(rng)
        self.mask, self.positions = mask, positions
        self.input = Linear(n_bins, d_model, rng=rng)
        self.encoder = TransformerEncoder(d_model, n_heads, n_layers, d_ff, dropout, rng=rng)
        self.output = Linear(d_model, n_bins, rng=rng)

    def forward(self, x, weights=None):
        """`weights`, if it is a list, gets each block's attention weights (B, h, T, T) appended."""
        _require_magnitudes("x", x, self.input)
        h = self.input.forward(x)  # (B, T, D)
        if self.positions:
            h = h + sinusoidal_positions(*h.shape[1:], h.dtype)
        z = self.output.forward(self.encoder.forward(h, weights=weights))  # (B, T, F)
        keep = sigmoid(z) if self.mask else None
        self.save_for_backward(x, keep)
        return keep * x if self.mask else z

    def backward(self, dy):  # (B, T, F) -> (B, T, F)
        x, keep = self.pop_saved()
        dz = dy * x * keep * (1 - keep) if self.mask else dy
        dx = self.input.backward(self.encoder.backward(self.output.backward(dz)))
        return dx + dy * keep if self.mask else dx  # with a mask x is used twice


class SpectrogramSeq2Seq(Layer):
    """Encoder-decoder Transformer: noisy (B, T, F), clean (B, T, F) -> clean (B, T, F) magnitudes.

    `forward(noisy, clean)` is for training: frame t of its result depends on all noisy frames and
    on the clean ones before t. `generate(noisy)` is for use.

    Parameters
    ----------
    As for `SpectrogramTransformer`; n_layers blocks on each side, positions always
    """

    def __init__(
        self,
        n_bins,
        d_model=256,
        n_heads=4,
        n_layers=2,
        d_ff=2048,
        dropout=0.1,
        mask=False,
        rng=None,
    ):
        _require_sizes(n_bins, d_model, d_ff)
        rng = np.random.default_rng(rng)
        self.mask = mask
        self.input = Linear(n_bins, d_model, rng=rng)
        self.previous = Linear(n_bins, d_model, rng=rng)
        self.transformer = Transformer(d_model, n_heads, n_layers, d_ff, dropout, rng=rng)
        self.output = Linear(d_model, n_bins, rng=rng)

    def forward(self, noisy, clean, weights=None):
        """`weights`, if it is a list, gets each block's cross-attention (B, h, T, T) appended."""
        _require_magnitudes("noisy", noisy, self.input)
        if clean.shape != noisy.shape:
            raise ShapeError(
                f"noisy and clean must have one shape, got {noisy.shape} and {clean.shape}"
            )
        before = np.concatenate([np.zeros_like(clean[:, :1]), clean[:, :-1]], axis=1)  # (B, T, F)
        source, target = self.input.forward(noisy), self.previous.forward(before)  # (B, T, D)
        where = sinusoidal_positions(*source.shape[1:], source.dtype)
        # The two halves of `Transformer.forward`, which would not hand out the weights.
        memory = self.transformer.encoder.forward(source + where)
        decoded = self.transformer.decoder.forward(target + where, memory, weights=weights)
        z = self.output.forward(decoded)  # (B, T, F)
        keep = sigmoid(z) if self.mask else None
        self.save_for_backward(noisy, keep)
        return keep * noisy if self.mask else z

    def backward(self, dy):  # (B, T, F) -> dnoisy (B, T, F), dclean (B, T, F)
        noisy, keep = self.pop_saved()
        dz = dy * noisy * keep * (1 - keep) if self.mask else dy
        dsource, dtarget = self.transformer.backward(self.output.backward(dz))
        dnoisy, dbefore = self.input.backward(dsource), self.previous.backward(dtarget)
        dclean = np.concatenate([dbefore[:, 1:], np.zeros_like(dbefore[:, :1])], axis=1)
        return dnoisy + dy * keep if self.mask else dnoisy, dclean

    def generate(self, noisy):
        """Write the clean magnitudes frame by frame, each after those before: (B, T, F) -> same.

        Keys and values of past frames are cached: a frame then costs one step through the decoder,
        not all the steps before it again. What a mapping makes negative counts as 0. The network is
        switched to evaluation.
        """
        _require_magnitudes("noisy", noisy, self.input)
        self.eval()
        where = sinusoidal_positions(noisy.shape[1], self.input.b.value.size, noisy.dtype)
        memory = self.transformer.encoder.forward(self.input.forward(noisy) + where)
        state = self.transformer.decoder.start(memory)
        clean = np.zeros_like(noisy)
        frame = np.zeros_like(noisy[:, :1])
        for t in range(noisy.shape[1]):
            h = self.previous.forward(frame) + where[t]
            z = self.output.forward(self.transformer.decoder.decode(h, state))  # (B, 1, F)
            frame = sigmoid(z) * noisy[:, t : t + 1] if self.mask else np.maximum(z, 0)
            clean[:, t : t + 1] = frame
        return clean


def _require_sizes(n_bins, d_model, d_ff):
    """Raise under the names known here, where a projection would speak of its n_in and n_out."""
    for name, value in (("n_bins", n_bins), ("d_model", d_model), ("d_ff", d_ff)):
        require_positive_integer(name, value)


def _require_magnitudes(name, x, projection):
    """Raise unless x is (B, T, F), with the F of the projection."""
    n_bins = projection.W.value.shape[0]
    if x.ndim != 3 or x.shape[2] != n_bins or 0 in x.shape:
        raise ShapeError(f"{name} must have shape (batch, frames, {n_bins}), got {x.shape}")
