"""How well was a mixture taken apart? BSS Eval, versions 3 and 4: SDR, ISR, SIR and SAR.

`separation.si_bss` forgives an estimate its gain. A room or a microphone does more: it filters.
BSS Eval forgives all that a filter of L = 512 taps can do, such as a delay of up to 511 samples
(though not coming too early) or a change of colour, and tells where the rest comes from. With e
the estimate and s its reference, take the sums of filtered references that come nearest to e:

    own      made from s alone             every      made from all references together

    e  =  s  +  (own - s)  +  (every - own)  +  (e - every)
                distortion    interference      artefacts: in no source, filtered or not

The ratios of energies, in dB, have two readings. "Images" asks for s as it was. For "sources" any
filtered s will do: own is the target, and an estimate that lost its treble can be perfect.

           images                       sources
    SDR    |s|^2 / |e - s|^2            |own|^2 / |e - own|^2      all that is wrong
    ISR    |s|^2 / |own - s|^2          -                          level, delay, colour, place
    SIR    |own|^2 / |every - own|^2    the same                   other sources, still heard
    SAR    |every|^2 / |e - every|^2    the same                   noise, musical tones, clicks

(The SDR of images is `separation.snr` over all channels; no filter is left in it.) Version 3 fits
the filters to the very stretch that it measures. Version 4 fits them once, to the whole recording,
measures frames of a second or so, and quotes the median over frames. The same sounds differ by
decibels from reading to reading and version to version: state yours, compare like with like.

The filters are found by least squares. Call reference i, delayed by a samples, r_i,a. Then

    own = sum over a of h[a] r_i,a    where   G h = d,  G[a, b] = <r_i,a, r_i,b>,  d[a] = <r_i,a, e>

and so with all i side by side for every, and with all channels of a source, since each channel of
e may take what it needs from each channel of the references.

nan stands where there is nothing to measure: for a reference that is silent throughout, whatever
its estimate, and for a silent estimate. The other sources are measured as if that reference were
not there. inf and -inf mean what they mean in separation.py; but a filter is found only to the
last bit, so that a perfect estimate has SIR, SAR (and in "sources" SDR) of some 250 dB, not inf.
Where the references have bands empty to the last bit, filters blow these up to imitate any noise:
SIR and SAR then depend on rounding, here as in every implementation.

Legend: S sources, N samples, C channels, T frames, L taps, F bins; K = S C reference channels; P
pairs of a reference and an estimate; references, estimates (S, N) or, as in mir_eval, (S, N, C).

Sources: Vincent, Gribonval & Fevotte (2006), Performance measurement in blind audio source
separation, IEEE TASLP 14(4), section III; for version 4 Stoter, Liutkus & Ito (2018), The 2018
signal separation evaluation campaign, LVA/ICA.
"""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import LinAlgError, cho_factor, cho_solve, toeplitz

from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer, require_signal
from scratchaudio.metrics.separation import _best_assignment, _decibels, _energy, _rise

BLOCK = 8192  # samples at a time: what is computed on the way stays in the cache
EPS = np.finfo(np.float64).eps


def bss_eval_sources(references, estimates, compute_permutation=True):
    """SDR, SIR and SAR of version 3, with any filtered reference as the target.

    Parameters
    ----------
    references : (S, N) or (S, N, C) what was mixed
    estimates : the same shape, what was made of the mixture
    compute_permutation : find out which estimate belongs to which reference, by the best mean
        SIR; False takes them in the order in which they come

    Returns
    -------
    sdr, sir, sar : (S,) dB, in the order of the references
    permutation : (S,) estimates[permutation] come in the order of the references

    References
    ----------
    Vincent, Gribonval & Fevotte (2006), section III.B; values as of mir_eval.separation.

    Examples
    --------
    Two noises change places, and each is left with a tenth (-20 dB) of the other one:

    >>> a, b = np.random.default_rng(0).standard_normal((2, 20000))
    >>> sdr, sir, sar, permutation = bss_eval_sources(np.stack([a, b]), np.stack([b, a + 0.1 * b]))
    >>> print(permutation, sir[0].round(1), sar.min() > 250)
    [1 0] 20.0 True
    """
    sdr, _, sir, sar, permutation = bss_eval(
        references,
        estimates,
        compute_permutation=compute_permutation,
        bsseval_sources_version=True,
    )
    return sdr[:, 0], sir[:, 0], sar[:, 0], permutation


def bss_eval_images(references, estimates, compute_permutation=True):
    """SDR, ISR, SIR and SAR of version 3, with the reference itself as the target.

    Parameters
    ----------
    references, estimates, compute_permutation : as in `bss_eval_sources`

    Returns
    -------
    sdr, isr, sir, sar : (S,) dB, in the order of the references
    permutation : (S,) estimates[permutation] come in the order of the references
    """
    *ratios, permutation = bss_eval(references, estimates, compute_permutation=compute_permutation)
    return (*(ratio[:, 0] for ratio in ratios), permutation)


def bss_eval(
    references,
    estimates,
    window=None,
    hop=None,
    *,
    compute_permutation=False,
    filters_len=512,
    framewise_filters=False,
    bsseval_sources_version=False,
):
    """Version 4: filters for the whole recording, ratios for each frame of it.

    A frame is nan for all sources when one of them is silent in it (but not throughout): its
    ratio does not exist there, and an average must be of the same frames for each.

    Parameters
    ----------
    references : (S, N) or (S, N, C) what was mixed
    estimates : the same shape, what was made of the mixture
    window : samples in a frame, usually a second; a last frame that is not full is left out. None
        (or more than there are) for one frame of all samples, which is version 3
    hop : samples from frame to frame, None for window
    compute_permutation : find which estimate belongs to which reference by the best mean SIR over
        all frames: one order for the whole recording
    filters_len : L
    framewise_filters : fit the filters to each frame anew, as version 3 does
    bsseval_sources_version : True for the ratios of "sources", whose ISR is nan; False for those
        of "images", as campaigns use them

    Returns
    -------
    sdr, isr, sir, sar : (S, T) dB, in the order of the references
    permutation : (S,) estimates[permutation] come in the order of the references

    References
    ----------
    Stoter, Liutkus & Ito (2018), section 3; values as of museval.
    """
    r, e = _require_pair(references, estimates)
    starts, window = _frames(r.shape[-1], window, hop)
    require_positive_integer("filters_len", filters_len)
    S, T = len(r), len(starts)
    order = np.arange(S)
    pairs = j, k = np.indices((S, S)).reshape(2, -1) if compute_permutation else (order, order)

    r_sounds, e_sounds = sounds = _sounds(r, e)
    undefined = ~(r_sounds[j] & e_sounds[k])
    alone = r_sounds.sum() - r_sounds[j] == 0
    filters = None if framewise_filters else _fit_filters(r, e, pairs, filters_len)
    ratios = np.full((4, S, S, T), np.nan)  # of reference j and estimate k
    measured = []
    for t, start in enumerate(starts):
        r_t, e_t = (x[..., start : start + window] for x in (r, e))
        if (_sounds(r_t, e_t) == sounds).all():
            fitted = _fit_filters(r_t, e_t, pairs, filters_len) if framewise_filters else filters
            wanted, unwanted = _energies(r_t, e_t, pairs, fitted, bsseval_sources_version)
            unwanted[2, alone] = 0  # nobody else sounds: let no rounding error interfere
            ratios[:, j, k, t] = _decibels(wanted, unwanted, undefined)
            measured.append(t)
    if bsseval_sources_version:
        ratios[1] = np.nan

    permutation = order
    if compute_permutation and measured:
        with np.errstate(invalid="ignore"):  # inf - inf
            permutation = _best_assignment(ratios[2][..., measured].mean(axis=-1))
    return (*ratios[:, order, permutation], permutation)


def median_over_frames(ratios):
    """The middle one of the frames that could be measured, by which version 4 is quoted.

    The mean would hang on a few frames in which a source all but pauses. For a whole collection
    take the median of these medians over its recordings.

    Parameters
    ----------
    ratios : (..., T) dB, nan where a frame could not be measured

    Returns
    -------
    (...) dB, nan where no frame could be measured

    Examples
    --------
    >>> print(median_over_frames(np.array([[3.0, np.nan, 7.0, 4.0], [np.nan] * 4])))
    [ 4. nan]
    """
    ratios = np.asarray(ratios)
    medians = np.full(ratios.shape[:-1], np.nan)
    measured = ~np.isnan(ratios).all(axis=-1)
    medians[measured] = np.nanmedian(ratios[measured], axis=-1)
    return medians


def sdr_improvement(references, estimates, mixture):
    """How much the SDR of "sources" rose from the untouched mixture to the estimates.

    Parameters
    ----------
    references : (S, N) or (S, N, C) what was mixed
    estimates : the same shape, in the same order
    mixture : (N,) or (N, C) what there was to begin with

    Returns
    -------
    (S,) dB, 0 for doing nothing
    """
    mixture = require_signal("mixture", mixture)
    if mixture.shape != np.shape(references)[1:]:
        raise ShapeError(
            f"mixture must be like one reference, {np.shape(references)[1:]}, got {mixture.shape}"
        )
    mixtures = np.stack([mixture] * len(references))
    after, before = (
        bss_eval_sources(references, e, compute_permutation=False)[0] for e in (estimates, mixtures)
    )
    return _rise(before, after)


# Filters by least squares ---------------------------------------------------------------------


def _fit_filters(r, e, pairs, L):
    """For own (P, C, C, L) and every (S, C, S, C, L), each from channel ... to channel, tap."""
    S, C, N = r.shape
    K = S * C
    R = _correlations(r.reshape(K, N), np.concatenate([r, e]).reshape(2 * K, N), L)  # (K, 2K, L)
    # The gain of a reference is free, so each gets norm 1: loud and soft ones count alike below.
    norm = np.sqrt(R[np.arange(K), np.arange(K), 0])
    norm[norm == 0] = 1
    R /= norm[:, None, None]
    R[:, :K] /= norm[:, None]
    d = R[:, K:].swapaxes(1, 2).reshape(S, C * L, K)  # every e at once: G is the same for all
    sources = np.arange(K).reshape(S, C)  # its channels, for each
    own = np.stack([_solve(R[np.ix_(c, c)], d[j]) for j, c in enumerate(sources)])
    every = _solve(R[:, :K], d.reshape(K * L, K))
    own, every = (
        np.moveaxis(h.reshape(S, C, L, S, C), 2, -1) / norm.reshape(S, C, 1, 1, 1)
        for h in (own, every)
    )
    j, k = pairs
    return own[j, :, k], every


def _correlations(x, y, L):
    """R[i, j, a] = sum over n of x_i[n] y_j[n + a] for 0 <= a < L, from (I, N), (J, N)."""
    n_fft = _block_length(x.shape[-1], L)
    step = n_fft - L + 1
    total = 0
    for start in range(0, x.shape[-1], step):
        X = rfft(x[:, start : start + step], n_fft)
        Y = rfft(y[:, start : start + n_fft], n_fft)  # reaches L - 1 samples further than x
        # Correlation is a product of spectra, and spectra may be added up before they are turned
        # back: each signal is transformed once, and there is one inverse for each pair.
        total = total + X.conj()[:, None] * Y  # (I, J, F)
    return irfft(total, n_fft)[..., :L]


def _solve(R, d):
    """Find h in G h = d, both (K L, ...), where G consists of the correlations R (K, K, L).

    <r_i,a, r_j,b> depends on a - b only: G is K x K Toeplitz blocks, with constant diagonals, and
    no products are left to be summed. (Levinson's recursion could solve it in even fewer steps, but
    goes astray without a word where G is almost singular. Cholesky's factors then fail aloud.)

    Silent, equal and band-limited references make G singular: many h give the same sound. Next to
    nothing on its diagonal picks a small one; how much it takes to outweigh rounding is tried out.
    """
    K = len(R)
    G = np.block([[toeplitz(R[i, j], R[j, i]) for j in range(K)] for i in range(K)])
    ridge = EPS
    while True:
        G.flat[:: len(G) + 1] += ridge
        try:
            return cho_solve(cho_factor(G, lower=True), d)
        except LinAlgError:
            ridge *= 100


# Energies of the parts ------------------------------------------------------------------------


def _energies(r, e, pairs, filters, sources_version):
    """What is wanted and unwanted in SDR, ISR, SIR, SAR: (2, 4, P).

    |own|^2 = d . h would do without waveforms. But |e - own|^2 is then a small difference of large
    numbers, without a digit left from 150 dB on. Filtering anew keeps 300 dB.
    """
    j, k = pairs
    S, C, N = r.shape
    L = filters[0].shape[-1]
    n_fft = _block_length(N, L)
    step = n_fft - L + 1
    own_H, every_H = (rfft(h, n_fft) for h in filters)
    blocks = -(-(N + L - 1) // step)
    after = blocks * step - N
    r, e = (np.pad(x, [(0, 0), (0, 0), (L - 1, after)]) for x in (r, e))
    energies = 0
    for start in range(0, blocks * step, step):
        R = rfft(r[..., start : start + n_fft])  # (S, C, F)
        # A product of spectra filters in a circle. The first L - 1 samples hear the end of the
        # block instead of the samples before it and are thrown away; the others are right.
        own = irfft(np.einsum("pif,piof->pof", R[j], own_H), n_fft)[..., L - 1 :]
        every = irfft(np.einsum("sif,sikof->kof", R, every_H), n_fft)[k, :, L - 1 :]
        now = slice(start + L - 1, start + n_fft)
        true, estimate = r[j, :, now], e[k, :, now]  # (P, C, step), like own and every
        target = own if sources_version else true
        parts = (
            (target, target, own, every),
            (estimate - target, own - target, every - own, estimate - every),
        )
        energies = energies + np.array([[_energy(x).sum(axis=-1) for x in p] for p in parts])
    return energies


def _block_length(N, L):
    return next_fast_len(min(max(BLOCK, 4 * L), N + L - 1), real=True)


# Checks ---------------------------------------------------------------------------------------


def _sounds(r, e):
    """Which references and which estimates are not silent, (2, S)."""
    return np.stack([x.any(axis=(1, 2)) for x in (r, e)])


def _frames(N, window, hop):
    """Where frames start, and how long they are."""
    if window is None:
        if hop is not None:
            raise ConfigError(f"hop must be None as window is, got {hop!r}; frames need a window")
        return [0], N
    hop = window if hop is None else hop
    require_positive_integer("window", window)
    require_positive_integer("hop", hop)
    return range(0, max(N - window, 0) + 1, hop), window


def _require_pair(references, estimates):
    """Return both as (S, C, N) in float64 with a common peak of 1, so that no square overflows."""
    references = require_signal("references", references)
    estimates = require_signal("estimates", estimates)
    if references.ndim not in (2, 3) or estimates.shape != references.shape:
        raise ShapeError(
            f"references and estimates must be (S, N) or (S, N, C) and have one shape, got "
            f"{references.shape} and {estimates.shape}"
        )
    if references.ndim == 3 and references.shape[1] < references.shape[2]:
        raise ShapeError(
            f"references must be (S, N, C), channels last, got {references.shape} with more "
            f"channels than samples; use np.swapaxes(references, 1, 2)"
        )
    peak = max(np.abs(references).max(), np.abs(estimates).max()) or 1
    r, e = (np.atleast_3d(x).swapaxes(1, 2) for x in (references, estimates))
    return tuple(np.ascontiguousarray(x, np.float64) / float(peak) for x in (r, e))
