"""Normalisation: bring activations to mean 0 and variance 1, then let the network choose again.

A deep network is easier to train when what enters each layer keeps its scale while the layers
before it change. Normalising over a set of entries gives that,

    x_hat = (x - mean) / sqrt(var + eps)          y = gamma x_hat + beta

and gamma, beta, one of each a feature or channel, give back the freedom that it took. What differs
between the kinds is the set over which mean and variance are taken:

    LayerNorm              the features of one frame
    BatchNorm              one channel, all examples of the batch and all positions
    GlobalLayerNorm        one example, all channels and all frames
    CumulativeLayerNorm    one example, all channels of the frames so far

Who shares a set sees each other. In layer normalisation no frame sees another, so that it works
alike for one example and for a thousand, in training and in use, and in a causal network; but it
takes away how loud a frame is among its neighbours. Global normalisation keeps that, and needs
the end of the sound before it can begin; cumulative normalisation does with the past. Batch
normalisation lets the examples of a batch see each other, and therefore needs other statistics in
use than in training.

Backward through a set of n entries, the same for all of them. With dx_hat = gamma dy, every x_i
also moves the mean and the variance of its set. x_hat has no component along (1, ..., 1) and a
fixed length, so what dx_hat has along 1 and along x_hat itself cannot matter and is taken out:

    dx = (dx_hat - mean(dx_hat) - x_hat mean(dx_hat x_hat)) / sqrt(var + eps)

(In `CumulativeLayerNorm` an entry belongs to many sets, and its gradient is a sum over them.)

Legend: B batch, C channels, T frames, F features (the last axis; everything before it is rows),
n entries in a set.
"""

import numpy as np

from scratchaudio.errors import CallOrderError, ConfigError, ShapeError, require_positive_integer
from scratchaudio.nn.layer import Buffer, Layer, Parameter


class LayerNorm(Layer):
    """Layer normalisation over the last axis: (..., F) -> (..., F).

        mean = 1/F sum_i x_i        var = 1/F sum_i (x_i - mean)^2        (biased: 1/F)
        x_hat = (x - mean) / sqrt(var + eps)
        y = gamma x_hat + beta

    Backward, with dx_hat = gamma dy and means over the row:

        dx = (dx_hat - mean(dx_hat) - x_hat mean(dx_hat x_hat)) / sqrt(var + eps)
        dgamma = sum over rows of dy x_hat        dbeta = sum over rows of dy

    Parameters
    ----------
    n_features : F
    eps : added to the variance, inside the root, as in torch
    dtype : of the parameters

    Attributes
    ----------
    gamma : Parameter (F,), ones at first; beta : Parameter (F,), zeros at first

    References
    ----------
    Ba, Kiros & Hinton (2016), Layer normalization, arXiv:1607.06450, eq. 3 and 4.
    """

    def __init__(self, n_features, eps=1e-5, dtype=np.float32):
        require_positive_integer("n_features", n_features)
        _require_eps(eps)
        self.gamma = Parameter(np.ones(n_features, dtype))
        self.beta = Parameter(np.zeros(n_features, dtype))
        self.eps = eps

    def forward(self, x):  # (..., F) -> (..., F)
        n_features = self.gamma.value.size
        if x.ndim == 0 or x.shape[-1] != n_features:
            raise ShapeError(f"x of LayerNorm must have shape (..., {n_features}), got {x.shape}")
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)  # (..., 1)
        inv_std = 1 / np.sqrt(variance + self.eps)
        x_hat = centred * inv_std
        self.save_for_backward(x_hat, inv_std)
        return self.gamma.value * x_hat + self.beta.value

    def backward(self, dy):  # (..., F) -> (..., F)
        x_hat, inv_std = self.pop_saved()
        rows = tuple(range(dy.ndim - 1))
        self.gamma.grad += (dy * x_hat).sum(axis=rows)
        self.beta.grad += dy.sum(axis=rows)
        dx_hat = dy * self.gamma.value
        along_one = dx_hat.mean(axis=-1, keepdims=True)
        along_x_hat = (dx_hat * x_hat).mean(axis=-1, keepdims=True)
        return inv_std * (dx_hat - along_one - x_hat * along_x_hat)


class BatchNorm(Layer):
    """Batch normalisation of each channel, axis 1: (B, C), (B, C, T) or (B, C, F, T), kept.

    It is torch's BatchNorm1d and BatchNorm2d in one: whatever comes after axis 1 is n = B, B T or
    B F T entries of a channel, and where they lie does not matter.

        mean = 1/n sum x        var = 1/n sum (x - mean)^2        (biased: 1/n)
        x_hat = (x - mean) / sqrt(var + eps)
        y = gamma x_hat + beta

    In training, what becomes of an example depends on those beside it, in use it must not. So
    training keeps running means of the statistics, and evaluation takes these in their place:

        running <- (1 - momentum) running + momentum new

    where the new variance is the unbiased estimate, n / (n - 1) var. Then each channel is only
    scaled and shifted, by the same numbers for every example.

    Backward, in training only. gamma is the same for the whole set and can be taken out:

        dx = gamma (dy - mean(dy) - x_hat mean(dy x_hat)) / sqrt(var + eps)
        dgamma = sum of dy x_hat        dbeta = sum of dy        both over the channel

    Parameters
    ----------
    n_features : C
    eps : added to the variance, inside the root, as in torch
    momentum : weight of a new batch in the running statistics, 0..1
    dtype : of the parameters and the running statistics

    Attributes
    ----------
    gamma : Parameter (C,), ones at first; beta : Parameter (C,), zeros at first
    running_mean : Buffer (C,), zeros at first; running_var : Buffer (C,), ones at first

    References
    ----------
    Ioffe & Szegedy (2015), Batch normalization: accelerating deep network training by reducing
    internal covariate shift, ICML, algorithms 1 and 2.
    """

    def __init__(self, n_features, eps=1e-5, momentum=0.1, dtype=np.float32):
        require_positive_integer("n_features", n_features)
        _require_eps(eps)
        if not 0 <= momentum <= 1:
            raise ConfigError(f"momentum must lie in 0..1, got {momentum}")
        self.gamma = Parameter(np.ones(n_features, dtype))
        self.beta = Parameter(np.zeros(n_features, dtype))
        self.running_mean = Buffer(np.zeros(n_features, dtype))
        self.running_var = Buffer(np.ones(n_features, dtype))
        self.eps, self.momentum = eps, momentum

    def forward(self, x):  # (B, C, ...) -> (B, C, ...)
        n_features = self.gamma.value.size
        if x.ndim < 2 or x.shape[1] != n_features or x.size == 0:
            raise ShapeError(
                f"x of BatchNorm must have shape (batch, {n_features}, ...), at least one of each, "
                f"got {x.shape}"
            )
        entries = x.reshape(len(x), n_features, -1)  # (B, C, n / B)
        normalise = self._by_batch if self.training else self._by_running_statistics
        return normalise(entries).reshape(x.shape)

    def _by_batch(self, x):
        n = len(x) * x.shape[2]
        if n == 1:
            raise ShapeError(
                f"BatchNorm needs two entries of each channel in training, got one: take a larger "
                f"batch, or call eval(); x is (batch, channels, ...) = {x.shape}"
            )
        mean = x.sum(axis=(0, 2)) / n  # (C,)
        centred = x - mean[:, None]
        variance = np.einsum("bcn,bcn->c", centred, centred) / n
        inv_std = 1 / np.sqrt(variance + self.eps)
        if not np.iscomplexobj(x):  # a complex step asks for a derivative, it brings no new data
            self._keep(self.running_mean.value, mean)
            self._keep(self.running_var.value, variance * (n / (n - 1)))
        self.save_for_backward(centred, inv_std)
        y = centred * (self.gamma.value * inv_std)[:, None]
        y += self.beta.value[:, None]
        return y

    def _by_running_statistics(self, x):
        scale = self.gamma.value / np.sqrt(self.running_var.value + self.eps)
        y = x * scale[:, None]
        y += (self.beta.value - self.running_mean.value * scale)[:, None]
        return y

    def _keep(self, running, new):
        running *= 1 - self.momentum
        running += self.momentum * new

    def backward(self, dy):  # (B, C, ...) -> (B, C, ...)
        centred, inv_std = self.pop_saved()  # (B, C, n / B), (C,)
        shape, dy = dy.shape, dy.reshape(centred.shape)
        n = len(dy) * dy.shape[2]
        dgamma = np.einsum("bcn,bcn->c", dy, centred) * inv_std
        dbeta = dy.sum(axis=(0, 2))
        self.gamma.grad += dgamma
        self.beta.grad += dbeta
        dx = centred  # nobody needs it any more: work in its memory
        dx *= (inv_std * dgamma / -n)[:, None]  # -x_hat mean(dy x_hat)
        dx += dy
        dx -= (dbeta / n)[:, None]
        dx *= (self.gamma.value * inv_std)[:, None]
        return dx.reshape(shape)


class GlobalLayerNorm(Layer):
    """Global layer normalisation (gLN), over channels and time: (B, C, T) -> (B, C, T).

        mean = 1/n sum_c,t x_ct        var = 1/n sum_c,t (x_ct - mean)^2        n = C T
        x_hat = (x - mean) / sqrt(var + eps)
        y_ct = gamma_c x_hat_ct + beta_c

    Each example for itself. It sees the future, so it is not for causal networks. The same as
    torch's GroupNorm with one group.

    Backward, with dx_hat = gamma dy and means over the example:

        dx = (dx_hat - mean(dx_hat) - x_hat mean(dx_hat x_hat)) / sqrt(var + eps)
        dgamma_c = sum_b,t dy x_hat        dbeta_c = sum_b,t dy

    gamma does not depend on t, so that sums over t of dy and dy x_hat serve both lines.

    Parameters
    ----------
    n_channels : C
    eps : added to the variance, inside the root
    dtype : of the parameters

    Attributes
    ----------
    gamma : Parameter (C,), ones at first; beta : Parameter (C,), zeros at first

    References
    ----------
    Luo & Mesgarani (2019), Conv-TasNet: surpassing ideal time-frequency magnitude masking for
    speech separation, IEEE/ACM TASLP 27(8), section II, equations of gLN.
    """

    def __init__(self, n_channels, eps=1e-8, dtype=np.float32):
        require_positive_integer("n_channels", n_channels)
        _require_eps(eps)
        self.gamma = Parameter(np.ones(n_channels, dtype))
        self.beta = Parameter(np.zeros(n_channels, dtype))
        self.eps = eps

    def forward(self, x):  # (B, C, T) -> (B, C, T)
        _require_frames(self, x)
        n = x.shape[1] * x.shape[2]
        centred = x - (x.sum(axis=2).sum(axis=1) / n)[:, None, None]
        variance = np.einsum("bct,bct->bc", centred, centred).sum(axis=1, keepdims=True) / n
        inv_std = 1 / np.sqrt(variance + self.eps)  # (B, 1)
        self.save_for_backward(centred, inv_std)
        y = centred * (inv_std * self.gamma.value)[:, :, None]
        y += self.beta.value[:, None]
        return y

    def backward(self, dy):  # (B, C, T) -> (B, C, T)
        centred, inv_std = self.pop_saved()  # (B, C, T), (B, 1)
        n = dy.shape[1] * dy.shape[2]
        gamma = self.gamma.value
        sums = dy.sum(axis=2)  # (B, C)
        products = np.einsum("bct,bct->bc", dy, centred) * inv_std
        self.gamma.grad += products.sum(axis=0)
        self.beta.grad += sums.sum(axis=0)
        along_one = (sums @ gamma)[:, None] / n  # (B, 1), mean(dx_hat)
        along_x_hat = (products @ gamma)[:, None] / n
        dx = centred  # nobody needs it any more: work in its memory
        dx *= (-(inv_std**2) * along_x_hat)[:, :, None]
        dx -= (inv_std * along_one)[:, :, None]
        dx += dy * (inv_std * gamma)[:, :, None]
        return dx


class CumulativeLayerNorm(Layer):
    """Cumulative layer normalisation (cLN), over channels and the past: (B, C, T) -> (B, C, T).

    Frame t is normalised by the mean and variance of all n_t = C t entries of frames 1 ... t:

        mean_t = 1/n_t sum_(s<=t) sum_c x_cs
        var_t  = 1/n_t sum_(s<=t) sum_c (x_cs - mean_t)^2
        x_hat_ct = (x_ct - mean_t) r_t        r_t = 1 / sqrt(var_t + eps)
        y_ct = gamma_c x_hat_ct + beta_c

    so no frame sees a later one, and a stream can be normalised while it arrives: `start`, `step`.
    The statistics settle as time goes on; the first frames are normalised by little.

    Forward. Everything is a cumulative sum over frames. The textbook form E x^2 - (E x)^2 would
    subtract two large numbers where the mean is large. Instead, a new frame of mean m_t adds the
    squares around its own mean, and those that come from its mean being another than the mean so
    far (Chan, Golub & LeVeque), terms that are never negative:

        n_t var_t = n_(t-1) var_(t-1) + sum_c (x_ct - m_t)^2 + C (t-1)/t (m_t - mean_(t-1))^2

    A running sum in float32 stops growing when it is 1e7 times as large as what is added. So what
    is summed over frames is float64, whatever x is; without channels, (B, T), it costs little.

    Backward. With dx_hat = gamma dy, what frame t wants from its statistics is

        dmean_t = -r_t sum_c dx_hat_ct
        dvar_t  = -r_t^2 / 2 sum_c dx_hat_ct x_hat_ct

    (mean_t inside var_t does not count: the deviations from a mean sum to 0). Entry x_cs is in the
    statistics of all t >= s, with slopes 1 / n_t of mean_t and 2 (x_cs - mean_t) / n_t of var_t. So
    the past collects from the future, in sums over t >= s: cumulative sums from the end.

        dx_cs = r_s dx_hat_cs + sum_(t>=s) [dmean_t + 2 dvar_t (x_cs - mean_t)] / n_t
              = r_s dx_hat_cs + (x_cs - mean_s) P_s + (Q_s + mean_s P_s)

        P_s = sum_(t>=s) 2 dvar_t / n_t        Q_s = sum_(t>=s) (dmean_t - 2 dvar_t mean_t) / n_t
        dgamma_c = sum_b,t dy x_hat            dbeta_c = sum_b,t dy

    Parameters
    ----------
    n_channels : C
    eps : added to the variance, inside the root
    dtype : of the parameters

    Attributes
    ----------
    gamma : Parameter (C,), ones at first; beta : Parameter (C,), zeros at first

    References
    ----------
    Luo & Mesgarani (2019), Conv-TasNet: surpassing ideal time-frequency magnitude masking for
    speech separation, IEEE/ACM TASLP 27(8), section II, equations of cLN. Chan, Golub & LeVeque
    (1983), Algorithms for computing the sample variance, The American Statistician 37(3).
    """

    def __init__(self, n_channels, eps=1e-8, dtype=np.float32):
        require_positive_integer("n_channels", n_channels)
        _require_eps(eps)
        self.gamma = Parameter(np.ones(n_channels, dtype))
        self.beta = Parameter(np.zeros(n_channels, dtype))
        self.eps = eps

    def forward(self, x):  # (B, C, T) -> (B, C, T)
        _require_frames(self, x)
        x_hat, mean, inv_std = self._normalise(x, self.start(len(x)))
        self.save_for_backward(x_hat, mean, inv_std)
        return self._scale(x_hat)

    def backward(self, dy):  # (B, C, T) -> (B, C, T)
        x_hat, mean, inv_std = self.pop_saved()  # (B, C, T), (B, T), (B, T)
        _, C, T = dy.shape
        gamma, product = self.gamma.value, dy * x_hat
        self.gamma.grad += product.sum(axis=(0, 2))
        self.beta.grad += dy.sum(axis=(0, 2))

        n = C * np.arange(1.0, T + 1)  # entries so far, (T,)
        dmean = -inv_std * (gamma @ dy)  # (B, T), float64 as inv_std is
        dvar = -0.5 * inv_std**2 * (gamma @ product)
        P = _sum_to_the_end(2 * dvar / n)
        Q = _sum_to_the_end((dmean - 2 * dvar * mean) / n)
        per_entry, per_frame = P / inv_std, Q + mean * P  # (x - mean) P = x_hat P / r

        dx = product  # nobody needs it any more: work in its memory
        np.multiply(dy, gamma[:, None], out=dx)
        dx *= _as_row(inv_std, dx)
        x_hat *= _as_row(per_entry, dx)
        dx += x_hat
        dx += _as_row(per_frame, dx)
        return dx

    # A stream, one piece after another -------------------------------------------------------

    def start(self, batch_size=1):
        """State of a stream before its first frame, for `step`: a dict of what is summed so far."""
        zeros = np.zeros(batch_size, np.result_type(self.gamma.value, np.float64))
        return {"n_frames": 0, "sum": zeros, "squares": zeros}

    def step(self, x, state):
        """Normalise the next frames of a stream: (B, C, n) -> (B, C, n).

        Piece by piece, of any lengths, the result is bit for bit that of `forward` on the whole,
        for arrays in C order; else up to rounding. `state`, from `start`, is brought up to date.
        """
        if self.training:
            raise CallOrderError("step is for evaluation: call eval() first")
        _require_frames(self, x)
        if len(state["sum"]) != len(x):
            raise ShapeError(f"state is of a batch of {len(state['sum'])}, got {x.shape}")
        return self._scale(self._normalise(x, state)[0])

    def _normalise(self, x, state):
        """Return x_hat (B, C, T), mean_t and r_t (B, T); bring the state up to date."""
        _, C, T = x.shape
        t = state["n_frames"] + np.arange(1.0, T + 1)
        frame_sum = _sum_of_channels(x)  # (B, T)
        frame_mean = frame_sum / C
        deviation = x - frame_mean[:, None].astype(x.dtype)
        within = _sum_of_channels(deviation * deviation)

        sums = _cumulative(state["sum"], frame_sum)  # (B, T + 1): up to the frame before, ...
        mean_before = sums[:, :-1] / (C * np.maximum(t - 1, 1))
        between = C * (t - 1) / t * (frame_mean - mean_before) ** 2
        squares = _cumulative(state["squares"], within + between)
        state.update(n_frames=state["n_frames"] + T, sum=sums[:, -1], squares=squares[:, -1])

        mean = sums[:, 1:] / (C * t)
        inv_std = 1 / np.sqrt(squares[:, 1:] / (C * t) + self.eps)
        x_hat = deviation  # nobody needs it any more: work in its memory
        np.subtract(x, _as_row(mean, x), out=x_hat)
        x_hat *= _as_row(inv_std, x)
        return x_hat, mean, inv_std

    def _scale(self, x_hat):
        y = x_hat * self.gamma.value[:, None]
        y += self.beta.value[:, None]
        return y


def _sum_of_channels(x):
    """(B, C, T) -> (B, T) in float64, or complex128."""
    T = x.shape[2]
    if T == 1:
        # NumPy adds the channels of a single frame in another order than those of many: a stream
        # of single frames would differ from the whole by rounding.
        x = np.repeat(x, 2, axis=2)
    return x.sum(axis=1, dtype=np.result_type(x, np.float64))[:, :T]


def _cumulative(start, x):
    """start, start + x_1, start + x_1 + x_2, ...: (B,) and (B, T) -> (B, T + 1)."""
    return np.cumsum(np.concatenate([start[:, None], x], axis=1), axis=1)


def _sum_to_the_end(x):
    """y_s = sum over t >= s of x_t: (B, T) -> (B, T)."""
    return np.cumsum(x[:, ::-1], axis=1)[:, ::-1]


def _as_row(v, x):
    """(B, T) to broadcast over the channels of x (B, C, T), in its dtype."""
    return v[:, None].astype(x.dtype)


def _require_eps(eps):
    if not eps > 0:
        raise ConfigError(f"eps must be positive, got {eps}")


def _require_frames(layer, x):
    """Raise unless x is (B, C, T), none of them 0, with C of the layer."""
    n_channels = layer.gamma.value.size
    if x.ndim != 3 or x.shape[1] != n_channels or x.size == 0:
        raise ShapeError(
            f"x of {type(layer).__name__} must have shape (batch, {n_channels}, frames), at least "
            f"one of each, got {x.shape}"
        )
