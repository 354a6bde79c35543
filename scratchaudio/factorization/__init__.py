"""Spectrograms as sums of parts: non-negative matrix factorisation, and what is made of it."""

from scratchaudio.factorization.grouping import (
    Properties,
    first_half,
    group_models,
    properties,
    voice_likeness,
)
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
    "Properties",
    "beta_divergence",
    "exponent",
    "first_half",
    "group_models",
    "harmonic_spectra",
    "nmf",
    "nndsvd_factors",
    "properties",
    "random_factors",
    "update_activations",
    "update_spectra",
    "voice_likeness",
]
