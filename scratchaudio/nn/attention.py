"""Attention: each step of a sequence gathers what it needs from all steps of another, or its own.

Each step t asks with a query q_t; each step s offers a key k_s, what it can be found by, and a
value v_s, what it gives. The better query and key agree, the more of the value is taken:

    S[t, s] = q_t . k_s / sqrt(d)             scores
    A[t, s] = exp(S[t, s]) / sum_s' exp(S[t, s'])      weights: each row is positive, sums to 1
    y_t     = sum_s A[t, s] v_s               a weighted mean of values

Unlike in a recurrent network, any two steps are one product apart, and all t are computed at once.
With random entries of variance 1, q . k has variance d; without the root, softmax would be almost
a maximum and its gradient almost 0.

*Multi-head* attention does this h times side by side, in h parts of d = D / h features of learned
projections of the input, so that one step can look at several places for several reasons.

A *mask* is True where a step may look, in the polarity of our losses and of torch's
`scaled_dot_product_attention` (torch's `MultiheadAttention` has it the other way round):

    causal_mask(T)               step t may look at 0 ... t       (T, T)
    padding_mask(lengths, T)     at the valid steps only          (B, 1, T), not (B, T)

Both together: `causal_mask(T) & padding_mask(lengths, T)`. A step that may look nowhere gets zeros.

Reference: Vaswani et al. (2017), Attention is all you need, NeurIPS, sections 3.2.1 and 3.2.2.

Legend: B batch, T steps that ask, S steps that are asked (S = T in self-attention), D d_model,
h heads, d = D / h features of a head.
"""

import math

import numpy as np

from scratchaudio.errors import CallOrderError, ConfigError, ShapeError, require_positive_integer
from scratchaudio.nn.dropout import Dropout
from scratchaudio.nn.init import xavier_uniform
from scratchaudio.nn.layer import Layer
from scratchaudio.nn.linear import Linear
from scratchaudio.nn.positional import rotary_angles, rotate

# Functions ---------------------------------------------------------------------------------------


def causal_mask(n_queries, n_keys=None):
    """Mask that lets no step look ahead: (T, S) bool.

    Parameters
    ----------
    n_queries : T
    n_keys : S, at least T; if it is larger, the queries are the last T of S steps. None: T

    Examples
    --------
    >>> causal_mask(2, 3).astype(int)
    array([[1, 1, 0],
           [1, 1, 1]])
    """
    n_keys = n_queries if n_keys is None else n_keys
    require_positive_integer("n_queries", n_queries)
    require_positive_integer("n_keys", n_keys)
    if n_keys < n_queries:
        raise ConfigError(
            f"n_keys must be at least n_queries, as the queries are the last of the steps; "
            f"got {n_keys} keys for {n_queries} queries"
        )
    return np.tri(n_queries, n_keys, n_keys - n_queries, dtype=bool)


def padding_mask(lengths, n_keys):
    """Mask that hides the padding behind each sequence: lengths (B,) -> (B, 1, S) bool."""
    lengths = np.asarray(lengths)
    require_positive_integer("n_keys", n_keys)
    if lengths.ndim != 1 or not np.issubdtype(lengths.dtype, np.integer):
        raise ShapeError(f"lengths must be integers of shape (batch,), got {lengths!r}")
    if lengths.min(initial=0) < 0 or lengths.max(initial=0) > n_keys:
        raise ShapeError(f"lengths must lie in 0..{n_keys}, got {lengths}")
    return np.arange(n_keys) < lengths[:, None, None]


def attention_weights(q, k, mask=None):
    """Weights A = softmax(q k^T / sqrt(d)): (..., T, d) and (..., S, d) -> (..., T, S).

    Every row sums to 1, or to 0 if the mask, which broadcasts to (..., T, S), leaves it nothing.
    """
    A = (q * (1 / math.sqrt(q.shape[-1]))) @ k.swapaxes(-1, -2)  # (..., T, S) scores
    # From here softmax as in `activations`, but in place: A may be the largest array of a network.
    if mask is not None:
        np.copyto(A, -np.inf, where=np.logical_not(mask))
    largest = A.max(axis=-1, keepdims=True)  # (..., T, 1)
    if mask is not None:
        largest[largest == -np.inf] = 0  # a row that sees nothing: -inf - -inf would be NaN
    A -= largest
    np.exp(A, out=A)
    # Trained attention is sharp: many weights fall below 1e-38, where float32 turns denormal and
    # processors compute some hundred times more slowly. No sum notices what is below 1e-20.
    A *= A > 1e-20
    total = A.sum(axis=-1, keepdims=True)
    total[total == 0] = 1
    A *= 1 / total
    return A


def attend(A, v, mask=None):
    """Weighted mean of values, A v: (..., T, S) and (..., S, d) -> (..., T, d).

    0 times NaN is NaN, but a step that is masked is not there at all: what it holds, be it NaN or
    infinity, stays invisible. (A step that is seen spreads its NaN to all who may see it, and in
    training padding must be finite too: there its 0 times NaN reaches the weights' gradients.)
    """
    if mask is None or np.isfinite(v).all():
        return A @ v
    finite = np.isfinite(v)
    y = A @ np.where(finite, v, 0)
    sees_bad = mask & ~finite.all(axis=-1)[..., None, :]  # (..., T, S)
    return np.where(sees_bad.any(axis=-1)[..., None], np.nan, y)


def scaled_dot_product_attention(q, k, v, mask=None):
    """Attention of queries to keys and values.

    Parameters
    ----------
    q : (..., T, d) queries
    k : (..., S, d) keys
    v : (..., S, d') values
    mask : bool that broadcasts to (..., T, S), True where a step may look, or None

    Returns
    -------
    y : (..., T, d')
    A : (..., T, S) attention weights

    Examples
    --------
    >>> q = k = 10 * np.eye(3)
    >>> y, A = scaled_dot_product_attention(q, k, np.array([[1.0], [2.0], [4.0]]))
    >>> y.round(3).ravel()
    array([1., 2., 4.])
    """
    _require_attention_shapes(q, k, v, mask)
    A = attention_weights(q, k, mask)
    return attend(A, v, mask), A


# Layer -------------------------------------------------------------------------------------------


class MultiHeadAttention(Layer):
    """Multi-head attention: (B, T, D) [, memory (B, S, D)] -> (B, T, D).

        q, k, v = x Wq + bq, m Wk + bk, m Wv + bv        each cut into h heads of d features
        y = concat over heads of attention(q, k, v), times Wo, plus bo

    with m = x (self-attention) or m = memory (cross-attention). Backward, from dy of one head:

        dv = A^T dy        dA = dy v^T
        dS = A * (dA - sum_s dA A)                softmax, row by row; the sum is also dy . y
        dq = dS k / sqrt(d)        dk = dS^T q / sqrt(d)

    Parameters
    ----------
    d_model : D
    n_heads : h, must divide D
    dropout : share of the attention weights that is dropped in training
    rotary : turn queries and keys by their time, see `positional`; for self-attention
    rng : seed or Generator, for the initial weights and the dropout
    dtype : of the parameters

    Attributes
    ----------
    query, key, value, output : Linear (D, D). A change of `key.b` shifts all scores of a row and
        so changes nothing, unless rotary positions turn it: its gradient is 0, in torch too
    """

    def __init__(self, d_model, n_heads, dropout=0.0, rotary=False, rng=None, dtype=np.float32):
        require_positive_integer("d_model", d_model)
        require_positive_integer("n_heads", n_heads)
        if d_model % n_heads:
            raise ConfigError(
                f"n_heads must divide d_model, so that each head gets as many features; "
                f"got n_heads={n_heads} and d_model={d_model}"
            )
        if rotary and d_model // n_heads % 2:
            raise ConfigError(
                f"rotary positions turn pairs of features, but a head has d_model / n_heads = "
                f"{d_model // n_heads}"
            )
        rng = np.random.default_rng(rng)
        self.n_heads = n_heads
        self.rotary = rotary
        self.query, self.key, self.value, self.output = (
            Linear(d_model, d_model, rng=rng, dtype=dtype) for _ in range(4)
        )
        for projection in (self.query, self.key, self.value):  # torch's bounds: three side by side
            projection.W.value = xavier_uniform(
                (d_model, d_model), d_model, 3 * d_model, rng, dtype
            )
        for projection in (self.query, self.key, self.value, self.output):
            projection.b.value[...] = 0
        self.dropout = Dropout(dropout, rng)

    def forward(self, x, memory=None, mask=None, weights=None):
        """Attend; `weights`, if it is a list, gets the attention weights (B, h, T, S) appended.

        `mask` is bool, True where a step may look, and broadcasts to (B, T, S).
        """
        if self.rotary and memory is not None:
            raise ConfigError("rotary positions need queries and keys of one sequence: no memory")
        self._require_shapes(x, memory)
        source = x if memory is None else memory
        q = self._split(self.query.forward(x))  # (B, h, T, d)
        k = self._split(self.key.forward(source))  # (B, h, S, d)
        v = self._split(self.value.forward(source))
        if self.rotary:
            angles = rotary_angles(x.shape[1], q.shape[-1])
            q, k = rotate(q, angles), rotate(k, angles)
        if mask is not None:
            mask = _require_mask(mask, (len(x), x.shape[1], source.shape[1]))[:, None]
        A = attention_weights(q, k, mask)  # (B, h, T, S)
        if weights is not None:
            weights.append(A)
        A_kept = self.dropout.forward(A)
        y = attend(A_kept, v, mask)  # (B, h, T, d)
        self.save_for_backward(q, k, v, A, A_kept, y, memory is None)
        return self.output.forward(self._join(y))

    def backward(self, dy):  # (B, T, D) -> dx (B, T, D), or dx and dmemory (B, S, D)
        q, k, v, A, A_kept, y, is_self = self.pop_saved()
        scale = 1 / math.sqrt(q.shape[-1])
        dy = self._split(self.output.backward(dy))  # (B, h, T, d)
        dv = A_kept.swapaxes(-1, -2) @ dy
        dS = self.dropout.backward(dy @ v.swapaxes(-1, -2))  # (B, h, T, S), so far dA
        # sum_s dA A = dy . y, with dropout too, which scales dA and A_kept alike; and T d products
        # are fewer than T S.
        dS -= (dy * y).sum(axis=-1, keepdims=True)
        dS *= A
        dq = dS @ k * scale
        dk = dS.swapaxes(-1, -2) @ (q * scale)
        if self.rotary:
            angles = rotary_angles(q.shape[2], q.shape[-1])
            dq, dk = rotate(dq, -angles), rotate(dk, -angles)
        dx = self.query.backward(self._join(dq))
        dsource = self.key.backward(self._join(dk)) + self.value.backward(self._join(dv))
        return dx + dsource if is_self else (dx, dsource)

    # One step after another -----------------------------------------------------------------

    def decode(self, x, cache):
        """Self-attention of the next steps of a causal sequence: (B, T, D) -> (B, T, D).

        The keys and values of all steps so far wait in `cache`, a `Cache`, and those of `x` are
        added. Step by step or in larger pieces, the result is that of `forward` on everything with
        a causal mask, at the cost of the new steps alone.
        """
        self._require_eval("decode")
        self._require_shapes(x, None)
        start, T = cache.n_steps, x.shape[1]
        q, k = self._split(self.query.forward(x)), self._split(self.key.forward(x))
        if self.rotary:
            angles = rotary_angles(T, q.shape[-1], start)
            q, k = rotate(q, angles), rotate(k, angles)
        k, v = cache.extend(k, self._split(self.value.forward(x)))  # (B, h, start + T, d)
        y, _ = scaled_dot_product_attention(q, k, v, causal_mask(T, start + T) if T > 1 else None)
        return self.output.forward(self._join(y))

    def remember(self, memory):
        """Keys and values of a memory (B, S, D), computed once for many calls of `recall`."""
        self._require_eval("remember")
        self._require_shapes(None, memory)
        return self._split(self.key.forward(memory)), self._split(self.value.forward(memory))

    def recall(self, x, remembered, mask=None):
        """Cross-attention of x (B, T, D) to what `remember` returned."""
        self._require_eval("recall")
        self._require_shapes(x, None)
        k, v = remembered
        _require_batch(len(k), x)
        if mask is not None:
            mask = _require_mask(mask, (len(x), x.shape[1], k.shape[2]))[:, None]
        y, _ = scaled_dot_product_attention(self._split(self.query.forward(x)), k, v, mask)
        return self.output.forward(self._join(y))

    # Heads -----------------------------------------------------------------------------------

    def _split(self, x):
        """(B, T, D) -> (B, h, T, d), a view."""
        B, T, D = x.shape
        return x.reshape(B, T, self.n_heads, D // self.n_heads).swapaxes(1, 2)

    def _join(self, x):
        """(B, h, T, d) -> (B, T, D)."""
        B, h, T, d = x.shape
        return x.swapaxes(1, 2).reshape(B, T, h * d)

    def _require_eval(self, name):
        if self.training:
            raise CallOrderError(f"{name} is for evaluation: call eval() first")

    def _require_shapes(self, x, memory):
        D = self.query.W.value.shape[0]
        for name, array in (("x", x), ("memory", memory)):
            if array is not None and (array.ndim != 3 or array.shape[-1] != D or 0 in array.shape):
                raise ShapeError(
                    f"{name} of MultiHeadAttention must have shape (batch, steps, {D}), at least "
                    f"one of each, got {array.shape}"
                )
        if x is not None and memory is not None and len(memory) != len(x):
            raise ShapeError(
                f"x and memory must have one batch size, got {x.shape} and {memory.shape}"
            )


class Cache:
    """Key-value cache: keys and values of the steps so far, and room for more, doubled when full.

    Growing by a copy at each step would make T steps cost T^2 copies; doubling costs at most two
    of each.
    """

    def __init__(self):
        self.n_steps = 0
        self._k = self._v = None  # (B, h, room, d)

    def extend(self, k, v):
        """Add keys and values (B, h, T, d); return all so far, (B, h, n_steps, d) each."""
        if self.n_steps:
            _require_batch(len(self._k), k)
        end = self.n_steps + k.shape[2]
        self._k = self._with_room(self._k, k, end)
        self._v = self._with_room(self._v, v, end)
        self._k[:, :, self.n_steps : end] = k
        self._v[:, :, self.n_steps : end] = v
        self.n_steps = end
        return self._k[:, :, :end], self._v[:, :, :end]

    def _with_room(self, array, new, end):
        """Return the array itself, or a copy with twice the room, or the first one."""
        if array is not None and end <= array.shape[2]:
            return array
        B, h, _, d = new.shape
        larger = np.zeros((B, h, max(16, 2 * end), d), new.dtype)
        if array is not None:
            larger[:, :, : self.n_steps] = array[:, :, : self.n_steps]
        return larger


def _require_batch(B, array):
    """Raise unless the array's batch is that of what is remembered: NumPy would repeat one of 1."""
    if len(array) != B:
        raise ShapeError(f"what is remembered is of a batch of {B}, got {array.shape}")


def _require_mask(mask, shape):
    """Return the mask, broadcast to (..., T, S); raise unless it is bool and can be."""
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise ShapeError(f"mask must be bool, True where a step may look, got {mask.dtype}")
    try:
        return np.broadcast_to(mask, shape)
    except ValueError:
        raise ShapeError(
            f"mask must broadcast to (batch, queries, keys) = {shape}, got {mask.shape}"
        ) from None


def _require_attention_shapes(q, k, v, mask):
    try:
        leading = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
        fit = q.shape[-1] == k.shape[-1] and k.shape[-2] == v.shape[-2] > 0 and q.ndim > 1
    except (ValueError, IndexError):
        fit = False
    if not fit:
        raise ShapeError(
            f"q must be (..., T, d), k (..., S, d) and v (..., S, d') with at least one step each, "
            f"got q {q.shape}, k {k.shape}, v {v.shape}"
        )
    if mask is not None:
        _require_mask(mask, (*leading, q.shape[-2], k.shape[-2]))
