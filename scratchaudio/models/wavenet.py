"""WaveNet: a network that says a sound sample by sample, each from those it has said before.

    codes  ->  table  ->  K gated blocks  ->  sum of skips  ->  relu, 1 x 1, relu, 1 x 1
    (B, N)     (B, R, N)                      (B, S, N)                        (B, N, Q) logits

What is the next sample, given all before it? By the chain rule of probability that is all there is
to know about sounds:

    p(c_1, ..., c_N) = product over n of p(c_n | c_1, ..., c_(n-1))

A sample is a *code*, one of Q = 256 levels (`dsp.mulaw_encode`), and its distribution a softmax: a
network of classes, trained by cross-entropy, that can say "either up or down, but not between".
While it learns, the true past is given (*teacher forcing*), so that all N distributions come out
of one pass. While it speaks, what it has said is its past.

Nothing may reach the present or the future: the codes go in one sample late, and every convolution
looks back only. One that leaks learns to copy, its loss falls to 0, and it can say nothing.

A speaker's pitch is a hundred samples long, so the past must be long. Each block has two taps only,
d samples apart, and d doubles from block to block, 1, 2, 4, ..., 2^(L-1), in M stacks:

    receptive field = M (2^L - 1) + 1 samples of the past

    a = W_f * x + V_f h,    b = W_g * x + V_g h          dilated convolution, and the condition h
    z = tanh(a) sigmoid(b)                               a *gate* says how much of tanh passes
    x <- x + W_r z            skip = W_s z               residual and skip path, 1 x 1 each

Conditions say what to speak: a *global* vector for the whole sound (who speaks, at which pitch), a
*local* one for each frame (its mel spectrum: then WaveNet is a vocoder). Both enter every gate by a
1 x 1 convolution. A frame is repeated for its samples; mixing channels and repeating commute, so
the mixing is done at the rate of the frames, where it costs next to nothing.

Legend: B batch, N samples, Q levels, R channels of the residual path, S of the skip path, K = L M
blocks, G numbers of the global condition, F of the local one per frame, T frames.

Reference: van den Oord et al. (2016), WaveNet: a generative model for raw audio, arXiv:1609.03499,
sections 2.1 to 2.5; queues: Le Paine et al. (2016), Fast WaveNet generation algorithm,
arXiv:1611.09482.
"""

import math

import numpy as np

from scratchaudio import dsp
from scratchaudio.dsp.mulaw import require_codes
from scratchaudio.errors import CallOrderError, ConfigError, ShapeError, require_positive_integer
from scratchaudio.nn import Conv1d, Layer, Parameter, relu, sigmoid

SMALL = {
    "n_channels": 32,
    "n_skip": 64,
    "n_layers": 9,
    "n_stacks": 2,
    "n_local": 40,
    "hop_length": 64,
    "sample_rate": 8000,
}


class WaveNet(Layer):
    """Codes of a sound to the logits of each, given those before it: (B, N) -> (B, N, Q).

    Parameters
    ----------
    n_levels : Q
    n_channels, n_skip : R and S
    n_layers, n_stacks : L blocks in each of M stacks
    n_global : G, 0 for no global condition
    n_local : F, 0 for no local condition
    hop_length : samples in a frame of the local condition
    sample_rate : of the sounds, Hz
    rng : seed or Generator for the initial weights

    Attributes
    ----------
    table : Parameter (Q, R), what each code sounds like to the network. A product of a one-hot
        vector and a matrix picks a row; this picks it without the product
    """

    def __init__(
        self,
        n_levels=256,
        n_channels=64,
        n_skip=256,
        n_layers=10,
        n_stacks=3,
        n_global=0,
        n_local=0,
        hop_length=1,
        sample_rate=16000,
        rng=None,
    ):
        self.settings = {
            "n_levels": n_levels,
            "n_channels": n_channels,
            "n_skip": n_skip,
            "n_layers": n_layers,
            "n_stacks": n_stacks,
            "n_global": n_global,
            "n_local": n_local,
            "hop_length": hop_length,
            "sample_rate": sample_rate,
        }
        for name, value in self.settings.items():
            if value == 0 and name in ("n_global", "n_local"):
                continue
            require_positive_integer(name, value)
        rng = np.random.default_rng(rng)
        Q, R, S = n_levels, n_channels, n_skip
        self.n_levels, self.n_channels, self.n_skip = Q, R, S
        self.n_global, self.n_local, self.hop_length = n_global, n_local, hop_length
        self.sample_rate = sample_rate
        self.silence = Q // 2  # the code that stands before the first
        self.table = Parameter(rng.standard_normal((Q, R)).astype(np.float32) / math.sqrt(R))
        self.blocks = [
            GatedBlock(R, S, n_global + n_local, 2**i, rng)
            for _ in range(n_stacks)
            for i in range(n_layers)
        ]
        self.hidden = Conv1d(S, S, 1, rng=rng)
        self.logits = Conv1d(S, Q, 1, rng=rng)

    @property
    def receptive_field(self):
        """Codes before n that the logits at n depend on: M (2^L - 1) + 1."""
        return 1 + sum(block.dilation for block in self.blocks)

    def forward(self, codes, global_condition=None, local_condition=None):
        """Logits of every code, given the codes before it.

        Parameters
        ----------
        codes : (B, N) integers 0 ... Q - 1
        global_condition : (B, G) or, for n_global = 0, None
        local_condition : (B, F, T) with T = ceil(N / hop_length) or, for n_local = 0, None

        Returns
        -------
        (B, N, Q)
        """
        codes = require_codes("codes", codes, self.n_levels)
        if codes.ndim != 2 or codes.size == 0:
            raise ShapeError(f"codes must have shape (batch, samples), got {codes.shape}")
        B, N = codes.shape
        h, hop = self._condition(B, N, global_condition, local_condition)
        late = np.full_like(codes, self.silence)
        late[:, 1:] = codes[:, :-1]  # what is said at n is heard at n + 1
        x = np.ascontiguousarray(self.table.value[late].transpose(0, 2, 1))  # (B, R, N)
        total = 0
        for block in self.blocks:
            x, skip = block.forward(x, h, hop)
            total = total + skip  # (B, S, N)
        u = relu(total)
        v = relu(self.hidden.forward(u))
        y = self.logits.forward(v)
        self.save_for_backward(late, u, v)
        return y.transpose(0, 2, 1)

    def backward(self, dlogits):
        """(B, N, Q) -> None for the codes; of the conditions None or (B, G), None or (B, F, T)."""
        late, u, v = self.pop_saved()
        dv = self.logits.backward(np.ascontiguousarray(dlogits.transpose(0, 2, 1)))
        du = self.hidden.backward(dv * (v > 0))
        dtotal = du * (u > 0)
        dx, dh = np.zeros((len(late), self.n_channels, late.shape[1]), dtotal.dtype), 0
        for block in self.blocks[::-1]:
            dx, dh_block = block.backward(dx, dtotal)  # every skip gets the same gradient
            dh = dh + dh_block
        self._add_to_table(late, dx)
        dglobal = dh[:, : self.n_global].sum(axis=2) if self.n_global else None
        return None, dglobal, dh[:, self.n_global :] if self.n_local else None

    def _add_to_table(self, codes, dx):
        """Sum the gradients (B, R, N) of all places at which a code stands into its row."""
        codes, dx = codes.ravel(), dx.transpose(0, 2, 1).reshape(-1, self.n_channels)
        order = np.argsort(codes, kind="stable")  # equal codes side by side: one sum for each
        present, starts = np.unique(codes[order], return_index=True)
        self.table.grad[present] += np.add.reduceat(dx[order], starts, axis=0)

    def _condition(self, B, N, global_condition, local_condition):
        """Both conditions as one, (B, G + F, T) or None, and the samples that a frame lasts.

        A global condition alone is one frame that lasts for the whole sound: None. `N` is None
        for a sound whose length is not known yet.
        """
        for name, given, size in (
            ("global_condition", global_condition, self.n_global),
            ("local_condition", local_condition, self.n_local),
        ):
            if (given is None) != (size == 0):
                wanted = f"{size} numbers" if size else "none"
                came = "none" if given is None else f"one of shape {np.shape(given)}"
                raise ShapeError(f"{name}: this network is made for {wanted}, got {came}")
        h, hop, n_frames = [], None, 1
        if self.n_local:
            h, hop, n_frames = [local_condition], self.hop_length, np.shape(local_condition)[-1]
            expected = (B, self.n_local, n_frames if N is None else -(-N // hop))
            if local_condition.shape != expected:
                of = "" if N is None else f" for {N} samples"
                raise ShapeError(
                    f"local_condition must have shape {expected}, frames of {hop} samples{of}, got "
                    f"{local_condition.shape}"
                )
        if self.n_global:
            if global_condition.shape != (B, self.n_global):
                raise ShapeError(
                    f"global_condition must have shape {(B, self.n_global)}, got "
                    f"{global_condition.shape}"
                )
            h.insert(0, np.repeat(global_condition[:, :, None], n_frames, axis=2))
        return (np.concatenate(h, axis=1) if h else None), hop

    # Speaking --------------------------------------------------------------------------------

    def generate(
        self,
        n_samples,
        prompt=None,
        global_condition=None,
        local_condition=None,
        *,
        temperature=1.0,
        top_k=None,
        batch_size=1,
        rng=None,
        progress=None,
    ):
        """Say n_samples codes after a prompt: (B, n_samples).

        Parameters
        ----------
        n_samples : how many
        prompt : (B, P) codes that were said before, of any length, or None. Of a long one only the
            end, the receptive field, has an influence
        global_condition : (B, G) or None
        local_condition : (B, F, T) or None, of prompt and what follows: T = ceil((P + n_samples) /
            hop_length)
        temperature : logits are divided by it. 1 draws from the distribution that was learned;
            below, what is likely becomes likelier; 0 always takes the likeliest
        top_k : draw from the k likeliest levels only; None from all
        batch_size : B, if there is no prompt
        rng : seed or Generator
        progress : function called with (samples done, n_samples) every 100 samples, or None
        """
        require_positive_integer("n_samples", n_samples)
        if not 0 <= temperature < math.inf:
            raise ConfigError(
                f"temperature must be a finite number of at least 0, got {temperature}"
            )
        if top_k is not None and not (isinstance(top_k, int) and 1 <= top_k <= self.n_levels):
            raise ConfigError(f"top_k must be an integer of 1 to {self.n_levels}, got {top_k!r}")
        rng = np.random.default_rng(rng)
        if prompt is None:
            require_positive_integer("batch_size", batch_size)
            prompt = np.empty((batch_size, 0), np.int64)
        prompt = require_codes("prompt", prompt, self.n_levels)
        if prompt.ndim != 2 or len(prompt) == 0:
            raise ShapeError(f"prompt must have shape (batch, samples), got {prompt.shape}")
        B, P = prompt.shape
        first = max(0, P - self.receptive_field + 1)  # the code before it is the first that counts
        self._condition(B, P + n_samples, global_condition, local_condition)  # the right length?
        stream = self.start(B, global_condition, local_condition, first)
        code = prompt[:, first - 1] if first else np.full(B, self.silence)
        for n in range(first, P):
            stream.step(code)
            code = prompt[:, n]
        said = np.empty((B, n_samples), np.int64)
        for n in range(n_samples):
            code = said[:, n] = draw(stream.step(code), temperature, top_k, rng)
            if progress and (n + 1) % 100 == 0:
                progress(n + 1, n_samples)
        return said

    def start(self, batch_size=1, global_condition=None, local_condition=None, first=0):
        """A `WaveNetStream` that says sounds from sample number `first` on."""
        if self.training:
            raise CallOrderError("start is for evaluation: call eval() first")
        require_positive_integer("batch_size", batch_size)
        h, hop = self._condition(batch_size, None, global_condition, local_condition)
        return WaveNetStream(self, batch_size, h, hop, first)

    # From sound to sound ---------------------------------------------------------------------

    def condition_of(self, x):
        """What a vocoder hears of a sound (N,): the log-mel spectrum of each frame, (F, T).

        Windows of 4 frames; the levels are moved to about -1 ... 1, and end 100 dB below 1.
        """
        S = dsp.melspectrogram(
            y=x,
            sr=self.sample_rate,
            n_fft=4 * self.hop_length,
            hop_length=self.hop_length,
            n_mels=self.n_local,
            power=1.0,
        )[:, : -(-len(x) // self.hop_length)]
        return (np.log10(np.maximum(S, 1e-5)) / 2 + 1).astype(np.float32)

    @classmethod
    def from_checkpoint(cls, checkpoint):
        """Build the untrained model of a checkpoint, if its weights have the sizes it states."""
        shape = {name: np.shape(W) for name, W in checkpoint.model.items()}
        Q, R = shape.get("table", (0, 0))
        n_blocks = len({name.split(".")[1] for name in shape if name.startswith("blocks.")})
        sizes = {"n_levels": Q, "n_channels": R, "n_skip": shape.get("hidden.b", (0,))[0]}
        L = checkpoint.settings.get("n_layers")
        sizes["n_stacks"] = n_blocks // L if type(L) is int and L > 0 else None
        n_condition = shape.get("blocks.0.condition.W", (0, 0))[1]
        n_global = checkpoint.settings.get("n_global")
        if type(n_global) is int and n_global >= 0:
            sizes["n_local"] = n_condition - n_global
        else:
            sizes["n_global"] = n_condition
        return checkpoint.build(cls, sizes)


class GatedBlock(Layer):
    """One block: residual path (B, R, N) -> residual path (B, R, N), skip path (B, S, N).

    The residual path out of the last block leads nowhere.

    Parameters
    ----------
    R, S : channels
    n_condition : channels of the condition, 0 for none
    dilation : samples between the two taps
    rng : seed or Generator for the initial weights
    """

    def __init__(self, R, S, n_condition, dilation, rng=None):
        rng = np.random.default_rng(rng)
        self.R, self.dilation = R, dilation
        self.dilated = Conv1d(R, 2 * R, 2, dilation=dilation, causal=True, rng=rng)  # W_f, W_g
        self.condition = None
        if n_condition:
            self.condition = Conv1d(n_condition, 2 * R, 1, bias=False, rng=rng)  # V_f, V_g
        self.residual = Conv1d(R, R, 1, rng=rng)
        self.skip = Conv1d(R, S, 1, rng=rng)

    def forward(self, x, h=None, hop=None):
        """`h` (B, G + F, T) is the condition, each frame of it for `hop` samples (None: all)."""
        N = x.shape[2]
        hop = hop or N
        y = self.dilated.forward(x)  # (B, 2R, N)
        if h is not None:
            y = y + np.repeat(self.condition.forward(h), hop, axis=2)[:, :, :N]
        filtered, gate = np.tanh(y[:, : self.R]), sigmoid(y[:, self.R :])
        z = filtered * gate
        self.save_for_backward(filtered, gate, None if h is None else h.shape[2], hop)
        return x + self.residual.forward(z), self.skip.forward(z)

    def backward(self, dx, dskip):  # -> (B, R, N), (B, G + F, T) or 0
        filtered, gate, n_frames, hop = self.pop_saved()
        dz = self.residual.backward(dx) + self.skip.backward(dskip)  # used twice -> add
        da = dz * gate * (1 - filtered * filtered)
        db = dz * filtered * gate * (1 - gate)
        dy = np.concatenate([da, db], axis=1)  # (B, 2R, N)
        dh = 0
        if n_frames is not None:  # repeated -> summed
            whole = np.pad(dy, ((0, 0), (0, 0), (0, n_frames * hop - dy.shape[2])))
            dh = self.condition.backward(whole.reshape(*dy.shape[:2], n_frames, hop).sum(axis=3))
        return dx + self.dilated.backward(dy), dh


# Sample by sample --------------------------------------------------------------------------------


def draw(logits, temperature=1.0, top_k=None, rng=None):
    """Draw one level for each row of logits (B, Q): (B,), of softmax(logits / temperature).

    The probabilities lie side by side on a line, and a point is drawn on it. It is drawn from
    (0, total], so that no level of probability 0 is ever hit.
    """
    if temperature == 0:
        return logits.argmax(axis=1)
    if top_k is not None:
        kept = np.argpartition(-logits, top_k - 1, axis=1)[:, :top_k]
        few = np.full_like(logits, -np.inf)
        np.put_along_axis(few, kept, np.take_along_axis(logits, kept, axis=1), axis=1)
        logits = few
    below_top = (logits - logits.max(axis=1, keepdims=True)).astype(np.float64)
    line = np.exp(below_top / temperature).cumsum(axis=1)
    point = line[:, -1] * (1 - rng.random(len(line)))
    return (line < point[:, None]).sum(axis=1)


class WaveNetStream:
    """A WaveNet that speaks: `step` takes the code just said and gives the logits of the next.

    A full pass for each sample would compute the whole past anew. But of block k's past only one
    vector is needed, its input d_k samples ago: a queue of its last d_k inputs is all the memory
    there is. Queues are *rings*: sample n stands at place n mod d_k, which is where d_k samples
    later the past is read, just before the present takes its place.

    Each step is a few small products in each of K blocks, and the time goes into calling NumPy,
    half a microsecond each time, not into multiplying. So calls are saved:

    - the rings of all blocks lie end to end in one array: one indexing reads all pasts, one writes
      all presents. The past's share of all gates is one stacked product, before the first block,
      and biases and conditions are added there, already mixed for all frames;
    - sigmoid(b) = (1 + tanh(b / 2)) / 2: with the weights of the gate halved, one tanh serves
      filter and gate. The other half goes into the weights that follow;
    - the skips are a sum of products, which is one product of all z one above the other;
    - a 1 below each z is a place for the bias in the product that follows;
    - every array is made once, and so is every view of a part of it. `W.dot(x, y)` writes into y.

    Sounds stand side by side, one in each column, so that each block's part of an array is one
    piece of memory.

    Parameters
    ----------
    model : WaveNet
    batch_size : B sounds at once, which takes little longer than one
    h, hop : the condition (B, G + F, T) or None, and the samples that each frame lasts; None for
        one frame that lasts for ever
    first : number of the first sample
    """

    def __init__(self, model, batch_size, h=None, hop=None, first=0):
        R, S, B, blocks = model.n_channels, model.n_skip, batch_size, model.blocks
        K, dtype = len(blocks), model.table.value.dtype
        self.table, self.n, self.hop = model.table.value, first, hop
        self.dilations = np.array([block.dilation for block in blocks])
        self.begins = np.cumsum(self.dilations) - self.dilations  # of the rings
        self.rings = np.zeros((self.dilations.sum(), R, B), dtype)

        halved = np.repeat([1, 0.5], R).astype(dtype)[:, None]  # filter, gate
        self.past = np.stack([halved * block.dilated.W.value[:, :, 0] for block in blocks])
        present = [halved * block.dilated.W.value[:, :, 1] for block in blocks]
        residual = [_with_bias(block.residual.W.value / 2, block.residual.b) for block in blocks]
        self.given = [self._given(block, h, halved) for block in blocks]
        self.given = np.stack(self.given, axis=1)  # (T, K, 2R, B or 1)

        self.x = np.zeros((K + 1, R, B), dtype)
        self.z = np.ones((K, R + 1, B), dtype)
        self.gates = np.empty((K, 2 * R, B), dtype)  # their share of the past and of what is given
        self.blocks = [
            (self.x[k], self.x[k + 1], self.z[k], self.z[k, :R], self.gates[k], W, V)
            for k, (W, V) in enumerate(zip(present, residual, strict=True))
        ]
        skips = [_with_bias(block.skip.W.value / 2, block.skip.b) for block in blocks]
        self.skips = np.concatenate(skips, axis=1)  # (S, K (R + 1))
        self.hidden = _with_bias(model.hidden.W.value, model.hidden.b)
        self.logits = _with_bias(model.logits.W.value, model.logits.b)
        self.u, self.v = np.ones((S + 1, B), dtype), np.ones((S + 1, B), dtype)

    @staticmethod
    def _given(block, h, halved):
        """The part of a block's gates that is known from the first: (T, 2R, B or 1)."""
        bias = halved * block.dilated.b.value[:, None]
        if h is None:
            return bias[None]
        return halved * block.condition.forward(h).transpose(2, 1, 0) + bias

    def step(self, codes):
        """Logits (B, Q) of the next codes, after the codes (B,)."""
        frame = 0 if self.hop is None else self.n // self.hop
        if frame >= len(self.given):
            raise ShapeError(
                f"local_condition has {frame} frames of {self.hop} samples: the sound is at its end"
            )
        places = self.begins + self.n % self.dilations
        np.matmul(self.past, self.rings[places], out=self.gates)
        self.gates += self.given[frame]
        x = self.x[0]
        x[...] = self.table[codes].T
        y, r = np.empty_like(self.gates[0]), np.empty_like(x)
        a, b = y[: len(x)], y[len(x) :]
        for x, x_next, z_and_1, z, gates, W, V in self.blocks:
            W.dot(x, y)
            y += gates
            np.tanh(y, y)
            b += 1
            np.multiply(a, b, z)  # twice z
            V.dot(z_and_1, r)
            np.add(x, r, x_next)
        self.rings[places] = self.x[:-1]
        np.maximum(self.skips.dot(self.z.reshape(self.skips.shape[1], -1)), 0, out=self.u[:-1])
        np.maximum(self.hidden.dot(self.u), 0, out=self.v[:-1])
        self.n += 1
        return self.logits.dot(self.v).T


def _with_bias(W, b):
    """Weights (n, m, 1) of a 1 x 1 convolution and bias (n,) side by side: (n, m + 1)."""
    return np.concatenate([W[:, :, 0], b.value[:, None]], axis=1)
