"""Separate one song by every method of the library, and compare: numbers, pictures, sound, time.

    python examples/compare_separators.py

Factorisation without and with other songs, the networks that ship, the classics, and two masks that
know the truth, on the demo's song, whose singer none of them has heard. You will see a table: how
far each comes, how long it takes and how many numbers it has learned; then what each takes for the
voice, as a mask over the spectrogram; and you will hear each voice and each accompaniment.

The page is out/compare_separators.html. It takes about a minute.
"""

import argparse
import sys
import time
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
    scores_of,
    show,
)

from scratchaudio import dsp, plot
from scratchaudio.errors import ConfigError, ScratchAudioError
from scratchaudio.io import load
from scratchaudio.models import BlindSeparator, SemiSupervisedSeparator, load_pretrained
from scratchaudio.models.pretrained import PRETRAINED
from scratchaudio.report import Report

# %% Settings
FILENAME_MUSIC = SONGS / "demo.mp3"
N_FFT, HOP_LENGTH = 2048, 512  # of the oracles, the masks and the pictures
OUT = Path("out/compare_separators.html")
NETWORKS = {"U-Net": "unet", "Open-Unmix": "open_unmix", "Conv-TasNet": "conv_tasnet"}
PLAY_RATE = 22050  # Hz, of the many sounds of the page
LOWEST_SHOWN = 50  # Hz
IN_A_ROW = 3  # pictures


# %% Every method is a function (x, sr) -> vocals and accompaniment (2, C, N)


def learned_methods():
    """Methods of the library, from the least to the most learned: {name: (function, numbers)}."""
    nmf = load_pretrained("nmf")
    semi = SemiSupervisedSeparator(nmf.voice)
    methods = {
        "NMF, blind": (BlindSeparator().separate, 0),
        "NMF, semi-supervised": (semi.separate, nmf.voice.size),
        "NMF, dictionaries": (nmf.separate, nmf.voice.size + nmf.band.size),
    }
    for name, checkpoint in NETWORKS.items():
        if checkpoint not in PRETRAINED:
            print(f"{name}: no trained one ships yet")
            continue
        network = load_pretrained(checkpoint)
        n_learned = sum(parameter.value.size for parameter in network.parameters())
        methods[name] = network.separate, n_learned
        if name == "Open-Unmix":
            methods[name] = lambda x, sr, m=network: m.separate(x, sr, n_iter=0), n_learned
            methods["Open-Unmix, Wiener EM"] = network.separate, n_learned
    return methods


def separate_all(x, sr, truth):
    """Stems by every method: {name: (2, C, N)}, seconds {name: s}, learned numbers {name: int}."""
    stems, seconds, learned = {MIX: np.stack([x, x])}, {}, {}
    for name, (method, n_learned) in learned_methods().items():
        method(x[:, : 2 * sr], sr)  # what is loaded at the first use is not the method's time
        begin = time.perf_counter()
        stems[name] = method(x, sr)
        seconds[name], learned[name] = time.perf_counter() - begin, n_learned
        print(f"{name}: {seconds[name]:.1f} s", flush=True)
    stems |= classical(x, sr) | oracles(x, truth, N_FFT, HOP_LENGTH)
    return stems, seconds, learned


# %% The page


def add_table(page, scores, seconds, learned, duration):
    """The ladder, with what each row costs."""
    rows = [
        [
            name,
            *values.values(),
            f"{seconds[name] / duration:.2f}" if name in seconds else "",
            f"{learned[name]:,}" if name in learned else "",
        ]
        for name, values in scores.items()
    ]
    header = ["method", *MEASURES, "s per s", "learned numbers"]
    page.table(rows, header, "The vocals, in dB; in the fifth column the accompaniment", digits=1)
    page.text(
        "**s per s**: seconds of computing for each second of song, on this machine; below 1 is "
        "faster than real time. The two rows at the end know the truth: no method does.\n\n"
        "SI-SDR is the energy of the voice over that of all else; SI-SIR over that of the band in "
        "it; SI-SAR over that of what is neither. SDR is that of BSS Eval 4, the median over "
        "seconds."
    )


def mask_of(vocals, x):
    """Which share of each bin of the mix a method gives to the voice: (C, N) twice -> (F, T)."""
    V, X = (
        np.abs(dsp.stft(y, n_fft=N_FFT, hop_length=HOP_LENGTH)).mean(axis=0) for y in (vocals, x)
    )
    return V / np.maximum(np.maximum(X, V), np.finfo(X.dtype).tiny)  # 1 where V is above X


def add_pictures(page, stems, truth, x, excerpt):
    """Spectrograms of the voices, and the masks that made them."""
    voices = {name: excerpt.cut(s[0]) for name, s in stems.items() if name != MIX}
    voices["true vocals"] = excerpt.cut(truth[0])
    page.heading("What each takes for the voice")
    for names in _rows(voices):
        levels = {name: levels_of(voices[name], HOP_LENGTH) for name in names}
        figure, axes = plot.spectrograms(levels, excerpt.sr, HOP_LENGTH, scale="log")
        for ax in axes:
            ax.set_ylim(bottom=LOWEST_SHOWN)
        listed = ", ".join(names)
        show(page, figure, f"Vocals: {listed}.", f"Spectrograms side by side: {listed}.")
    page.heading("The same as masks", level=3)
    page.text(
        "How much of each bin of the mix goes to the voice, 0 dB for all of it. A good mask is "
        "dark between the harmonics, and dark where nobody sings."
    )
    mix = excerpt.cut(x)
    for names in _rows(voices):
        levels = {n: 20 * np.log10(np.maximum(mask_of(voices[n], mix), 1e-2)) for n in names}
        figure, axes = plot.spectrograms(levels, excerpt.sr, HOP_LENGTH, scale="log")
        for ax in axes:
            ax.set_ylim(bottom=LOWEST_SHOWN)
        listed = ", ".join(names)
        show(page, figure, f"Masks: {listed}.", f"Masks side by side: {listed}.")


def add_sounds(page, stems, truth, x, excerpt):
    """Every voice, and every accompaniment."""
    page.heading("Listen")
    captions = "The voice, as each method has it.", "What is left of the song."
    for stem, caption in enumerate(captions):
        sounds = {MIX: x} | {name: s[stem] for name, s in stems.items() if name != MIX}
        sounds["truth"] = truth[stem]
        heard = {name: excerpt.cut(y).mean(axis=0) for name, y in sounds.items()}
        page.players(
            {name: dsp.resample(y, excerpt.sr, PLAY_RATE) for name, y in heard.items()},
            PLAY_RATE,
            caption,
        )


def _rows(named):
    """Cut the names into rows of pictures."""
    names = list(named)
    return [names[i : i + IN_A_ROW] for i in range(0, len(names), IN_A_ROW)]


# %% All of it


def compare_separators(out=OUT, overwrite=False):
    """Separate, measure, and write the page; return {method: {measure: float}}."""
    out = Path(out)
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} is already there: --overwrite replaces it")
    x, sr = load(FILENAME_MUSIC)
    song = true_song(FILENAME_MUSIC)
    truth = np.stack([song.vocals, song.accompaniment])
    duration = x.shape[1] / sr
    stems, seconds, learned = separate_all(x, sr, truth)
    scores = {name: scores_of(truth, s, sr) for name, s in stems.items()}
    print_ladder(scores)

    page = Report(
        "One song, many separators",
        "Factorisation, networks and the classics, all written by hand in NumPy",
    )
    best = max(learned, key=lambda name: scores[name]["SI-SDR"])
    page.text(
        f"{duration:.0f} s of a song whose singer no method has heard before. In the mix the voice "
        f"has {scores[MIX]['SI-SDR']:.1f} dB; **{best}** brings it to "
        f"**{scores[best]['SI-SDR']:.1f} dB**."
    )
    add_table(page, scores, seconds, learned, duration)
    excerpt = Excerpt(truth[0], sr)
    add_sounds(page, stems, truth, x, excerpt)
    add_pictures(page, stems, truth, x, excerpt)
    out.parent.mkdir(parents=True, exist_ok=True)
    page.save(out, overwrite=overwrite)
    print(f"wrote {out}")
    return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--overwrite", action="store_true", help="replace the page")
    compare_separators(**vars(parser.parse_args()))


if __name__ == "__main__":
    try:
        main()
    except (ScratchAudioError, OSError) as error:
        sys.exit(f"error: {error}")
