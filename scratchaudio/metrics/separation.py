"""How near is an estimate to the sound it should be? SNR and SI-SDR, SI-SIR and SI-SAR.

Call the waveform we wanted the reference s and the one we got the estimate e. What is wrong with
e is the difference, and the signal-to-noise ratio weighs its energy:

    SNR = 10 log10( |s|^2 / |e - s|^2 )                    |x|^2 = sum_n x[n]^2

It punishes loudness as if it were noise: e = 2 s, perfect but 6 dB too loud, has an SNR of 0 dB,
and an estimate that plays it safe and whispers gains. So the scale-invariant
signal-to-distortion ratio first asks how much of s there is in e. A waveform of N samples is an
arrow in N dimensions; drop a perpendicular from the tip of e onto the line along s:

                  e
                 /|
                / |
               /  |  residual  r = e - a s          a = <e, s> / |s|^2      <e, s> = sum e[n] s[n]
              /   |
             / phi|
            0-----+------> s                        SI-SDR = 10 log10( |a s|^2 / |r|^2 )
                 a s                                       = 20 log10 |cot phi|

Only the angle phi counts. A gain changes the length of e and of nothing else: it is free. A delay
is not: one sample turns a tone of f Hz by 2 pi f / sr, so at 16 kHz a perfect 1 kHz tone falls to
7.7 dB, and of white noise, each sample of which knows nothing of the next, on average 1/N of the
energy is left on the line (-42 dB for a second). Align before you measure.

When a mixture was taken apart, r has two causes, and we know the S sources that were mixed. What
of r lies in the plane (the span) of the other sources is interference: they are still heard. What
is at right angles to all sources belongs to none of them: artefacts, such as noise and clicks.

    r  =  r_interference  +  r_artefacts        |r|^2 = |r_interference|^2 + |r_artefacts|^2

    SI-SIR = 10 log10( |a s|^2 / |r_interference|^2 )
    SI-SAR = 10 log10( |a s|^2 / |r_artefacts|^2 )           1/SDR = 1/SIR + 1/SAR  without log

Nothing is added to the energies to avoid 0 / 0, since such an eps would cap a perfect score (1e-8
at some 80 dB) and make it depend on loudness. Where a ratio has no finite value it is told:

    inf    the residual is exactly 0: a perfect estimate
    -inf   nothing of the reference is in the estimate, for instance because that is silent
    nan    the reference is silent: there was nothing to find (use `np.nanmean` over recordings)

Legend: N samples; reference, estimate, mixture (..., N); one value for each waveform, (...);
S sources; references, estimates (S, N).

Source: Le Roux, Wisdom, Erdogan & Hershey (2019), SDR - half-baked or well done?, ICASSP.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment

from scratchaudio.errors import ShapeError, require_signal


def snr(reference, estimate):
    """Signal-to-noise ratio of an estimate: energy of the reference over that of the error.

        SNR = 10 log10( |s|^2 / |e - s|^2 )

    A wrong level counts as error: silence has 0 dB, and so has e = 2 s. (`dsp.level.snr` is the
    ratio in which a mixture was made; it takes the noise itself and skips pauses.)

    Parameters
    ----------
    reference : (..., N) the wanted waveform s
    estimate : (..., N) what was made of it, e

    Returns
    -------
    (...) dB, a float for one waveform; inf for a perfect estimate, nan for a silent reference

    Examples
    --------
    >>> s = np.array([1.0, -1.0, 1.0, -1.0])
    >>> round(snr(s, 0.9 * s), 9), snr(s, 2 * s), snr(s, s)
    (20.0, 0.0, inf)
    """
    reference, estimate = _require_same_shape(reference=reference, estimate=estimate)
    peak = np.maximum(_peak(reference), _peak(estimate))
    s, e = reference / peak, estimate / peak
    return _decibels(_energy(s), _energy(e - s), undefined=~s.any(axis=-1))


def si_sdr(reference, estimate, *, zero_mean=False):
    """Scale-invariant signal-to-distortion ratio: how far the estimate points away from s.

        a = <e, s> / |s|^2,    SI-SDR = 10 log10( |a s|^2 / |e - a s|^2 )

    The sign is free, too: -s is a perfect estimate. e = c s is perfect for every gain c, but
    unless c is a power of 2 its samples were rounded, and that shows: some 300 dB instead of inf.

    Parameters
    ----------
    reference : (..., N) the wanted waveform s
    estimate : (..., N) what was made of it, e
    zero_mean : subtract the mean of each first. A constant offset is inaudible but has energy:
        0.01 added to noise of power 0.5 costs everything above 37 dB unless it is taken out.
        False is the definition of the paper and of torchmetrics, True that of asteroid

    Returns
    -------
    (...) dB, a float for one waveform; inf for a perfect estimate, -inf for a silent one or one
    at right angles to s, nan for a silent reference (with zero_mean, for a constant one)

    References
    ----------
    Le Roux, Wisdom, Erdogan & Hershey (2019), SDR - half-baked or well done?, ICASSP, eq. 2-4.

    Examples
    --------
    An error at right angles to the reference, of a tenth of its length, whatever the gain:

    >>> s, error = np.array([1.0, 1.0, 1.0, 1.0]), np.array([0.1, -0.1, 0.1, -0.1])
    >>> round(si_sdr(s, s + error), 9), round(si_sdr(s, 5 * (s + error)), 9)
    (20.0, 20.0)
    """
    reference, estimate = _require_same_shape(reference=reference, estimate=estimate)
    # Scale is free here, so each gets a peak of 1: no square can overflow or vanish.
    s, e = reference / _peak(reference), estimate / _peak(estimate)
    if zero_mean:
        s, e = (x - x.mean(axis=-1, keepdims=True) for x in (s, e))
    target = _project(e, s)
    return _decibels(_energy(target), _energy(e - target), undefined=~s.any(axis=-1))


def snr_improvement(reference, estimate, mixture):
    """How much the SNR rose from the untouched mixture to the estimate.

    Parameters
    ----------
    reference : (..., N) the wanted waveform
    estimate : (..., N) what was made of the mixture
    mixture : (..., N) what there was to begin with

    Returns
    -------
    (...) dB, 0 for doing nothing; nan where reference is silent, or mixture and estimate are both
    perfect or both at -inf

    Examples
    --------
    >>> s, noise = np.array([1.0, 1.0, 1.0, 1.0]), np.array([1.0, -1.0, 1.0, -1.0])
    >>> round(snr_improvement(s, s + 0.1 * noise, s + noise), 9)
    20.0
    """
    before, after = snr(reference, mixture), snr(reference, estimate)
    return _rise(before, after)


def si_sdr_improvement(reference, estimate, mixture, *, zero_mean=False):
    """How much the SI-SDR rose from the untouched mixture to the estimate.

    Report this beside the SI-SDR: 10 dB is a triumph for a mixture at 0 dB and a loss for one at
    15 dB.

    Parameters
    ----------
    reference : (..., N) the wanted waveform
    estimate : (..., N) what was made of the mixture
    mixture : (..., N) what there was to begin with
    zero_mean : as in `si_sdr`

    Returns
    -------
    (...) dB, 0 for doing nothing; nan where reference is silent, or mixture and estimate are both
    perfect or both at -inf

    Examples
    --------
    >>> s, noise = np.array([1.0, 1.0, 1.0, 1.0]), np.array([1.0, -1.0, 1.0, -1.0])
    >>> round(si_sdr_improvement(s, s + 0.1 * noise, s + noise), 9)
    20.0
    """
    before = si_sdr(reference, mixture, zero_mean=zero_mean)
    after = si_sdr(reference, estimate, zero_mean=zero_mean)
    return _rise(before, after)


def si_bss(references, estimates, *, zero_mean=False):
    """SI-SDR of each source, and what it suffers from: interference (SI-SIR), artefacts (SI-SAR).

    Parameters
    ----------
    references : (S, N) all that was mixed
    estimates : (S, N) what was made of the mixture, in the order of the references: see
        `best_permutation`
    zero_mean : as in `si_sdr`

    Returns
    -------
    si_sdr, si_sir, si_sar : (S,) dB each; nan where the reference is silent, -inf where nothing
    of it is in the estimate. SI-SIR is inf for a single source; SI-SAR is some 300 dB, not inf,
    for a sum of references, whose gains are found only to the last bit

    References
    ----------
    Le Roux, Wisdom, Erdogan & Hershey (2019), SDR - half-baked or well done?, ICASSP, section 2.

    Examples
    --------
    A tenth of the other source is in the first estimate, and a hundredth of neither:

    >>> a, b = np.array([1.0, 1.0, 1.0, 1.0]), np.array([1.0, -1.0, 1.0, -1.0])
    >>> neither = np.array([1.0, 1.0, -1.0, -1.0])
    >>> si_sdr, si_sir, si_sar = si_bss(np.stack([a, b]), np.stack([a + b / 10 + neither / 100, b]))
    >>> print(si_sdr[0].round(2), si_sir[0].round(2), si_sar[0].round(2))
    19.96 20.0 40.0
    """
    references, estimates = _require_sources(references, estimates)
    references, estimates = (x / _peak(x) for x in (references, estimates))
    if zero_mean:
        references, estimates = (
            x - x.mean(axis=-1, keepdims=True) for x in (references, estimates)
        )
    target = _project(estimates, references)  # (S, N)
    residual = estimates - target
    interference = np.zeros_like(residual)
    for j, r in enumerate(residual):
        for direction in _other_directions(references, j):
            interference[j] += np.vdot(direction, r) * direction
    undefined = ~references.any(axis=-1)
    return tuple(
        _decibels(_energy(target), _energy(unwanted), undefined)
        for unwanted in (residual, interference, residual - interference)
    )


def best_permutation(references, estimates, metric=si_sdr):
    """Find out which estimate belongs to which reference.

    A separator may return the right sources in any order. Of all S! orders the one with the best
    mean is taken, found from the S^2 pairs without trying them all (the Hungarian algorithm).

    Parameters
    ----------
    references : (S, N) what was mixed
    estimates : (S, N) what was made of the mixture
    metric : function of (reference, estimate), greater is better

    Returns
    -------
    permutation : (S,) integers; estimates[permutation] come in the order of the references
    values : (S,) metric of each reference with its estimate

    Examples
    --------
    >>> s = np.eye(3)
    >>> permutation, values = best_permutation(s, s[[2, 0, 1]] + 0.1)
    >>> print(permutation, values.round(1))
    [1 2 0] [17.8 17.8 17.8]
    """
    references, estimates = _require_sources(references, estimates)
    values = np.array([[metric(s, e) for e in estimates] for s in references])  # (S, S)
    permutation = _best_assignment(values)
    return permutation, values[np.arange(len(values)), permutation]


def _best_assignment(values):
    """The column of each row that makes the sum greatest, every column used once; (S, S) -> (S,).

    inf is more, and -inf or nan less, than any sum of finite values can make good.
    """
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    beyond = len(values) * (high - low + 1)
    ranked = np.nan_to_num(values, nan=low - beyond, posinf=high + beyond, neginf=low - beyond)
    return linear_sum_assignment(ranked, maximize=True)[1]


def _other_directions(references, j):
    """Gram-Schmidt: the span of the other references at right angles to reference j, a basis.

    Each reference is stripped of all earlier directions; what remains is a new one.
    """
    basis = []
    for s in (references[j], *np.delete(references, j, axis=0)):
        new = s
        for _ in range(2):  # rounding leaves a little of what was stripped: once more
            for direction in basis:
                new = new - np.vdot(direction, new) * direction
        if np.linalg.norm(new) > 1e-12 * np.linalg.norm(s):  # else s is a sum of earlier ones
            basis.append(new / np.linalg.norm(new))
    return basis[1:]


def _project(e, s):
    """The part of e along s, a s with a = <e, s> / |s|^2; 0 where s is silent."""
    energy = _energy(s)
    a = np.vecdot(e, s) / np.where(energy > 0, energy, 1)
    return a[..., None] * s  # (..., N)


def _energy(x):
    """|x|^2 of each waveform (..., N) -> (...)."""
    return np.vecdot(x, x)


def _decibels(wanted, unwanted, undefined):
    """Ratio of two energies (...) in dB: inf and -inf where one of them is 0, without a warning."""
    with np.errstate(divide="ignore"):
        db = 10 * (np.log10(wanted) - np.log10(np.where(wanted > 0, unwanted, 1)))
    return _float_if_single(np.where(undefined, np.nan, db))


def _rise(before, after):
    with np.errstate(invalid="ignore"):  # inf - inf
        return _float_if_single(np.subtract(after, before))


def _float_if_single(values):
    return float(values) if values.ndim == 0 else values


def _peak(x):
    """Largest modulus of each waveform, (..., 1); 1 for silence, so that it can be divided by."""
    peak = np.abs(x).max(axis=-1, keepdims=True)
    return np.where(peak > 0, peak, 1)


def _require_same_shape(*, reference, estimate):
    """Return both in float64, in which sums over long recordings stay exact enough."""
    reference = require_signal("reference", reference)
    estimate = require_signal("estimate", estimate)
    if reference.shape != estimate.shape:
        raise ShapeError(
            f"reference and estimate must have one shape, got {reference.shape} and "
            f"{estimate.shape}; cut or pad one of them first"
        )
    return reference.astype(np.float64), estimate.astype(np.float64)


def _require_sources(references, estimates):
    """Return both in float64, (S, N)."""
    references = require_signal("references", references)
    estimates = require_signal("estimates", estimates)
    if references.ndim != 2 or estimates.shape != references.shape:
        raise ShapeError(
            f"references and estimates must be (S, N) and have one shape, got {references.shape} "
            f"and {estimates.shape}"
        )
    return references.astype(np.float64), estimates.astype(np.float64)
