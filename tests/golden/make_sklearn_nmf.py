"""Freeze scikit-learn's multiplicative updates in sklearn_nmf.json.

Made with scikit-learn 1.9.1 by `python tests/golden/make_sklearn_nmf.py`. V and the start are not
stored: the test draws them again with `draw`.
"""

import json
import warnings
from pathlib import Path

import numpy as np

BETAS = -1, 0, 0.5, 1, 1.5, 2, 3
N_ITER = 20


def draw(F=7, T=11, K=3):
    """V (F, T), W (F, K), H (K, T), nowhere near 0."""
    rng = np.random.default_rng(5)
    return tuple(rng.random(shape) + 0.1 for shape in ((F, T), (F, K), (K, T)))


if __name__ == "__main__":
    import sklearn
    from sklearn.decomposition import NMF
    from sklearn.decomposition._nmf import _initialize_nmf

    warnings.simplefilter("ignore")
    V, W, H = draw()
    cases = {"made_by": f"make_sklearn_nmf.py, scikit-learn {sklearn.__version__}"}
    for beta in BETAS:
        model = NMF(W.shape[1], init="custom", solver="mu", beta_loss=beta, max_iter=N_ITER, tol=0)
        W_end = model.fit_transform(V, W=W.copy(), H=H.copy())
        cases[f"beta {beta}"] = {
            "W": W_end.tolist(),
            "H": model.components_.tolist(),
            "divergence": model.reconstruction_err_**2 / 2,
        }
    for init in ("nndsvd", "nndsvda"):
        W_start, H_start = _initialize_nmf(V, W.shape[1], init=init, random_state=0)
        cases[init] = {"W": W_start.tolist(), "H": H_start.tolist()}
    file = Path(__file__).with_name("sklearn_nmf.json")
    lines = [f"{json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items()]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(cases) - 1} cases -> {file.name}, {file.stat().st_size} bytes")
