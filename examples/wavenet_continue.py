"""Let a WaveNet learn one voice, and go on speaking where a recording stops.

    python examples/wavenet_continue.py                          about 10 minutes
    python examples/wavenet_continue.py --recording my_flute.wav --epochs 20
    python examples/wavenet_continue.py --epochs 1 --overwrite   in a minute: it only mumbles

From 1023 samples, an eighth of a second, the network learns what may come next. That is enough for
the sound of a voice, its pitch and its vowels, not for words: nobody told it any. You will hear a
prompt that it has not learned from and three continuations. The lower the temperature, the more it
keeps to what is likely: too low, and it hums or falls silent; too high, and it hisses. You will see
what a sample costs in bits, beside two who know less: one who knows how often each code comes, and
one who predicts linearly from the last 16 samples.

The page is out/wavenet_continue.html.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the products are small

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from sample_coders import ORDER, linear_bits, unigram_bits
from train_wavenet import RECORDINGS, fit_voice, read_voice

from scratchaudio import dsp, plot
from scratchaudio.errors import ConfigError, ScratchAudioError
from scratchaudio.models import WaveNet
from scratchaudio.report import Report

# %% Settings
RECORDING = RECORDINGS[0]
SAMPLE_RATE = 8000
SIZES = {"n_channels": 32, "n_skip": 64, "n_layers": 9, "n_stacks": 2}
UNSEEN = 0.2  # share of the recording, its end, that is not learned from
EPOCHS = 14
PROMPT = 1.0  # s
SECONDS = 2.0  # of each continuation
TEMPERATURES = (0.6, 0.8, 1.0)
TOP_K = None  # or the number of levels to choose from
SEED = 0
OUT = Path("out/wavenet_continue.html")


# %% Learn and continue


def go_on(model, prompt, n_samples, temperature, top_k, seed):
    """The prompt (N,) and what the network says after it: (N + n_samples,)."""
    codes = dsp.mulaw_encode(prompt, model.n_levels)[None]

    def progress(done, of):
        if done % 4000 == 0:
            print(f"temperature {temperature:g}: {done}/{of} samples", flush=True)

    said = model.generate(
        n_samples, codes, temperature=temperature, top_k=top_k, rng=seed, progress=progress
    )
    return np.concatenate([prompt, dsp.mulaw_decode(said[0], model.n_levels)])


# %% The page


def add_costs(page, history, costs):
    """What a sample costs: curve and table."""
    page.heading("What a sample costs")
    ax = plot.training_curves(history, measures=("bits",), ylabel="bits a sample")
    for style, (name, cost) in zip((":", "--"), list(costs.items())[:2], strict=True):
        ax.axhline(cost, linestyle=style, color="0.4", label=name)
    ax.legend()
    page.figure(
        ax.figure,
        "Bits a sample of the unseen end of the recording costs, epoch by epoch.",
        "The bits fall over the epochs, beside the lines of unigram and linear predictor.",
    )
    page.table(
        [[name, cost] for name, cost in costs.items()],
        ["who foretells", "bits"],
        "Bits a sample, on sound that was not learned from. The codes themselves have 8",
        best={"bits": min},
    )


def add_sounds(page, sounds, prompt_seconds):
    """Players and spectrograms."""
    page.heading("Listen")
    page.players(sounds, SAMPLE_RATE, f"After {prompt_seconds:g} s of prompt the network goes on.")
    levels = {
        name: dsp.amplitude_to_db(np.abs(dsp.stft(x, n_fft=256, hop_length=64)))
        for name, x in sounds.items()
    }
    figure, axes = plot.spectrograms(levels, SAMPLE_RATE, 64)
    for ax in axes:
        ax.axvline(prompt_seconds, color="white", linestyle="--")
    page.figure(
        figure,
        "The prompt ends at the dashed line.",
        "Spectrograms of the true continuation and of those that the network made.",
    )


def wavenet_continue(
    recording=RECORDING,
    *,
    epochs=EPOCHS,
    temperatures=TEMPERATURES,
    top_k=TOP_K,
    seconds=SECONDS,
    max_seconds=None,
    seed=SEED,
    out=OUT,
    overwrite=False,
):
    """Train, continue and write the page; return {who: bits a sample}."""
    out = Path(out)
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} is already there; --overwrite replaces it")
    if not seconds > 0:
        raise ConfigError(f"seconds must be above 0, got {seconds}")
    begin = time.perf_counter()
    x = read_voice(recording, SAMPLE_RATE)
    split = round((1 - UNSEEN) * len(x))
    learned, unseen = x[:split], x[split:]
    model = WaveNet(**SIZES, sample_rate=SAMPLE_RATE, rng=seed)
    print(
        f"{len(learned) / SAMPLE_RATE:.1f} s to learn from, {len(unseen) / SAMPLE_RATE:.1f} s not"
    )
    history = fit_voice(model, [learned], unseen, epochs, rng=seed, max_seconds=max_seconds)
    costs = {
        "unigram": unigram_bits(learned, unseen),
        f"linear, {ORDER} samples": linear_bits(learned, unseen),
        f"WaveNet, {model.receptive_field} samples": min(record["bits"] for record in history),
    }
    for name, cost in costs.items():
        print(f"{name:>22}  {cost:.3f} bits a sample")
    n_prompt, n_samples = (round(s * SAMPLE_RATE) for s in (PROMPT, seconds))
    prompt, model = unseen[:n_prompt], model.eval()
    sounds = {"the recording itself": unseen[: n_prompt + n_samples]}
    for temperature in temperatures:
        name = f"temperature {temperature:g}"
        sounds[name] = go_on(model, prompt, n_samples, temperature, top_k, seed)

    page = Report(
        "A network goes on speaking",
        "WaveNet, written by hand in NumPy, learns one voice sample by sample",
    )
    page.text(
        f"It has heard {len(learned) / SAMPLE_RATE:.0f} s of this voice, no words in writing, and "
        f"sees the last {model.receptive_field / SAMPLE_RATE * 1000:.0f} ms when it draws the next "
        "sample. **Which temperature sounds most like the voice?** Where does it lose the thread?"
    )
    add_sounds(page, sounds, PROMPT)
    add_costs(page, history, costs)
    out.parent.mkdir(parents=True, exist_ok=True)
    page.save(out, overwrite=overwrite)
    print(f"wrote {out} after {time.perf_counter() - begin:.0f} s")
    return costs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recording", type=Path, default=RECORDING)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--temperatures", type=float, nargs="+", default=TEMPERATURES)
    parser.add_argument("--top-k", type=int, default=TOP_K, help="levels to choose from")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each continuation")
    parser.add_argument("--max-seconds", type=float, default=None, help="of training")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--overwrite", action="store_true", help="replace the page")
    wavenet_continue(**vars(parser.parse_args()))


if __name__ == "__main__":
    try:
        main()
    except (ScratchAudioError, OSError) as error:
        sys.exit(f"error: {error}")
