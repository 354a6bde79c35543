"""Which component belongs to which source? A factorisation does not say, so one must ask.

`nmf` explains a song by some dozens of spectra, in no order. "The first half of them is the voice"
is a coin tossed K times. But each component can be looked at and listened to, and has properties
that tell voices from bands:

    position    a singer stands in the middle. With the spectrograms of left and right laid above
                each other, V (2F, T), each component has a spectrum for either side, and from their
                powers follows where it stands: -1 left ... 1 right
    low, high   share of its power below 200 Hz, where bass and bass drum are, and above 5 kHz,
                where cymbals are
    flatness    geometric over arithmetic mean of its spectrum in between: near 0 for the few lines
                of a sung or played note, towards 1 for the noise of a drum
    attack      share of its changes that are rises, in squares: what is struck or plucked starts at
                once and dies slowly, and lies above 1/2. A voice grows as fast as it fades

`voice_likeness` asks for all of them. It knows singing no better than that: a flute in the middle
is a voice to it. What has learned from voices knows more, see `models.nmf_separator`.

Legend: W (C F, K) spectra, H (K, T) activations, C channels above each other, F bins, K components,
T frames, S sources.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer

LOW, HIGH = 200, 5000  # Hz
# What a voice has at most of each property, and how far from it doubt becomes certainty.
MOST = {
    "position": (0.3, 0.1),  # to either side
    "low": (0.3, 0.1),
    "high": (0.3, 0.1),
    "flatness": (0.35, 0.05),
    "attack": (0.6, 0.05),
}


class Properties(NamedTuple):
    """What is known of each component: five arrays (K,), described above."""

    position: np.ndarray
    low: np.ndarray
    high: np.ndarray
    flatness: np.ndarray
    attack: np.ndarray


def properties(W, H, sr, n_channels=1):
    """Measure the components of a factorisation.

    Parameters
    ----------
    W : (C F, K) spectra of magnitudes, those of the second channel below those of the first
    H : (K, T) activations
    sr : sampling rate, Hz; the F bins reach from 0 to sr / 2
    n_channels : C, 1 or 2; with one, all stand in the middle

    Returns
    -------
    Properties; of a component that is silent: 0 for all

    Examples
    --------
    >>> left_bass = [0, 1, 0, 0, 0, 0, 0, 0, 0]  # bins of 100 Hz
    >>> W = np.array([left_bass + [0] * 9], float).T
    >>> found = properties(W, np.array([[0.0, 1.0, 0.5, 0.25]]), 1600, n_channels=2)
    >>> found.position.item(), found.low.item(), round(found.attack.item(), 2)
    (-1.0, 1.0, 0.76)
    """
    W, H = np.asarray(W), np.asarray(H)
    require_positive_integer("sr", sr)
    if n_channels not in (1, 2):
        raise ConfigError(f"n_channels must be 1 or 2, got {n_channels!r}")
    if W.ndim != 2 or H.ndim != 2 or W.shape[1] != H.shape[0] or len(W) % n_channels:
        raise ShapeError(
            f"W must be ({n_channels} F, K) and H (K, T), got W {W.shape} and H {H.shape}"
        )
    power = np.square(W.reshape(n_channels, -1, W.shape[1]))  # (C, F, K)
    frequencies = np.linspace(0, sr / 2, power.shape[1])
    left, right = power[0].sum(axis=0), power[-1].sum(axis=0)  # (K,)
    total = power.sum(axis=(0, 1))
    between = np.sqrt(power.sum(axis=0)[(frequencies >= LOW) & (frequencies <= HIGH)])
    change = np.diff(H, axis=1)  # (K, T - 1)
    rise = np.maximum(change, 0)
    return Properties(
        position=_share(right - left, right + left),
        low=_share(power[:, frequencies < LOW].sum(axis=(0, 1)), total),
        high=_share(power[:, frequencies > HIGH].sum(axis=(0, 1)), total),
        flatness=_flatness(between),
        attack=_share(np.square(rise).sum(axis=1), np.square(change).sum(axis=1)),
    )


def voice_likeness(found):
    """How little the properties of each component speak against a voice, from 0 to 1.

        likeness = product over the properties of sigmoid( (most - |value|) / softness )

    One that is far from a voice's is enough for a 0. A yes or no would turn over by next to nothing
    and take a whole component with it.

    Parameters
    ----------
    found : Properties

    Returns
    -------
    (K,)
    """
    likeness = 1.0
    for name, (most, softness) in MOST.items():
        likeness = likeness * expit((most - np.abs(getattr(found, name))) / softness)
    return likeness


def first_half(n_components):
    """Mark the first half of the components, as if they came sorted: the naive choice, (K,)."""
    require_positive_integer("n_components", n_components)
    return np.arange(n_components) < n_components // 2


def group_models(W, H, groups):
    """What each group of components makes of the spectrogram: (S, F, T), with sum W H.

    Parameters
    ----------
    W, H : (F, K) and (K, T)
    groups : (K,) number of the source that each component belongs to, from 0; or bool, where True
        is source 0, the one marked, and False source 1, the rest; or float from 0 to 1, the share
        of source 0, the rest of which is source 1's

    Returns
    -------
    (S, F, T); handed to `dsp.ratio_masks`, which makes masks that sum to one
    """
    groups = np.asarray(groups)
    groups = np.where(groups, 0, 1) if groups.dtype == bool else groups
    if groups.shape != (len(H),) or groups.dtype.kind not in "iuf":
        raise ShapeError(
            f"groups must hold an integer, bool or share for each of the {len(H)} components, got "
            f"shape {groups.shape} and dtype {groups.dtype}"
        )
    if groups.dtype.kind == "f":
        if not (groups.min() >= 0 and groups.max() <= 1):
            raise ShapeError(f"groups must be shares from 0 to 1, got {groups}")
        shares = np.stack([groups, 1 - groups]).astype(W.dtype)  # (2, K)
        return np.stack([(W * share) @ H for share in shares])
    n_sources = max(2, int(groups.max()) + 1)
    return np.stack([W[:, groups == s] @ H[groups == s] for s in range(n_sources)])


def _share(part, whole):
    """Divide, where the whole is not 0; else 0."""
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def _flatness(spectra):
    """Geometric over arithmetic mean of each column (F, K) -> (K,); 80 dB below the mean is 0."""
    if len(spectra) == 0:
        return np.zeros(spectra.shape[1])
    mean = spectra.mean(axis=0)
    floored = np.maximum(spectra, 1e-4 * mean + np.finfo(spectra.dtype).tiny)
    return np.where(mean > 0, _share(np.exp(np.log(floored).mean(axis=0)), mean), 0)
