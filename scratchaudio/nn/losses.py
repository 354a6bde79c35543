"""Losses: one number to make small, and its gradient with respect to the prediction.

Each is a function `loss, dprediction = f(prediction, target, mask=None)`: `loss` is a Python
number, the mean of the loss of all valid entries, and dprediction = dloss/dprediction, of the
prediction's shape and dtype, is what `model.backward` takes.

`mask` is True where an entry counts, False where it is padding; it broadcasts (NumPy's rule, from
the last axis) to the entries over which the mean is taken. Entries masked out have no influence,
whatever they hold, and get gradient 0: mean over n valid entries, so gradient 1 / n each.

The two losses for classes take *logits*, any real numbers, not probabilities: with sigma or
softmax inside, exp and log cancel, nothing overflows or becomes log(0), and the gradient is
simply probability minus target.

Legend: K classes; x a logit, t its target.
"""

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.nn.activations import log_softmax, sigmoid, softplus


def mse(prediction, target, mask=None):
    """Mean squared error, mean of (prediction - target)^2.

    Parameters
    ----------
    prediction : (...) any shape
    target : (...) of the same shape; nothing is broadcast
    mask : booleans that broadcast to the shape of `prediction`, True where an entry counts

    Returns
    -------
    loss : float
    dprediction : (...) 2 (prediction - target) / n
    """
    prediction, target, valid = _pair("prediction", prediction, target, mask)
    error = prediction - target
    return _mean(error * error, 2 * error, valid)


def l1(prediction, target, mask=None):
    """Mean absolute error, mean of |prediction - target|.

    A large error counts no more than its size, where the square of `mse` lets a few outliers rule;
    and a small one pulls as hard as a large one. At 0, the kink, the gradient taken is 0.

    Parameters
    ----------
    prediction : (...) any shape
    target : (...) of the same shape; nothing is broadcast
    mask : booleans that broadcast to the shape of `prediction`, True where an entry counts

    Returns
    -------
    loss : float
    dprediction : (...) sign(prediction - target) / n
    """
    prediction, target, valid = _pair("prediction", prediction, target, mask)
    error = prediction - target
    sign = np.sign(error.real)
    return _mean(sign * error, sign, valid)


def bce_with_logits(logits, target, mask=None, pos_weight=1.0):
    """Binary cross-entropy of probabilities sigma(logits): torch's, with its name.

        loss = mean of -[ pos_weight t log sigma(x) + (1 - t) log(1 - sigma(x)) ]
             = mean of    pos_weight t softplus(-x) + (1 - t) softplus(x)

    and since softplus' = sigma, with pos_weight = 1 the gradient is sigma(x) - t, over n.

    Parameters
    ----------
    logits : (...) any shape
    target : (...) of the same shape, in 0..1 or boolean
    mask : booleans that broadcast to the shape of `logits`, True where an entry counts
    pos_weight : how much more a positive counts; negatives / positives evens out rare positives

    Returns
    -------
    loss : float
    dlogits : (...)
    """
    if not pos_weight > 0:
        raise ConfigError(f"pos_weight must be positive, got {pos_weight}")
    x, t, valid = _pair("logits", logits, target, mask)
    outside = ~((t.real >= 0) & (t.real <= 1))
    if outside.any():
        where, value = _first(outside, t.real)
        raise ShapeError(f"target must lie in 0..1, but target[{where}] is {value}")
    positive, negative = pos_weight * t, 1 - t
    loss = positive * softplus(-x) + negative * softplus(x)
    return _mean(loss, negative * sigmoid(x) - positive * sigmoid(-x), valid)


def cross_entropy(logits, labels, mask=None, label_smoothing=0.0):
    """Cross-entropy of the probabilities p = softmax(logits) with one right class each.

        loss = mean of -sum_k q_k log p_k,      q_k = 1 at the label, 0 elsewhere

    Its gradient is p - q, over n. Label smoothing takes a share s of q's 1 and spreads it over all
    K classes, so that the logits need not grow without end: q = (1 - s) onehot + s / K.

    Parameters
    ----------
    logits : (..., K)
    labels : (...) integers in 0..K-1
    mask : booleans that broadcast to the shape of `labels`, True where an entry counts
    label_smoothing : s

    Returns
    -------
    loss : float
    dlogits : (..., K)

    References
    ----------
    Label smoothing: Szegedy et al. (2016), Rethinking the Inception architecture, section 7.
    """
    if not 0 <= label_smoothing < 1:
        raise ConfigError(f"label_smoothing must lie in 0..1 (1 excluded), got {label_smoothing}")
    logits, labels = _floating("logits", logits), np.asarray(labels)
    if logits.ndim == 0 or labels.shape != logits.shape[:-1]:
        raise ShapeError(
            f"labels must have the shape of logits without its last axis (the classes), "
            f"got labels {labels.shape} for logits {logits.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ShapeError(f"labels must be integers, the index of each class, got {labels.dtype}")
    K = logits.shape[-1]
    valid = _valid(mask, labels.shape)
    outside = ((labels < 0) | (labels >= K)) & valid
    if outside.any():
        where, value = _first(outside, labels)
        raise ShapeError(f"labels must lie in 0..{K - 1}, but labels[{where}] is {value}")

    labels = np.where(valid, labels, 0)[..., None]  # what padding holds may be no class
    log_p = log_softmax(np.where(valid[..., None], logits, 0))  # (..., K)
    loss = -np.take_along_axis(log_p, labels, axis=-1)[..., 0]
    dlogits = np.exp(log_p)
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * log_p.mean(axis=-1)
        dlogits -= label_smoothing / K
    at_label = np.take_along_axis(dlogits, labels, axis=-1)
    np.put_along_axis(dlogits, labels, at_label - (1 - label_smoothing), axis=-1)
    return _mean(loss, dlogits, valid)


# What the losses share ---------------------------------------------------------------------------


def _mean(loss, gradient, valid):
    """Mean of `loss` over the valid entries, and `gradient` of each entry turned into the mean's.

    `gradient` has the axes of `loss`, and may have one more: the classes.
    """
    n = int(np.count_nonzero(valid))  # an np.int64 would turn float32 into float64
    if n < valid.size:
        loss = np.where(valid, loss, 0)
        gradient = np.where(
            valid.reshape(valid.shape + (1,) * (gradient.ndim - valid.ndim)), gradient, 0
        )
    return loss.sum().item() / n, gradient / n


def _valid(mask, shape):
    """Broadcast the mask to `shape`; raise unless it is boolean, fits and leaves an entry."""
    if 0 in shape:
        raise ShapeError(f"a loss needs at least one entry, got shape {shape}")
    if mask is None:
        return np.broadcast_to(True, shape)
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise ShapeError(f"mask must be boolean (True where an entry counts), got {mask.dtype}")
    try:
        valid = np.broadcast_to(mask, shape)
    except ValueError:
        raise ShapeError(
            f"mask of shape {mask.shape} does not broadcast to {shape}; to mask whole rows of the "
            f"last axis pass mask[..., None]"
        ) from None
    if not valid.any():
        raise ShapeError("mask leaves no valid entry: the mean over none is not defined")
    return valid


def _floating(name, x):
    """`x` as an array; raise unless it is of a floating (or, in gradient checks, complex) type."""
    x = np.asarray(x)
    if not np.issubdtype(x.dtype, np.inexact):
        raise ShapeError(f"{name} must be floating-point numbers, got dtype {x.dtype}")
    return x


def _pair(name, prediction, target, mask):
    """Both as arrays of one shape and dtype, with 0 in the padding; and which entries are valid."""
    prediction, target = _floating(name, prediction), np.asarray(target)
    if prediction.shape != target.shape:
        raise ShapeError(
            f"target must have the shape of {name}, got target {target.shape} for {name} "
            f"{prediction.shape}"
        )
    valid = _valid(mask, prediction.shape)
    target = target.astype(prediction.dtype, copy=False)
    if mask is not None:  # inf - inf in the padding would warn
        prediction, target = np.where(valid, prediction, 0), np.where(valid, target, 0)
    return prediction, target, valid


def _first(bad, values):
    """Index, as text, and value of the first entry marked in `bad`."""
    index = tuple(np.argwhere(bad)[0])
    return ", ".join(str(i) for i in index), values[index]
