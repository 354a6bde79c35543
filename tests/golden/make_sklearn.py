"""Freeze scikit-learn's results in sklearn_classification.json.

Made with scikit-learn 1.9.1 by `python tests/golden/make_sklearn.py`. Scores keep at most three
decimals, so that the file can be read.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import sklearn
from sklearn import metrics


def draw(seed, n, decimals, separation=1.0):
    rng = np.random.default_rng(seed)
    y_true = (rng.random(n) < 0.4).astype(int)
    logits = rng.normal(size=n) + separation * (2 * y_true - 1)
    return y_true, np.round(1 / (1 + np.exp(-logits)), decimals)


INPUTS = {
    "few ties": draw(0, 31, 3),
    "many ties": draw(1, 47, 1),
    "strong": draw(2, 29, 2, separation=3.0),
    "worse than chance": draw(3, 23, 2, separation=-1.0),
    "separable": ([0, 0, 0, 0, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9]),
    "separable, wrong way round": ([1, 1, 1, 0, 0], [0.1, 0.2, 0.3, 0.6, 0.7]),
    "constant": ([1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5]),
    "long runs of equal steps": ([1, 1, 0, 0, 1, 0] * 4, np.repeat(np.arange(12) / 12, 2)),
    "two frames": ([0, 1], [0.9, 0.1]),
    "one frame": ([1], [0.7]),
    "only 0": ([0, 0, 0], [0.2, 0.6, 0.7]),
    "only 1": ([1, 1, 1, 1], [0.2, 0.6, 0.6, 0.7]),
    "only 0, none called": ([0, 0], [0.1, 0.2]),
    "negative and large": ([0, 1, 0, 1, 1], [-3e30, 1e30, -1.0, 0.0, -2.0]),
}


def results(y_true, y_score):
    y_pred = y_score >= 0.5
    m = metrics
    return {
        "roc_curve": m.roc_curve(y_true, y_score),
        "roc_curve_all": m.roc_curve(y_true, y_score, drop_intermediate=False),
        "precision_recall_curve": m.precision_recall_curve(y_true, y_score),
        "precision_recall_curve_few": m.precision_recall_curve(
            y_true, y_score, drop_intermediate=True
        ),
        "roc_auc_score": m.roc_auc_score(y_true, y_score),
        "average_precision_score": m.average_precision_score(y_true, y_score),
        "confusion_matrix": m.confusion_matrix(y_true, y_pred),
        "accuracy_score": m.accuracy_score(y_true, y_pred),
        "precision_score": m.precision_score(y_true, y_pred),
        "recall_score": m.recall_score(y_true, y_pred),
        "f1_score": m.f1_score(y_true, y_pred),
    }


def to_lists(value):
    if isinstance(value, tuple):
        return [to_lists(part) for part in value]
    return np.asarray(value).tolist()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    cases = {}
    for index, (name, (y_true, y_score)) in enumerate(INPUTS.items()):
        dtype = "float32" if index % 2 else "float64"
        y_true, y_score = np.array(y_true), np.array(y_score, dtype)
        cases[name] = {
            "dtype": dtype,
            "y_true": y_true.tolist(),
            "y_score": y_score.tolist(),
            "results": {k: to_lists(v) for k, v in results(y_true, y_score).items()},
        }
    file = Path(__file__).with_name("sklearn_classification.json")
    made_by = f"make_sklearn.py, scikit-learn {sklearn.__version__}"
    lines = [f"{json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items()]
    file.write_text(
        f'{{"made_by": {json.dumps(made_by)}, "cases": {{\n' + ",\n".join(lines) + "\n}}\n"
    )
    print(f"{len(cases)} cases -> {file.name}, {file.stat().st_size} bytes")
