"""Write openunmix.npz: what Open-Unmix 1.3.0's Wiener filter says, for tests/dsp/test_wiener.py.

    pip download openunmix==1.3.0 --no-deps && python -m zipfile -e openunmix-1.3.0*.whl FOLDER
    PYTHONPATH=FOLDER python tests/golden/make_openunmix.py          (needs the `peers` extra)

`filtering.py` is run by itself: the package around it would ask for torchaudio and musdb.
"""

import json
from pathlib import Path

import numpy as np

# S magnitudes given, C, F, T, level of the mixture, rounds
CASES = [
    (1, 2, 4, 9, 1.0, 1),
    (2, 2, 4, 9, 1.0, 1),
    (3, 2, 3, 7, 1.0, 3),
    (2, 2, 3, 7, 40.0, 2),
    (2, 2, 3, 7, 3e-3, 1),
    (2, 1, 4, 9, 1.0, 1),
    (1, 1, 4, 9, 200.0, 2),
]


def draw(seed, S, C, F, T, level):
    """A mixture (C, F, T) and magnitudes (S, C, F, T): sources that stand still, badly told."""
    rng = np.random.default_rng(seed)
    places = rng.standard_normal((S + 1, C, F, 1)) + 1j * rng.standard_normal((S + 1, C, F, 1))
    spectra = rng.standard_normal((S + 1, 1, F, T)) + 1j * rng.standard_normal((S + 1, 1, F, T))
    sources = level * places * spectra * rng.random((S + 1, 1, F, T))
    magnitudes = np.abs(sources[:S]) * rng.uniform(0.5, 1.5, (S, C, F, T))
    return sources.sum(axis=0), magnitudes


def theirs(filtering, X, magnitudes, n_iter):
    """The sources, and what is left of the mixture, by Open-Unmix: (S + 1, C, F, T)."""
    import torch

    mixture = torch.tensor(np.stack([X.real, X.imag], axis=-1).transpose(2, 1, 0, 3))
    given = torch.tensor(magnitudes.transpose(3, 2, 1, 0))  # (T, F, C, S)
    y = filtering.wiener(given, mixture, iterations=n_iter, residual=True).numpy()
    return (y[..., 0, :] + 1j * y[..., 1, :]).transpose(3, 2, 1, 0)


def load_filtering():
    """Open-Unmix's filtering.py as a module."""
    from importlib.util import find_spec, module_from_spec, spec_from_file_location

    (folder,) = find_spec("openunmix").submodule_search_locations
    spec = spec_from_file_location("filtering", Path(folder) / "filtering.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    filtering, arrays = load_filtering(), {}
    for number, (*sizes, n_iter) in enumerate(CASES):
        X, magnitudes = draw(number, *sizes)
        arrays[f"X.{number}"], arrays[f"magnitudes.{number}"] = X, magnitudes
        arrays[f"result.{number}"] = theirs(filtering, X, magnitudes, n_iter)
    file = Path(__file__).with_name("openunmix.npz")
    np.savez_compressed(
        file,
        origin=f"openunmix 1.3.0, numpy {np.__version__}, make_openunmix.py",
        rounds=json.dumps([n_iter for *_, n_iter in CASES]),
        **arrays,
    )
    print(f"{len(CASES)} cases -> {file.name}, {file.stat().st_size} bytes")
