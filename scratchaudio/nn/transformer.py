"""The Transformer: blocks of attention and feed-forward layers, around which the input flows on.

A block reads from the stream x what it needs and adds what it found (residual connections), so
that gradients reach the first block as directly as the last:

    x -> x + attention(x) -> x + feed_forward(x)

Attention moves information between steps; the feed-forward layer works on each step alone. Where
the normalisation stands makes two forms:

    post-norm   x = norm(x + f(x))         of the paper and torch's default
    pre-norm    x = x + f(norm(x))         (`norm_first`) trains deep stacks without a warm-up; the
                                           stream itself is never normalised, so one norm follows
                                           the last block

An *encoder* block sees all steps, or those its mask leaves. A *decoder* block writes a sequence
step by step: its self-attention is causal, and a cross-attention between the two reads the
encoder's output, the memory. An encoder with a causal mask is a decoder without memory.

References: Vaswani et al. (2017), Attention is all you need, NeurIPS, section 3 and fig. 1; for
pre-norm Xiong et al. (2020), On layer normalization in the Transformer architecture, ICML, fig. 1b.

Legend: B batch, T steps of the decoder (or of the encoder alone), S steps of the encoder beside a
decoder, D d_model, d_ff width of the feed-forward layer.
"""

import numpy as np

from scratchaudio.errors import require_positive_integer
from scratchaudio.nn.activations import ReLU
from scratchaudio.nn.attention import Cache, MultiHeadAttention, causal_mask
from scratchaudio.nn.container import Sequential
from scratchaudio.nn.dropout import Dropout
from scratchaudio.nn.layer import Layer
from scratchaudio.nn.linear import Linear
from scratchaudio.nn.normalization import LayerNorm


def feed_forward(d_model, d_ff, dropout=0.1, activation=ReLU, rng=None):
    """Make the feed-forward layer, a hidden layer of d_ff units applied to each step by itself."""
    rng = np.random.default_rng(rng)
    return Sequential(
        Linear(d_model, d_ff, rng=rng),
        activation(),
        Dropout(dropout, rng),
        Linear(d_ff, d_model, rng=rng),
    )


# Blocks ------------------------------------------------------------------------------------------


class EncoderBlock(Layer):
    """Self-attention, then a feed-forward layer, each added to its input: (B, T, D) -> (B, T, D).

    Parameters
    ----------
    d_model : D
    n_heads : attention heads, a divisor of D
    d_ff : width of the feed-forward layer
    dropout : share dropped of attention weights, of hidden units and of what each part adds
    activation : class of the feed-forward layer's activation, `ReLU` or `GELU`
    norm_first : pre-norm instead of post-norm
    rotary : rotary positions in the self-attention
    rng : seed or Generator, for the initial weights and the dropout
    """

    def __init__(
        self,
        d_model,
        n_heads,
        d_ff=2048,
        dropout=0.1,
        activation=ReLU,
        norm_first=False,
        rotary=False,
        rng=None,
    ):
        rng = np.random.default_rng(rng)
        self.norm_first = norm_first
        self.attention = MultiHeadAttention(d_model, n_heads, dropout, rotary, rng)
        self.dropout1 = Dropout(dropout, rng)
        self.norm1 = LayerNorm(d_model)
        self.feed_forward = feed_forward(d_model, d_ff, dropout, activation, rng)
        self.dropout2 = Dropout(dropout, rng)
        self.norm2 = LayerNorm(d_model)

    def forward(self, x, mask=None, weights=None):  # mask and weights: MultiHeadAttention.forward
        if self.norm_first:
            found = self.attention.forward(self.norm1.forward(x), mask=mask, weights=weights)
            x = x + self.dropout1.forward(found)
            return x + self.dropout2.forward(self.feed_forward.forward(self.norm2.forward(x)))
        found = self.attention.forward(x, mask=mask, weights=weights)
        x = self.norm1.forward(x + self.dropout1.forward(found))
        return self.norm2.forward(x + self.dropout2.forward(self.feed_forward.forward(x)))

    def backward(self, dy):  # the lines of forward, upwards
        if self.norm_first:
            dy = dy + self.norm2.backward(self.feed_forward.backward(self.dropout2.backward(dy)))
            return dy + self.norm1.backward(self.attention.backward(self.dropout1.backward(dy)))
        dy = self.norm2.backward(dy)
        dy = dy + self.feed_forward.backward(self.dropout2.backward(dy))
        dy = self.norm1.backward(dy)
        return dy + self.attention.backward(self.dropout1.backward(dy))

    def decode(self, x, cache):
        """Return the next steps of a causal sequence, (B, T, D) -> (B, T, D); `Cache` of before."""
        if self.norm_first:
            x = x + self.attention.decode(self.norm1.forward(x), cache)
            return x + self.feed_forward.forward(self.norm2.forward(x))
        x = self.norm1.forward(x + self.attention.decode(x, cache))
        return self.norm2.forward(x + self.feed_forward.forward(x))


class DecoderBlock(Layer):
    """Self-attention, cross-attention to a memory, feed-forward: (B, T, D), (B, S, D) -> (B, T, D).

    Parameters
    ----------
    As for `EncoderBlock`; rotary positions are for the self-attention
    """

    def __init__(
        self,
        d_model,
        n_heads,
        d_ff=2048,
        dropout=0.1,
        activation=ReLU,
        norm_first=False,
        rotary=False,
        rng=None,
    ):
        rng = np.random.default_rng(rng)
        self.norm_first = norm_first
        self.self_attention = MultiHeadAttention(d_model, n_heads, dropout, rotary, rng)
        self.dropout1 = Dropout(dropout, rng)
        self.norm1 = LayerNorm(d_model)
        self.cross_attention = MultiHeadAttention(d_model, n_heads, dropout, rng=rng)
        self.dropout2 = Dropout(dropout, rng)
        self.norm2 = LayerNorm(d_model)
        self.feed_forward = feed_forward(d_model, d_ff, dropout, activation, rng)
        self.dropout3 = Dropout(dropout, rng)
        self.norm3 = LayerNorm(d_model)

    def forward(self, x, memory, mask=None, memory_mask=None, weights=None):
        """`mask` replaces the causal one; `weights` gets the cross-attention's appended."""
        mask = causal_mask(x.shape[1]) if mask is None else mask
        look = {"mask": memory_mask, "weights": weights}
        if self.norm_first:
            found = self.self_attention.forward(self.norm1.forward(x), mask=mask)
            x = x + self.dropout1.forward(found)
            found = self.cross_attention.forward(self.norm2.forward(x), memory, **look)
            x = x + self.dropout2.forward(found)
            return x + self.dropout3.forward(self.feed_forward.forward(self.norm3.forward(x)))
        x = self.norm1.forward(x + self.dropout1.forward(self.self_attention.forward(x, mask=mask)))
        found = self.cross_attention.forward(x, memory, **look)
        x = self.norm2.forward(x + self.dropout2.forward(found))
        return self.norm3.forward(x + self.dropout3.forward(self.feed_forward.forward(x)))

    def backward(self, dy):  # (B, T, D) -> dx (B, T, D), dmemory (B, S, D)
        if self.norm_first:
            dy = dy + self.norm3.backward(self.feed_forward.backward(self.dropout3.backward(dy)))
            dquery, dmemory = self.cross_attention.backward(self.dropout2.backward(dy))
            dy = dy + self.norm2.backward(dquery)
            found = self.self_attention.backward(self.dropout1.backward(dy))
            return dy + self.norm1.backward(found), dmemory
        dy = self.norm3.backward(dy)
        dy = dy + self.feed_forward.backward(self.dropout3.backward(dy))
        dy = self.norm2.backward(dy)
        dquery, dmemory = self.cross_attention.backward(self.dropout2.backward(dy))
        dy = self.norm1.backward(dy + dquery)
        return dy + self.self_attention.backward(self.dropout1.backward(dy)), dmemory

    def decode(self, x, cache, remembered, memory_mask=None):
        """Return the next steps, (B, T, D) -> (B, T, D), given the steps before and the memory."""
        if self.norm_first:
            x = x + self.self_attention.decode(self.norm1.forward(x), cache)
            query = self.norm2.forward(x)
            x = x + self.cross_attention.recall(query, remembered, memory_mask)
            return x + self.feed_forward.forward(self.norm3.forward(x))
        x = self.norm1.forward(x + self.self_attention.decode(x, cache))
        x = self.norm2.forward(x + self.cross_attention.recall(x, remembered, memory_mask))
        return self.norm3.forward(x + self.feed_forward.forward(x))


# Stacks ------------------------------------------------------------------------------------------


class TransformerEncoder(Layer):
    """Encoder blocks in a row: (B, T, D) -> (B, T, D).

    Parameters
    ----------
    d_model, n_heads : as for `EncoderBlock`
    n_layers : number of blocks
    d_ff, dropout, activation, norm_first, rotary, rng : as for `EncoderBlock`
    """

    def __init__(
        self,
        d_model,
        n_heads,
        n_layers,
        d_ff=2048,
        dropout=0.1,
        activation=ReLU,
        norm_first=False,
        rotary=False,
        rng=None,
    ):
        require_positive_integer("n_layers", n_layers)
        rng = np.random.default_rng(rng)
        self.blocks = [
            EncoderBlock(d_model, n_heads, d_ff, dropout, activation, norm_first, rotary, rng)
            for _ in range(n_layers)
        ]
        self.norm = LayerNorm(d_model) if norm_first else None

    def forward(self, x, mask=None, weights=None):
        """`weights`, if it is a list, gets each block's attention weights (B, h, T, T) appended."""
        for block in self.blocks:
            x = block.forward(x, mask, weights)
        return self.norm.forward(x) if self.norm else x

    def backward(self, dy):
        dy = self.norm.backward(dy) if self.norm else dy
        for block in reversed(self.blocks):
            dy = block.backward(dy)
        return dy

    def start(self):
        """Return the state before the first step of `decode`: an empty cache for each block."""
        return [Cache() for _ in self.blocks]

    def decode(self, x, caches):
        """Return the next steps (B, T, D) of a causal sequence: what `forward` gives masked."""
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block.decode(x, cache)
        return self.norm.forward(x) if self.norm else x


class TransformerDecoder(Layer):
    """Decoder blocks in a row: (B, T, D) and memory (B, S, D) -> (B, T, D).

    Parameters
    ----------
    As for `TransformerEncoder`
    """

    def __init__(
        self,
        d_model,
        n_heads,
        n_layers,
        d_ff=2048,
        dropout=0.1,
        activation=ReLU,
        norm_first=False,
        rotary=False,
        rng=None,
    ):
        require_positive_integer("n_layers", n_layers)
        rng = np.random.default_rng(rng)
        self.blocks = [
            DecoderBlock(d_model, n_heads, d_ff, dropout, activation, norm_first, rotary, rng)
            for _ in range(n_layers)
        ]
        self.norm = LayerNorm(d_model) if norm_first else None

    def forward(self, x, memory, mask=None, memory_mask=None, weights=None):
        """`weights`, if it is a list, gets each block's cross-attention (B, h, T, S) appended."""
        for block in self.blocks:
            x = block.forward(x, memory, mask, memory_mask, weights)
        return self.norm.forward(x) if self.norm else x

    def backward(self, dy):  # (B, T, D) -> dx (B, T, D), dmemory (B, S, D)
        dy = self.norm.backward(dy) if self.norm else dy
        dmemory = 0
        for block in reversed(self.blocks):
            dy, dmemory_of_block = block.backward(dy)
            dmemory = dmemory + dmemory_of_block  # every block read the same memory
        return dy, dmemory

    def start(self, memory):
        """Return the state before the first step of `decode`: a cache and the memory a block."""
        return [(Cache(), block.cross_attention.remember(memory)) for block in self.blocks]

    def decode(self, x, state, memory_mask=None):
        """Return the next steps (B, T, D): what `forward` gives, at the cost of these alone."""
        for block, (cache, remembered) in zip(self.blocks, state, strict=True):
            x = block.decode(x, cache, remembered, memory_mask)
        return self.norm.forward(x) if self.norm else x


class Transformer(Layer):
    """Encoder and decoder: source (B, S, D), target so far (B, T, D) -> (B, T, D).

    In training, `target` holds the true steps, moved back by one (teacher forcing), so that all T
    are predicted in one pass. In use, `decoder.start(encoder.forward(source))` and then
    `decoder.decode` make one step after the other.

    torch's `nn.Transformer` ends both stacks with one more norm; ours only with `norm_first`: the
    paper has none.

    Parameters
    ----------
    As for `TransformerEncoder`; n_layers blocks on each side
    """

    def __init__(
        self,
        d_model,
        n_heads,
        n_layers,
        d_ff=2048,
        dropout=0.1,
        activation=ReLU,
        norm_first=False,
        rotary=False,
        rng=None,
    ):
        rng = np.random.default_rng(rng)
        sizes = (d_model, n_heads, n_layers, d_ff, dropout, activation, norm_first, rotary, rng)
        self.encoder = TransformerEncoder(*sizes)
        self.decoder = TransformerDecoder(*sizes)

    def forward(self, source, target, source_mask=None, target_mask=None):
        """`source_mask` hides source steps from both sides: (B, 1, S), as `padding_mask` makes it.

        `target_mask` replaces the causal one: `causal_mask(T) & padding_mask(lengths, T)`.
        """
        memory = self.encoder.forward(source, source_mask)
        return self.decoder.forward(target, memory, target_mask, source_mask)

    def backward(self, dy):  # (B, T, D) -> dsource (B, S, D), dtarget (B, T, D)
        dtarget, dmemory = self.decoder.backward(dy)
        return self.encoder.backward(dmemory), dtarget
