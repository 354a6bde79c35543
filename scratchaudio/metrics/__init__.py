"""Measures of how good a detector is: counts and curves, and how sure we are of them."""

from scratchaudio.metrics.bootstrap import (
    auc_of_counts,
    bootstrap_ci,
    confusion_counts,
    f1_of_counts,
    score_counts,
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

__all__ = [
    "UndefinedMetricWarning",
    "accuracy_score",
    "auc",
    "auc_of_counts",
    "average_precision_score",
    "best_f1_threshold",
    "bootstrap_ci",
    "confusion_counts",
    "confusion_matrix",
    "f1_of_counts",
    "f1_score",
    "precision_recall_curve",
    "precision_score",
    "recall_score",
    "roc_auc_score",
    "roc_curve",
    "score_counts",
]
