"""Spectrograms as sums of parts: non-negative matrix factorisation, and what is made of it."""

from scratchaudio.factorization.nmf import (
    Factorization,
    beta_divergence,
    exponent,
    nmf,
    update_activations,
    update_spectra,
)
from scratchaudio.factorization.start import harmonic_spectra, nndsvd_factors, random_factors

__all__ = [
    "Factorization",
    "beta_divergence",
    "exponent",
    "harmonic_spectra",
    "nmf",
    "nndsvd_factors",
    "random_factors",
    "update_activations",
    "update_spectra",
]
