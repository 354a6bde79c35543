"""Losses for networks that give out sound: what is compared, and with which of the sources.

As in `nn.losses`, each is a function `loss, dprediction = f(prediction, target)`, and dprediction =
dloss/dprediction is what `model.backward` takes. The mean squared error of samples punishes a wrong
loudness as if it were noise, and hardly hears soft high frequencies. So separators and vocoders
are trained with

    si_sdr_loss                  the angle between the two waveforms: loudness is free
    snr_loss                     the error beside the mixture: loudness counts, silence is allowed
    multi_resolution_stft_loss   magnitudes of three STFTs: phase is (almost) free, and so is which
                                 of time and frequency must be seen sharply
    permutation_invariant        any loss, where the order of the separated sources is free

A separator of two voices has no reason to put the one or the other first. Trained against a fixed
order it gets contrary gradients and learns the average of both voices; so every example is scored
with the order that suits it best.

Legend: N samples, F bins, T frames, S sources, B examples; e the prediction (the estimate), s the
target, |x|^2 = sum_n x[n]^2, <e, s> = sum_n e[n] s[n].
"""

import math

import numpy as np
from scipy.optimize import linear_sum_assignment

from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.nn.losses import _pair
from scratchaudio.nn.stft import STFT

# FFT size, hop and window, in samples: eq. 6 and table 1 of Yamamoto et al. (2020), for 24 kHz.
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))


def si_sdr_loss(prediction, target, zero_mean=True, eps=1e-8):
    """Scale-invariant signal-to-distortion ratio with a minus: mean of -SI-SDR in dB.

    The prediction e is split into its part along the target s and the residual at right angles,

        p = a s,   a = <e, s> / |s|^2,   r = e - p           |e|^2 = |p|^2 + |r|^2

    of which only the shares of the energy count, c = |p|^2 / |e|^2 and q = |r|^2 / |e|^2 = 1 - c
    (the squared cosine and sine of the angle between e and s):

        loss = -10 log10( (c + eps) / (q + eps) )            eps = 0: -SI-SDR = -10 log10(c / q)

    eps keeps the loss within 10 log10(1 / eps + 1), 80 dB: what is good enough pulls no more, and
    no input makes it infinite. Since c and q do not depend on loudness, neither does its effect.

    Backward. A step de adds 2 <p, de> to |p|^2 and 2 <r, de> to |r|^2. From c = |p|^2 / |e|^2
    follow dc = (2 / |e|^2) <q p - c r, de> and dq = -dc, so that

        de = -(20 / ln 10) / |e|^2 [ 1 / (c + eps) + 1 / (q + eps) ] (q p - c r)

    With eps = 0 that is -(20 / ln 10) (p / |p|^2 - r / |r|^2): more of what is right, less of what
    is wrong, each the more the rarer it is. It is at right angles to e, <e, de> = 0, as it must
    be where loudness is free. p and r have mean 0 if e and s have, so `zero_mean`, which subtracts
    the mean of e and s first, changes nothing in these lines.

    A silent target (constant, if zero_mean) has no direction: it counts as 0 dB in the mean and
    pulls nowhere, gradient 0. A silent prediction has the worst value, and gradient 0 as well,
    since no direction is better than another.

    Parameters
    ----------
    prediction : (..., N) e
    target : (..., N) s
    zero_mean : whether a constant offset is free, too. Take what the metric that you report takes:
        `metrics.si_sdr` has False by default
    eps : the smallest share of the energy that is told from none

    Returns
    -------
    loss : float, dB, mean over all leading axes
    dprediction : (..., N)

    References
    ----------
    Le Roux, Wisdom, Erdogan & Hershey (2019), SDR - half-baked or well done?, ICASSP, eq. 2-4; as
    a loss: Luo & Mesgarani (2019), Conv-TasNet, IEEE/ACM Trans. ASLP 27(8), section III.

    Examples
    --------
    >>> s, error = np.array([1.0, 1.0, -1.0, -1.0]), np.array([0.1, -0.1, 0.1, -0.1])
    >>> loss, dprediction = si_sdr_loss(s + error, s)
    >>> round(loss, 4)
    -20.0
    """
    if not eps > 0:
        raise ConfigError(f"eps must be positive, got {eps}")
    prediction, target = _waveforms(prediction, target)
    # Scale is free, so each row gets a peak of 1, and no square can overflow or vanish.
    peak = _peak(prediction)  # (..., 1)
    e, s = prediction / peak, target / _peak(target)
    if zero_mean:
        e, s = (x - x.mean(axis=-1, keepdims=True) for x in (e, s))

    target_energy = _dot(s, s)  # (..., 1)
    heard = target_energy != 0
    p = _dot(e, s) / np.where(heard, target_energy, 1) * s
    r = e - p
    p_energy, r_energy = _dot(p, p), _dot(r, r)
    energy = p_energy + r_energy
    silent = energy == 0
    energy = np.where(silent, 1, energy)
    c, q = p_energy / energy, np.where(silent, 1, r_energy / energy)
    loss = np.where(heard, -10 / math.log(10) * (np.log(c + eps) - np.log(q + eps)), 0)

    slope = -20 / math.log(10) / energy * (1 / (c + eps) + 1 / (q + eps))
    dprediction = slope * (q * p - c * r) / peak  # e was prediction / peak
    return loss.sum().item() / loss.size, dprediction / loss.size


def snr_loss(prediction, target, mixture, softening=1e-3):
    """The error that a separated source leaves, relative to the mixture, in dB.

        loss = mean of 10 log10( (|e - s|^2 + softening |x|^2) / |x|^2 )

    But for a constant it is minus the signal-to-noise ratio. Unlike SI-SDR it asks for the right
    loudness, so that mixture minus prediction is the rest of the mixture; and it has a meaning
    where the target is silent, as a voice is between two verses: then whatever comes out is error.
    The logarithm gives every example the same say, and the softening ends the reward at 30 dB
    below the mixture. Backward:

        de = 20 / ln 10 * (e - s) / (|e - s|^2 + softening |x|^2)

    A silent mixture counts as 0 dB, with gradient 0.

    Parameters
    ----------
    prediction : (..., N) e
    target : (..., N) s
    mixture : (..., N) x, in which s was
    softening : share of the mixture's energy

    Returns
    -------
    loss : float, dB, mean over all leading axes
    dprediction : (..., N)

    References
    ----------
    Wisdom et al. (2020), Unsupervised sound separation using mixture invariant training, NeurIPS,
    eq. 2, with the mixture's energy in the place of the target's.

    Examples
    --------
    >>> s, band = np.array([1.0, 1.0, -1.0, -1.0]), np.array([1.0, -1.0, 1.0, -1.0])
    >>> round(snr_loss(s + 0.1 * band, s, s + band, softening=1e-9)[0], 4)
    -23.0103
    """
    if not softening > 0:
        raise ConfigError(f"softening must be positive, got {softening}")
    prediction, target = _waveforms(prediction, target)
    mixture = np.asarray(mixture)
    if mixture.shape != prediction.shape:
        raise ShapeError(
            f"mixture must have the shape of prediction, {prediction.shape}, got {mixture.shape}"
        )
    mixture = mixture.astype(prediction.dtype, copy=False)
    peak = _peak(mixture)  # no square can overflow or vanish
    error = (prediction - target) / peak
    x = mixture / peak
    x_energy = _dot(x, x)  # (..., 1)
    heard = x_energy != 0
    x_energy = np.where(heard, x_energy, 1)
    left = np.where(heard, _dot(error, error) + softening * x_energy, 1)
    loss = np.where(heard, 10 / math.log(10) * np.log(left / x_energy), 0)
    slope = np.where(heard, 20 / math.log(10) / left, 0)
    return loss.sum().item() / loss.size, slope * error / peak / loss.size


def multi_resolution_stft_loss(prediction, target, resolutions=RESOLUTIONS, eps=1e-7):
    """Distance of magnitude spectrograms, mean over several resolutions.

    With the magnitudes A of the prediction and B of the target, (F, T) for each waveform,

        L_sc  = |A - B| / |B|                      spectral convergence: the loud bins
        L_mag = mean of | log A - log B |          the soft ones alike, in ratios
        loss  = mean over waveforms and resolutions of L_sc + L_mag

    where |A| = sqrt(sum A^2) over all bins and frames. A short window tells when and a long one
    which frequency; a prediction that is right for all three leaves little to be wrong, though no
    phase is compared. Magnitudes are A = sqrt(max(re^2 + im^2, eps)), so that log A is finite.

    Backward.

        dA = [ (A - B) / (|A - B| |B|)  +  sign(A - B) / (F T A) ] / (waveforms resolutions)
        dX = dA X / A,  0 where the floor eps acts;        dprediction = STFT^T dX, summed

    At A = B, where both terms have a kink, the gradient taken is 0.

    Parameters
    ----------
    prediction : (..., N)
    target : (..., N)
    resolutions : (n_fft, hop_length, win_length) of each STFT, in samples; Hann windows, centred
        frames, reflected ends
    eps : floor of the power of a bin

    Returns
    -------
    loss : float, 0 for equal magnitudes
    dprediction : (..., N)

    References
    ----------
    Yamamoto, Song & Kim (2020), Parallel WaveGAN, ICASSP, eq. 3-6. |A - B| / |B| is taken of each
    waveform, as there; some implementations take that of each frame, or of the whole batch.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((2, 4000))
    >>> multi_resolution_stft_loss(-x, x)[0]
    0.0
    """
    if not eps > 0:
        raise ConfigError(f"eps must be positive, got {eps}")
    if len(resolutions) == 0:
        raise ConfigError("resolutions must hold at least one (n_fft, hop_length, win_length)")
    prediction, target = _waveforms(prediction, target)
    loss, dprediction = 0.0, np.zeros_like(prediction)
    for n_fft, hop_length, win_length in resolutions:
        stft = STFT(n_fft, hop_length, win_length, pad_mode="reflect")
        Y = stft.forward(target)  # (..., 2, F, T)
        X = stft.forward(prediction)  # the last forward: backward belongs to it
        loss_here, dX = _magnitude_loss(X, Y, eps)
        loss += loss_here / len(resolutions)
        dprediction += stft.backward(dX)
    dprediction /= len(resolutions)
    return loss, dprediction


def _magnitude_loss(X, Y, eps):
    """L_sc + L_mag of one resolution, mean over waveforms; its gradient by X, (..., 2, F, T)."""
    bins = (-2, -1)
    A_power, B_power = _floored_power(X, eps), _floored_power(Y, eps)  # (..., F, T)
    A, B = np.sqrt(A_power), np.sqrt(B_power)
    error = A - B
    distance = np.sqrt((error * error).sum(axis=bins, keepdims=True))  # (..., 1, 1)
    size = np.sqrt(B_power.sum(axis=bins, keepdims=True))
    convergence = distance / size
    sign = np.sign(error.real)
    log_ratio = sign * np.log(A_power / B_power) / 2  # |log A - log B| with one logarithm
    n_waveforms, n_bins = distance.size, A.size // distance.size

    loss = convergence.sum().item() / n_waveforms + log_ratio.sum().item() / A.size
    dA = error / np.where(distance == 0, 1, distance * size * n_waveforms)
    dA += sign / (A * (n_bins * n_waveforms))
    slope = dA / A * (A_power > eps)
    return loss, slope[..., np.newaxis, :, :] * X


def permutation_invariant(loss_function, prediction, target):
    """Loss of separated sources, with the order of each example that makes it least.

        loss = 1/(B S) sum_b min over permutations pi of sum_s loss_function(e[b, pi(s)], s[b, s])

    The S^2 losses of all pairs are computed, and of the S! ways to pair each prediction with one
    target the best is found without trying them all (the Hungarian algorithm). One order holds for
    the whole of an example: a voice must not change its place halfway (utterance-level PIT).

    Backward. The best order changes only where two are equally good; everywhere else it is constant
    and the gradient is that of the pairs which were chosen.

    Parameters
    ----------
    loss_function : function of (prediction, target) of one source, (N,) each, that returns
        (loss, dprediction), such as `si_sdr_loss`, `l1` or `multi_resolution_stft_loss`; to set
        options, pass a function that sets them
    prediction : (B, S, N) sources in any order; more axes than N may follow
    target : (B, S, N)

    Returns
    -------
    loss : float, mean over examples and sources
    dprediction : (B, S, N)

    See Also
    --------
    best_order : the permutations themselves

    References
    ----------
    Kolbaek, Yu, Tan & Jensen (2017), Multitalker speech separation with utterance-level permutation
    invariant training of deep recurrent neural networks, IEEE/ACM Trans. ASLP 25(10), section IV.

    Examples
    --------
    >>> voices = np.random.default_rng(0).standard_normal((4, 2, 100))
    >>> loss, dprediction = permutation_invariant(si_sdr_loss, voices[:, ::-1], voices)
    >>> round(loss)
    -80
    """
    prediction, target = _sources(prediction, target)
    loss, dprediction = 0.0, np.empty_like(prediction)
    for b in range(len(prediction)):
        losses, gradients = _all_pairs(loss_function, prediction[b], target[b], b)
        for s, i in enumerate(_best_order(losses)):
            loss += losses[i, s].item()
            dprediction[b, i] = gradients[i][s]
    B, S = prediction.shape[:2]
    return loss / (B * S), dprediction / (B * S)


def best_order(loss_function, prediction, target):
    """Which prediction belongs to which target: the orders that `permutation_invariant` takes.

    Parameters
    ----------
    loss_function, prediction, target : as there

    Returns
    -------
    (B, S) integers; prediction[b][order[b]] come in the order of target[b]

    Examples
    --------
    >>> voices = np.random.default_rng(0).standard_normal((1, 3, 100))
    >>> best_order(si_sdr_loss, voices[:, [2, 0, 1]], voices)
    array([[1, 2, 0]])
    """
    prediction, target = _sources(prediction, target)
    pairs = [
        _all_pairs(loss_function, e, s, b)
        for b, (e, s) in enumerate(zip(prediction, target, strict=True))
    ]
    return np.stack([_best_order(losses) for losses, _ in pairs])


# What the losses share ---------------------------------------------------------------------------


def _all_pairs(loss_function, e, s, b):
    """Losses (S, S) of each prediction with each target of example b, and their gradients."""
    pairs = [[loss_function(prediction, target) for target in s] for prediction in e]
    losses = np.array([[loss for loss, _ in row] for row in pairs])
    if not np.isfinite(losses).all():
        i, j = np.argwhere(~np.isfinite(losses))[0]
        raise ShapeError(
            f"loss_function must give finite numbers, but that of prediction[{b}, {i}] with "
            f"target[{b}, {j}] is {losses[i, j]}"
        )
    return losses, [[gradient for _, gradient in row] for row in pairs]


def _best_order(losses):
    """For each target the prediction that makes the sum least, (S, S) -> (S,)."""
    return linear_sum_assignment(losses.real.T)[1]


def _floored_power(X, eps):
    """re^2 + im^2, at least eps; (..., 2, F, T) -> (..., F, T)."""
    re, im = X[..., 0, :, :], X[..., 1, :, :]
    return np.maximum(re * re + im * im, eps)


def _dot(x, y):
    """<x, y> of each waveform, (..., 1). Not np.vecdot, which conjugates a complex step."""
    return (x * y).sum(axis=-1, keepdims=True)


def _peak(x):
    """Largest modulus of each waveform, (..., 1); 1 for silence, so that it can be divided by."""
    peak = np.abs(x.real).max(axis=-1, keepdims=True)
    return np.where(peak > 1000 * float(np.finfo(x.dtype).tiny), peak, 1)  # else 1 / peak overflows


def _waveforms(prediction, target):
    """Both as arrays of one shape (..., N) and dtype."""
    prediction, target, _ = _pair("prediction", prediction, target, mask=None)
    if prediction.ndim == 0:
        raise ShapeError("prediction must be waveforms (..., N), got a single number")
    return prediction, target


def _sources(prediction, target):
    """Both as arrays of one shape (B, S, N, ...) and dtype."""
    prediction, target, _ = _pair("prediction", prediction, target, mask=None)
    if prediction.ndim < 3:
        raise ShapeError(f"prediction must be sources (B, S, N), got shape {prediction.shape}")
    return prediction, target
