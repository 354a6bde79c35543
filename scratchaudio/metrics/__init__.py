"""Measures of a detector (counts, curves, how sure we are), of enhancement and of separation."""

from scratchaudio.metrics.bootstrap import (
    auc_of_counts,
    bootstrap_ci,
    confusion_counts,
    f1_of_counts,
    score_counts,
)
from scratchaudio.metrics.bss_eval import (
    bss_eval,
    bss_eval_images,
    bss_eval_sources,
    median_over_frames,
    sdr_improvement,
)
from scratchaudio.metrics.classification import (
    UndefinedMetricWarning,
    accuracy_score,
    auc,
    average_precision_score,
    best_f1_threshold,
    confusion_matrix,
    f1_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)
from scratchaudio.metrics.frechet import (
    frechet_distance,
    gaussian_frechet_distance,
    log_mel_statistics,
)
from scratchaudio.metrics.intelligibility import stoi
from scratchaudio.metrics.separation import (
    best_permutation,
    si_bss,
    si_sdr,
    si_sdr_improvement,
    snr,
    snr_improvement,
)
from scratchaudio.metrics.spectral import log_spectral_distance

__all__ = [
    "UndefinedMetricWarning",
    "accuracy_score",
    "auc",
    "auc_of_counts",
    "average_precision_score",
    "best_f1_threshold",
    "best_permutation",
    "bootstrap_ci",
    "bss_eval",
    "bss_eval_images",
    "bss_eval_sources",
    "confusion_counts",
    "confusion_matrix",
    "f1_of_counts",
    "f1_score",
    "frechet_distance",
    "gaussian_frechet_distance",
    "log_mel_statistics",
    "log_spectral_distance",
    "median_over_frames",
    "precision_recall_curve",
    "precision_score",
    "recall_score",
    "roc_auc_score",
    "roc_curve",
    "score_counts",
    "sdr_improvement",
    "si_bss",
    "si_sdr",
    "si_sdr_improvement",
    "snr",
    "snr_improvement",
    "stoi",
]
