"""Take a song apart by non-negative matrix factorisation: the voice, and the rest.

    python examples/separate_nmf.py                                    the song of the demo
    python examples/separate_nmf.py --n-components 64 --beta 0
    python examples/separate_nmf.py --filename-music my_song.mp3       your own

A spectrogram is explained by some dozens of spectra, each switched on and off: `factorization.nmf`.
Then somebody must say which of them are the voice. You will see the divergence fall, the spectra
and activations of all components, and the song beside its stems; you will hear every component
alone, and the stems. For the demo's song the true stems are known, so the page also measures how
far each method comes, from the mix up to what the best mask could do.

The page is out/separate_nmf.html; the stems are beside it in out/separate_nmf/.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from song_data import SONGS, true_song
from song_ladder import (
    MEASURES,
    MIX,
    Excerpt,
    classical,
    levels_of,
    oracles,
    print_ladder,
    read_song,
    scores_of,
    show,
)

from scratchaudio import dsp, metrics, plot
from scratchaudio.errors import ConfigError, ScratchAudioError, require_positive_integer
from scratchaudio.factorization import (
    first_half,
    group_models,
    nmf,
    properties,
    voice_likeness,
)
from scratchaudio.io import save
from scratchaudio.models import SemiSupervisedSeparator, load_pretrained
from scratchaudio.models.nmf_separator import middle, stack_channels, start_alike
from scratchaudio.report import Report

# %% Settings
FILENAME_MUSIC = SONGS / "demo.mp3"
N_FFT = 2048
HOP_LENGTH = 512
N_COMPONENTS = 32
METHOD = "dictionaries"  # whose stems are written; or another of METHODS
BETA = 1.0  # 2 Euclidean, 1 Kullback-Leibler, 0 Itakura-Saito
MASK_POWER = 1.0  # exponent of the masks of components: 2 is a Wiener filter's
N_ITER = 100
SEED = 0
OUT = Path("out/separate_nmf.html")

SWEEP = (2, 4, 8, 16, 32, 64)  # components
COMPONENT_SECONDS = 5
COMPONENT_RATE = 16000  # Hz
LOWEST_SHOWN = 50  # Hz
ROWS = 8  # components in one drawing

HALF, PROPERTIES = "first half", "properties"
SEMI_SUPERVISED, DICTIONARIES = "semi-supervised", "dictionaries"
METHODS = (HALF, PROPERTIES, SEMI_SUPERVISED, DICTIONARIES)
VOICE, BAND = "vocals", "accompaniment"


# %% The lesson: a song as a sum of components


@dataclass(frozen=True)
class Decomposition:
    """A song's STFT X (C, F, T), its factors, and which share of each component is voice (K,)."""

    X: np.ndarray
    W: np.ndarray
    H: np.ndarray
    share: np.ndarray
    history: list

    def mask(self, shares, power):
        """The mask of the components in these shares (K,): (C, F, T)."""
        models = group_models(self.W, self.H, shares)  # (2, C F, T)
        return dsp.ratio_masks(models, power=power)[0].reshape(self.X.shape)


def decompose(x, sr, n_fft, hop_length, n_components, beta, n_iter, seed, progress=None):
    """Factorise the magnitudes of a song (C, N), and ask each component if it is a voice."""
    X = dsp.stft(x, n_fft=n_fft, hop_length=hop_length)  # (C, F, T)
    V = stack_channels(X)  # (C F, T)
    if not 2 <= n_components <= V.shape[1]:
        raise ConfigError(
            f"N_COMPONENTS must be from 2, one for each stem, to {V.shape[1]}, the number of "
            f"frames, got {n_components}"
        )
    if beta <= 0:
        V = np.maximum(V, 1e-5 * V.max())  # at beta <= 0, what is 0 would be infinitely far away
    start = start_alike(V, n_components, len(X), seed)
    W, H, history = nmf(V, *start, beta=beta, n_iter=n_iter, tol=0, progress=progress)
    share = voice_likeness(properties(W, H, sr, n_channels=len(X)))
    return Decomposition(X, W, H, share, history)


def separate(x, sr, parts, method, hop_length, power):
    """Stems of a song (C, N) by a method: vocals and accompaniment, (2, C, N)."""
    if method in (SEMI_SUPERVISED, DICTIONARIES):
        learned = load_pretrained("nmf")
        separator = learned if method == DICTIONARIES else SemiSupervisedSeparator(learned.voice)
        return separator.separate(x, sr)
    if method == HALF:
        mask = parts.mask(first_half(len(parts.H)), power)
    else:
        mask = parts.mask(parts.share, power) * middle(parts.X) ** 2
    n_fft = 2 * (parts.X.shape[1] - 1)
    vocals = dsp.istft(mask * parts.X, n_fft=n_fft, hop_length=hop_length, length=x.shape[-1])
    vocals = vocals.astype(x.dtype)
    return np.stack([vocals, x - vocals])


# %% Try this


def sweep(x, truth, make_parts, sr, hop_length, power):
    """What the number of components does: {K: (SI-SDR first half, properties, divergence)}."""
    found = {}
    for K in SWEEP:
        parts = make_parts(K)
        voices = [separate(x, sr, parts, m, hop_length, power)[0] for m in (HALF, PROPERTIES)]
        gains = [metrics.si_sdr(truth[0].ravel(), voice.ravel()) for voice in voices]
        found[K] = (*gains, parts.history[-1][1])
        print(f"{K:3d} components: first half {gains[0]:.2f} dB, properties {gains[1]:.2f} dB",
              flush=True)  # fmt: skip
    return found


# %% The page


def add_stems(page, x, stems, truth, excerpt, hop_length):
    """Mix and stems to hear, and to see side by side."""
    heard = {MIX: x, VOICE: stems[0], BAND: stems[1]}
    if truth is not None:
        heard |= {"true vocals": truth[0], "true accompaniment": truth[1]}
    heard = {name: excerpt.cut(y) for name, y in heard.items()}
    page.players(heard, excerpt.sr, "The song, and what became of it.")
    for row in ((MIX, VOICE, BAND), (MIX, "true vocals", "true accompaniment")):
        if row[-1] in heard:
            levels = {name: levels_of(heard[name], hop_length) for name in row}
            figure, axes = plot.spectrograms(levels, excerpt.sr, hop_length, scale="log")
            for ax in axes:
                ax.set_ylim(bottom=LOWEST_SHOWN)
            show(page, figure, f"{', '.join(row)}: frequency on a logarithmic scale.",
                 f"Spectrograms side by side: {', '.join(row)}.")  # fmt: skip


def add_components(page, parts, excerpt, hop_length):
    """Every component: spectrum, activation, and sound."""
    share = parts.share
    n_voice = int((share > 0.5).sum())
    page.heading("Its components, one by one")
    page.text(
        f"The song's spectrogram, left above right, is a sum of {len(share)} components. Each has "
        "a spectrum, always the same, and an activation, which says when it sounds and how loudly. "
        f"Nothing says which are the voice; by their place, pitch and attack {n_voice} look more "
        "like one than not. Play some: a good component is one note, one drum, one vowel. **Which "
        "ones did the rule get wrong?**"
    )
    order = np.argsort(-share)
    half = len(parts.W) // len(parts.X)
    spectra = parts.W.reshape(len(parts.X), half, -1).mean(axis=0)  # (F, K)
    total = np.maximum(parts.W @ parts.H, np.finfo(parts.W.dtype).tiny)
    for first in range(0, len(order), ROWS):
        chosen = order[first : first + ROWS]
        names = {k: f"{k + 1}: voice {share[k]:.2f}" for k in chosen}
        figure, _ = plot.components(
            spectra[:, chosen], parts.H[chosen], excerpt.sr, hop_length, list(names.values())
        )
        show(page, figure, "Spectra (left) and activations (right), each to its own peak.",
             f"Spectra and activations of the components {', '.join(names.values())}.")  # fmt: skip
        sounds = {names[k]: component_sound(parts, total, k, excerpt, hop_length) for k in chosen}
        page.players(sounds, COMPONENT_RATE, "The same components alone.")


def component_sound(parts, total, k, excerpt, hop_length):
    """What component k alone sounds like where it is loudest: (n,) at COMPONENT_RATE."""
    T = round(COMPONENT_SECONDS * excerpt.sr / hop_length)
    power = np.convolve(np.square(parts.H[k]), np.ones(min(T, parts.H.shape[1])), "valid")
    frames = slice(int(np.argmax(power)), int(np.argmax(power)) + T)
    model = np.outer(parts.W[:, k], parts.H[k, frames]) / total[:, frames]
    Y = (model.reshape(len(parts.X), -1, model.shape[1]) * parts.X[..., frames]).mean(axis=0)
    x = dsp.istft(Y, n_fft=2 * (len(Y) - 1), hop_length=hop_length)
    return dsp.resample(x, excerpt.sr, COMPONENT_RATE).astype(np.float32)


def add_divergence(page, parts, beta):
    """How the divergence fell."""
    updates, D = np.array(parts.history).T
    page.heading("How it was found")
    ax = plot.divergence(updates, D)
    show(
        page,
        ax,
        f"The divergence (beta = {beta:g}) never rises: each multiplicative update steps to the "
        "minimum of a function that lies above it and touches it where it stands.",
        "Divergence over the number of updates, falling, on a logarithmic scale.",
    )


def add_ladder(page, scores, n_fft):
    """The table of all methods."""
    page.heading("How well: the ladder")
    rows = [[method, *values.values()] for method, values in scores.items()]
    caption = "The vocals, and in the last column the accompaniment: all in dB"
    page.table(rows, ["method", *MEASURES], caption, digits=1)
    best = scores[DICTIONARIES]["SI-SDR"]
    page.text(
        "**First half** calls the first half of the components the voice, whatever they are. "
        "**Properties** asks what each looks like. **Semi-supervised** has learned from eleven "
        "other songs what voices sound like, and lets twenty free spectra explain what voices "
        "cannot. **Dictionaries** has learned what voices and "
        f"bands sound like from the same songs, and comes from {scores[MIX]['SI-SDR']:.1f} to "
        f"**{best:.1f} dB**. The two rows at the end know the truth: they are no methods, but say "
        f"that no mask of windows of {n_fft} samples can be expected to do better.\n\n"
        "SI-SDR is the energy of the voice over that of all else; SI-SIR over that of the band in "
        "it; SI-SAR over that of what is neither, such as warbling. SDR is that of BSS Eval 4, the "
        "median over seconds, as separation campaigns quote it."
    )


def add_methods(page, stems, truth, excerpt):
    """Every method's voice, to compare."""
    sounds = {name: excerpt.cut(s[0]).mean(axis=0) for name, s in stems.items() if name != MIX}
    sounds["true vocals"] = excerpt.cut(truth[0]).mean(axis=0)
    page.players(
        {name: dsp.resample(x, excerpt.sr, 22050) for name, x in sounds.items()},
        22050,
        "The voice, as each method has it. Listen for the band in it, and for what is missing.",
    )


def add_sweep(page, found):
    """A table of what the number of components does."""
    page.heading("Try this: more components, or fewer")
    rows = [[str(K), *gains] for K, gains in found.items()]
    page.table(
        rows,
        ["components", "first half, dB", "properties, dB", "divergence"],
        "SI-SDR of the vocals, and what is left of the divergence",
        best={"properties, dB": max},
        digits=1,
    )
    page.text(
        "The more components, the lower the divergence. That says nothing about the stems: too few "
        "make each of them a mixture of voice and band that no grouping can undo, and of many each "
        "is a small piece of a note, harder to recognise. First half is a coin tossed for each. "
        "Run it with `--seed 1` and compare: how much of what you see is chance?"
    )


# %% All of it


def separate_nmf(
    filename_music=FILENAME_MUSIC,
    *,
    n_fft=N_FFT,
    hop_length=HOP_LENGTH,
    n_components=N_COMPONENTS,
    method=METHOD,
    beta=BETA,
    mask_power=MASK_POWER,
    n_iter=N_ITER,
    seed=SEED,
    out=OUT,
    overwrite=False,
):
    """Separate, measure and write page and stems; return {method: {measure: float}}.

    A song whose stems are not known has no measures.
    """
    for name, value in (
        ("N_FFT", n_fft),
        ("HOP_LENGTH", hop_length),
        ("N_COMPONENTS", n_components),
    ):
        require_positive_integer(name, value)
    if n_fft % 2:
        raise ConfigError(f"N_FFT must be even, got {n_fft}")
    if method not in METHODS:
        raise ConfigError(f"METHOD must be one of {METHODS}, got {method!r}")
    if not 0 < mask_power < np.inf:
        raise ConfigError(f"MASK_POWER must be a finite number above 0, got {mask_power!r}")
    out = Path(out)
    folder = out.with_suffix("")
    results = [out, folder / "vocals.wav", folder / "accompaniment.wav"]
    existing = [str(path) for path in results if path.exists()]
    if existing and not overwrite:
        raise ConfigError(f"{', '.join(existing)} already there; --overwrite replaces them")
    begin = time.perf_counter()
    x, sr = read_song(filename_music)
    song = true_song(filename_music)
    truth = None if song is None else np.stack([song.vocals, song.accompaniment])

    def make_parts(K, progress=None):
        return decompose(x, sr, n_fft, hop_length, K, beta, n_iter, seed, progress)

    def progress(done, D):
        print(f"{done:4d} updates  divergence {D:12.1f}", flush=True)

    parts = make_parts(n_components, progress)
    stems = {MIX: np.stack([x, x])}
    stems |= {name: separate(x, sr, parts, name, hop_length, mask_power) for name in METHODS}
    folder.mkdir(parents=True, exist_ok=True)
    for path, stem in zip(results[1:], stems[method], strict=True):
        save_stem(path, stem, sr, overwrite)

    page = Report(
        "A song taken apart",
        "Non-negative matrix factorisation, written by hand in NumPy, finds the voice",
    )
    excerpt = Excerpt(stems[method][0] if truth is None else truth[0], sr)
    scores = {}
    page.text(
        f"{x.shape[-1] / sr:.1f} s of a song. These are its stems by **{method}**; they add up to "
        "the song, and what is missing in one is in the other."
    )
    add_stems(page, x, stems[method], truth, excerpt, hop_length)
    if truth is not None:
        stems |= classical(x, sr) | oracles(x, truth, n_fft, hop_length)
        scores = {name: scores_of(truth, s, sr) for name, s in stems.items()}
        print_ladder(scores)
        add_ladder(page, scores, n_fft)
        add_methods(page, stems, truth, excerpt)
    add_components(page, parts, excerpt, hop_length)
    add_divergence(page, parts, beta)
    if truth is not None:
        add_sweep(page, sweep(x, truth, make_parts, sr, hop_length, mask_power))
    page.save(out, overwrite=overwrite)
    print(f"wrote {out} and the stems in {folder} after {time.perf_counter() - begin:.0f} s")
    return scores


def save_stem(path, x, sr, overwrite):
    """Write a stem: with 16 bits, or as floats if it reaches beyond full scale."""
    subtype = "PCM_16" if np.abs(x).max() <= 1 else "FLOAT"
    save(path, x, sr, overwrite=overwrite, subtype=subtype)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filename-music", type=Path, default=FILENAME_MUSIC)
    parser.add_argument("--n-fft", type=int, default=N_FFT)
    parser.add_argument("--hop-length", type=int, default=HOP_LENGTH)
    parser.add_argument("--n-components", type=int, default=N_COMPONENTS, help="2 or more")
    parser.add_argument("--method", choices=METHODS, default=METHOD, help="of the stems written")
    parser.add_argument("--beta", type=float, default=BETA, help="of the divergence")
    parser.add_argument("--mask-power", type=float, default=MASK_POWER, help="above 0")
    parser.add_argument("--n-iter", type=int, default=N_ITER, help="updates")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--overwrite", action="store_true", help="replace page and stems")
    separate_nmf(**vars(parser.parse_args()))


if __name__ == "__main__":
    try:
        main()
    except (ScratchAudioError, OSError) as error:
        sys.exit(f"error: {error}")
