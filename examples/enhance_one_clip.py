"""Learn one clip by heart: small Transformers take the noise off a single sentence.

    python examples/enhance_one_clip.py                             about two minutes
    python examples/enhance_one_clip.py --noise-level 0.1 --epochs 100
    python examples/enhance_one_clip.py --filename-clean my_voice.wav

The smallest training there is: one spectrogram in, one out, again and again. It shows that the
network and all its derivatives work, and what a network that saw one clip knows: that clip.

You will see the loss every 50 epochs, and a ladder of measures from the noise up to what only the
truth could do, with the networks on it. The page out/enhance_one_clip.html has a slider over the
noise level: you will hear and see noisy, enhanced and clean at each; then a voice that the networks
never heard, what an encoder-decoder does when it must go on from its own mistakes, and where
attention looks.
"""

import argparse
import math
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from voice_data import load_split

from scratchaudio import dsp, metrics, plot
from scratchaudio.errors import ConfigError, ScratchAudioError, require_positive_integer
from scratchaudio.io import load
from scratchaudio.models import SpectrogramSeq2Seq, SpectrogramTransformer, vad
from scratchaudio.nn import Adam, mse
from scratchaudio.report import Level, Report

# %% Settings
FILENAME_CLEAN = Path(__file__).parent.parent / "sounds" / "speech.wav"
NOISE_LEVEL = 0.05  # standard deviation of the white noise, 0 to 0.2 of full scale
N_FFT = 1024
HOP_LENGTH = 256
D_MODEL = 256
N_HEADS = 4
N_LAYERS = 2
LR = 1e-3
EPOCHS = 200

D_FF = 2048
DROPOUT = 0.1
SEED = 0
OUT = Path("out/enhance_one_clip.html")

LEVELS = (0, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2)  # of the slider, with NOISE_LEVEL
HIGHEST_LEVEL = 0.2
SECONDS = (1, 30)  # of a clip: STOI needs half a second of speech
MAX_FRAMES = 2000  # attention makes a table of T^2 numbers for each head
SECOND_VOICE = "festival_ked"  # of the test voices
PRINT_EVERY = 50  # epochs
ATTENTION_SECONDS = 3

ORACLE_MASK, TRUE_MAGNITUDE = "oracle mask", "true magnitude, noisy phase"
ORACLES = {ORACLE_MASK: "^", TRUE_MAGNITUDE: "v"}  # with their markers
WIENER = "Wiener, decision-directed"
MAPPING, MASK = "Transformer, mapping", "Transformer, mask"
WRITER, PAINTER = "encoder-decoder, mask", "encoder-decoder, mapping"
SI_SDR, STOI, LSD, MSE = "SI-SDR (dB)", "STOI", "LSD (dB)", "MSE"


# %% Clips in noise


@dataclass(frozen=True)
class Mixture:
    """A clean clip and the same in noise, (N,) each, with the settings of their STFTs."""

    clean: np.ndarray
    noisy: np.ndarray
    sr: int
    n_fft: int
    hop_length: int

    def stft(self, x):
        """(N,) -> (F, T) complex."""
        return dsp.stft(x, n_fft=self.n_fft, hop_length=self.hop_length)

    def istft(self, Y):
        """(F, T) complex -> (N,)."""
        return dsp.istft(
            Y, n_fft=self.n_fft, hop_length=self.hop_length, length=len(self.clean)
        )  # fmt: skip

    @cached_property
    def S(self):
        """STFT of the clean clip, (F, T)."""
        return self.stft(self.clean)

    @cached_property
    def X(self):
        """STFT of the noisy clip, (F, T)."""
        return self.stft(self.noisy)

    def sound(self, magnitudes):
        """Network output (1, T, F) -> (N,): noisy phase; what a mapping made negative is 0."""
        return self.istft(dsp.with_phase(np.maximum(magnitudes[0].T, 0), self.X))


def frames(X):
    """Magnitudes as the networks read them: (F, T) complex -> (1, T, F)."""
    return np.ascontiguousarray(np.abs(X).T[np.newaxis])


def read_clip(path):
    """Read the clip to learn; return samples (N,) and sampling rate."""
    x, sr = load(path)
    if x.ndim == 2:
        print(f"{path} has {len(x)} channels: their mean is used")
        x = x.mean(axis=0)
    if not SECONDS[0] <= len(x) / sr <= SECONDS[1]:
        raise ConfigError(
            f"FILENAME_CLEAN must last {SECONDS[0]} to {SECONDS[1]} s, {path} lasts "
            f"{len(x) / sr:.2f} s"
        )
    if not x.any():
        raise ConfigError(f"FILENAME_CLEAN must hold a voice, but {path} is silent")
    n_clipped = int((np.abs(x) >= 0.999).sum())
    if n_clipped:
        print(f"{path} is at full scale in {n_clipped} samples: clipping is learned like the voice")
    return x, sr


def unheard_clip(n_samples, sr, level):
    """Cut the piece with the most speech from a test voice, at a level (RMS of active speech)."""
    recording = next(r for r in load_split("test") if r.name == SECOND_VOICE)
    n = min(len(recording.samples), round(n_samples * vad.SAMPLE_RATE / sr))
    seen = np.cumsum(np.concatenate([[0], recording.active]))
    start = int(np.argmax(seen[n:] - seen[:-n]))
    x = dsp.resample(recording.samples[start : start + n], vad.SAMPLE_RATE, sr)
    return (x * (level / dsp.active_level(x))).astype(np.float32)


# %% Training


def train(name, model, inputs, clean, lr, epochs):
    """Fit a model to the one spectrogram; return the loss of each epoch."""
    optimizer = Adam(model.parameters(), lr=lr)
    begin, losses = time.perf_counter(), []
    model.train()
    for epoch in range(1, epochs + 1):
        with np.errstate(over="ignore", invalid="ignore"):  # told below, by the loss
            model.zero_grad()
            prediction = model.forward(*inputs)
            loss, dprediction = mse(prediction, clean)
            model.backward(dprediction)
            optimizer.step()
        if not math.isfinite(loss):
            raise ConfigError(f"the loss of {name} is {loss} in epoch {epoch}: LR={lr} is too high")
        losses.append(loss)
        if epoch % PRINT_EVERY == 0 or epoch == epochs:
            seconds = time.perf_counter() - begin
            print(f"{name:>26}: epoch {epoch:4d}  loss {loss:8.4f}  {seconds:4.0f} s", flush=True)
    model.eval()
    return losses


def make_networks(n_bins, settings, seed):
    """Return the four networks: {name: Layer}."""
    return {
        MAPPING: SpectrogramTransformer(n_bins, **settings, rng=seed),
        MASK: SpectrogramTransformer(n_bins, **settings, mask=True, rng=seed),
        WRITER: SpectrogramSeq2Seq(n_bins, **settings, mask=True, rng=seed),
        PAINTER: SpectrogramSeq2Seq(n_bins, **settings, rng=seed),
    }


def train_all(networks, mixture, lr, epochs):
    """Train each network on the mixture; return {name: losses}."""
    noisy, clean = frames(mixture.X), frames(mixture.S)
    losses = {}
    for name, model in networks.items():
        teacher_forced = isinstance(model, SpectrogramSeq2Seq)
        inputs = (noisy, clean) if teacher_forced else (noisy,)
        losses[name] = train(name, model, inputs, clean, lr, epochs)
    return losses


# %% The ladder


def ladder(mixture, networks):
    """Every estimate of the clean clip, from the noise to the truth: {method: (N,)}."""
    x, sr = mixture.noisy, mixture.sr
    heard = {name: networks[name].forward for name in (MAPPING, MASK) if name in networks}
    if WRITER in networks:
        heard[WRITER] = networks[WRITER].generate
    S, X = mixture.S, mixture.X
    return {
        "noisy": x,
        "spectral subtraction": dsp.denoise(x, sr, method="subtraction"),
        WIENER: dsp.denoise(x, sr, method="wiener"),
        **{name: mixture.sound(enhance(frames(X))) for name, enhance in heard.items()},
        ORACLE_MASK: mixture.istft(dsp.apply_mask(X, dsp.phase_sensitive_mask(S, X))),
        TRUE_MAGNITUDE: mixture.istft(dsp.with_phase(np.abs(S), X)),
    }


def scores_of(mixture, estimate):
    """All measures of one estimate: {measure: float}."""
    clean = mixture.clean
    error = np.abs(mixture.stft(estimate)) - np.abs(mixture.S)
    return {
        SI_SDR: metrics.si_sdr(clean, estimate),
        STOI: metrics.stoi(clean, estimate, mixture.sr),
        LSD: metrics.log_spectral_distance(clean, estimate),
        MSE: float(np.mean(np.square(error))),
    }


def scores_of_all(mixture, sounds):
    """{method: {measure: float}} of {method: (N,)}."""
    return {method: scores_of(mixture, estimate) for method, estimate in sounds.items()}


def print_ladder(title, scores):
    """Print the measures of every method."""
    print(f"\n{title:>28}" + "".join(f"{measure:>13}" for measure in scores["noisy"]))
    for method, values in scores.items():
        print(f"{method:>28}" + "".join(f"{value:13.3f}" for value in values.values()))


# %% The slider


def at_levels(clip, unit_noise, noise_level, networks, make_mixture):
    """The ladder at every noise level: {level: (mixture, sounds, scores)}."""
    steps = {}
    for level in sorted({*LEVELS, noise_level}):
        mixture = make_mixture(clip, level * unit_noise)
        sounds = ladder(mixture, networks)
        steps[level] = mixture, sounds, scores_of_all(mixture, sounds)
        print(f"noise level {level:g}: made and measured", flush=True)
    return steps


def add_slider(page, steps, noise_level):
    """Hear, see and measure what the networks make of more and of less noise."""
    heard = {"noisy": "noisy", "mapping": MAPPING, "mask": MASK}
    levels = []
    for value, (mixture, sounds, scores) in steps.items():
        sounds = {name: sounds[method] for name, method in heard.items()}
        sounds["clean"] = mixture.clean
        levels.append(
            Level(
                value,
                sounds,
                spectrogram_figure(mixture, sounds),
                f"Spectrograms at noise level {value:g}: noisy, mapping, mask and clean.",
                {m: {n: scores[heard[n]][m] for n in heard} for m in (SI_SDR, STOI, LSD)},
            )
        )
    own, least = (steps[level][2] for level in (noise_level, min(steps)))
    page.heading("Move the noise")
    page.text(
        f"Both networks were trained at **one** noise level, {noise_level:g}, and with **one** "
        "draw of the noise. At all other positions of the slider they hear something new.\n\n"
        "- The **mapping** must make every magnitude from nothing. It has learned to paint this "
        f"sentence from this very noise. It has {own[MAPPING][SI_SDR]:.1f} dB there, but "
        f"{least[MAPPING][SI_SDR]:.1f} dB where there is no noise at all: what needs no cleaning "
        "is repainted all the same.\n"
        "- The **mask** only says how much of each noisy magnitude to keep. It has "
        f"{own[MASK][SI_SDR]:.1f} dB, and {least[MASK][SI_SDR]:.1f} dB without noise, where most "
        "of what it keeps is right already. That is why it carries over to other levels."
    )
    page.level_slider(
        levels,
        next(iter(steps.values()))[0].sr,
        "Play one, move the slider, switch to another: the position stays. Listen to the pauses "
        "(what is left of the noise) and to the s sounds (what is lost of the voice).",
        name="Noise level",
        start=noise_level,
        best={SI_SDR: max, STOI: max, LSD: min},
    )
    close(*(level.figure for level in levels))


def spectrogram_figure(mixture, sounds):
    """Spectrograms of four sounds, {name: (N,)}, two by two, on one scale; a figure."""
    loudest = 20 * math.log10(np.abs(mixture.S).max())
    figure, axes = plot.subplots(2, 2, height=1.9, sharex=True)
    for ax, (name, x) in zip(axes.flat, sounds.items(), strict=True):
        S_db = dsp.amplitude_to_db(np.abs(mixture.stft(x)))
        plot.spectrogram(
            S_db,
            mixture.sr,
            mixture.hop_length,
            dynamic_range=60,
            maximum=loudest,
            colorbar=ax is axes[0, 1] or ax is axes[1, 1],
            ax=ax,
        )
        ax.set_title(name, loc="left", fontsize=plot.LETTERS)
    for ax in axes[:, 1]:
        ax.set_ylabel("")
        ax.tick_params(labelleft=False)
    return figure


def add_level_curves(page, steps):
    """SI-SDR of all methods over the noise level."""
    levels = [level for level in steps if level > 0]  # at 0, the noisy clip is perfect
    _, ax = plot.subplots(height=4.4)
    for method in steps[levels[0]][2]:
        values = [steps[level][2][method][SI_SDR] for level in levels]
        if method in ORACLES:  # what nobody can have is drawn as a guide
            ax.plot(levels, values, ":", color=plot.INK, marker=ORACLES[method], label=method)
        else:
            plot.by_snr(levels, values, label=method, ylabel="SI-SDR (dB)", ax=ax)
    ax.set_xlabel("noise level (1 is full scale)")
    ax.set_xticks(levels, labels=[f"{level:g}" for level in levels], rotation=45)
    ax.set_ylim(top=ax.get_ylim()[1] + 8)
    ax.legend(loc="upper right", ncols=2, frameon=False, fontsize=plot.SMALL)
    ahead = [
        f"{level:g}"
        for level in levels
        if steps[level][2][WIENER][SI_SDR] > steps[level][2][MASK][SI_SDR]
    ]
    remark = (
        f" At {', '.join(ahead)} the Wiener filter is ahead of the mask: it measures the noise."
        if ahead
        else ""
    )
    show(
        page,
        ax,
        "SI-SDR by noise level, above 0: all networks were trained at one level only." + remark,
        "Curves of SI-SDR over the noise level, one for each method of the ladder.",
    )


# %% Further parts of the page


def add_opening(page, mixture, scores, noise_level, epochs):
    """What was done, in a paragraph."""
    seconds, (F, T) = len(mixture.clean) / mixture.sr, mixture.S.shape
    page.text(
        f"{seconds:.1f} s of speech, white noise of standard deviation {noise_level:g} added, and "
        f"from both the magnitudes of the STFT: {T} frames of {F} bins. A Transformer reads the "
        f"noisy ones and is told the clean ones, {epochs} times over. With the noisy phase, "
        "its output becomes sound again. SI-SDR, the energy of the voice over that of all else, "
        f"goes from {decibels(scores['noisy'][SI_SDR])} to **{scores[MASK][SI_SDR]:.1f} dB** with "
        f"a mask, and to {scores[MAPPING][SI_SDR]:.1f} dB with a direct mapping. That shows "
        "that forward, backward and Adam work together. It does not show that anything about "
        "speech was understood."
    )


def decibels(value):
    """Write decibels as text; without noise, the noisy clip is perfect."""
    return "infinitely many dB" if math.isinf(value) else f"{value:.1f} dB"


def add_ladder(page, scores, caption):
    """Write a ladder as a table."""
    rows = [[method, *values.values()] for method, values in scores.items()]
    page.table(rows, ["method", *scores["noisy"]], caption, digits=2)


def explain_ladder(page):
    """What the rows and columns of a ladder are."""
    page.text(
        "From the noise to the truth. **Spectral subtraction** and the **Wiener** filter have "
        "learned nothing. The **oracle mask** is the best number from 0 to 1 for every magnitude, "
        "and the last row has all the true magnitudes: both need the clean clip, and what they "
        "lack is only the phase. No estimate of magnitudes can be expected above them.\n\n"
        "STOI (0 to 1) is intelligibility, LSD the distance of the spectra in decibels and MSE "
        "that of the magnitudes, both of the finished sound: the less the better."
    )


def add_unheard(page, second, sounds, ladders):
    """The same networks on a noise and on a voice that they never heard."""
    own, theirs = ladders["as trained"], ladders["a voice never heard"]
    page.heading("What it learned: this clip")
    page.text(
        "Training showed these networks nothing but one sentence in one draw of the noise. Here "
        f"is the same sentence in another draw, and `{SECOND_VOICE}`, a voice they never heard, "
        "at the same loudness and noise level."
    )
    rows = [[method, *(of[method][SI_SDR] for of in ladders.values())] for method in own]
    page.table(rows, ["method", *ladders], "SI-SDR in dB, further and further away", digits=2)
    page.text(
        f"The mask has {own[MASK][SI_SDR]:.1f} dB on its own clip, and on the other voice "
        f"{theirs[MASK][SI_SDR]:.1f} dB; the Wiener filter, which has learned nothing, "
        f"{theirs[WIENER][SI_SDR]:.1f} dB there. The mapping has {theirs[MAPPING][SI_SDR]:.1f} dB, "
        f"and doing nothing at all {theirs['noisy'][SI_SDR]:.1f} dB. **Overfitting**: a small "
        "error on what was learned says nothing about the rest.\n\n"
        "The way out is not another network but many voices, rooms and noises: "
        "`examples/train_enhancer.py` learns from them, and `examples/evaluate_enhancer.py` puts "
        "the result on the same ladder, with voices that it never heard."
    )
    heard = {"noisy": "noisy", "Wiener": WIENER, "mapping": MAPPING, "mask": MASK}
    sounds = {name: sounds[method] for name, method in heard.items()} | {"clean": second.clean}
    page.players(
        sounds,
        second.sr,
        "The voice never heard. In the mapping you hear pieces of the other one.",
    )
    add_ladder(page, theirs, "A voice never heard: all measures")


def frame_by_frame(model, mixture):
    """What a decoder makes of the true past, of its own, and of the true one when deaf.

    Deaf: its encoder gets the noisy clip backwards, while a mask multiplies the right frames.
    """
    noisy, clean = frames(mixture.X), frames(mixture.S)
    backwards = np.ascontiguousarray(noisy[:, ::-1])
    deaf = model.forward(backwards, clean)
    if model.mask:
        deaf = noisy * np.divide(deaf, backwards, out=np.zeros_like(deaf), where=backwards > 0)
    return {
        "true past": mixture.sound(model.forward(noisy, clean)),
        "own past": mixture.sound(model.generate(noisy)),
        "true past, deaf encoder": mixture.sound(deaf),
    }


def add_decoders(page, networks, mixture):
    """Teacher forcing against use, in numbers and to hear."""
    sounds = {name: frame_by_frame(networks[name], mixture) for name in (WRITER, PAINTER)}
    si_sdr = {
        name: {past: metrics.si_sdr(mixture.clean, x) for past, x in sounds[name].items()}
        for name in sounds
    }
    for name, of in si_sdr.items():
        told = ", ".join(f"{past} {value:.2f} dB" for past, value in of.items())
        print(f"{name:>28}: {told}")
    lost = {name: of["true past"] - of["own past"] for name, of in si_sdr.items()}
    page.heading("Frame by frame: the encoder-decoder")
    page.text(
        "The encoder-decoder writes the clean spectrogram as a language model writes text: each "
        "frame after having seen the noisy clip and the clean frames before. In training these "
        "are the true ones (**teacher forcing**), so that all frames are learned in one pass. In "
        "use they are its own."
    )
    page.table(
        [[name, *of.values()] for name, of in si_sdr.items()],
        ["network", *si_sdr[WRITER]],
        "SI-SDR in dB by what the decoder is told of the frames before",
        digits=2,
    )
    page.text(
        f"From training to use, the mapping loses {lost[PAINTER]:.1f} dB. It goes on from its own "
        "frame to the next; a small mistake leads to places where it has never been, and there "
        "the mistakes are larger: **exposure bias**. The mask has the same past and loses "
        f"{max(lost[WRITER], 0):.1f} dB, since each frame is the true noisy one, turned down: that "
        "holds it on course.\n\n"
        "Why does the mapping not look up where it is in the noisy clip? The last column gives "
        "the encoder the clip backwards: as good as nothing changes. The position and the frame "
        "before are enough to know a single clip by heart, so training never made it listen. "
        "The encoder-decoder did not learn to clean, it learned to recite."
    )
    page.players(
        {
            "mask, own past": sounds[WRITER]["own past"],
            "mapping, true past": sounds[PAINTER]["true past"],
            "mapping, own past": sounds[PAINTER]["own past"],
        },
        mixture.sr,
        "Frame by frame in use, the mapping begins right and soon loses the thread.",
    )


def add_attention(page, networks, mixture):
    """Where the encoder with the mask looks, and how evenly the decoder does."""
    looks, crosses = [], []
    noisy = frames(mixture.X)
    networks[WRITER].forward(noisy, frames(mixture.S), crosses)
    T = round(ATTENTION_SECONDS * mixture.sr / mixture.hop_length)
    X = mixture.X[:, :T]
    networks[MASK].forward(frames(X), looks)
    page.heading("What it looks at")
    page.text(
        f"The mask's last block, which is given the first {ATTENTION_SECONDS} s here. Each map: "
        "the frame that asks from top to bottom, the frames it looks at from left to right, below "
        "the sound that they hold. Nothing tells this network when a frame is, so it looks by what "
        "is in it: vertical stripes are frames that many others consult. Which of them are vowels, "
        "which are hissing sounds?\n\n"
        "Of the encoder-decoder there is nothing to see: its cross-attention gives every noisy "
        f"frame the same weight, 1/{noisy.shape[1]}, up to a factor of {evenness(crosses):.2f}."
    )
    figure, _ = plot.attention(
        looks[-1][0], dsp.amplitude_to_db(np.abs(X)), mixture.sr, mixture.hop_length
    )
    caption = f"Attention of block {len(looks)} of {len(looks)} of the mask, head by head."
    show(page, figure, caption, "Attention maps of each head under the noisy spectrogram.")


def evenness(weights):
    """Largest factor by which any weight (B, h, T, S) differs from 1/S."""
    relative = np.stack(weights) * weights[0].shape[-1]
    return max(relative.max(), 1 / max(relative.min(), 1e-9))


def add_learning(page, losses):
    """Training curves."""
    history = [
        {"epoch": epoch, **dict(zip(losses, values, strict=True))}
        for epoch, values in enumerate(zip(*losses.values(), strict=True), start=1)
    ]
    _, ax = plot.subplots(height=3.2)
    plot.training_curves(history, tuple(losses), "mean squared error of magnitudes", ax=ax)
    ax.set_yscale("log")
    ax.set_xlabel("epoch (passes over the one clip)")
    page.heading("How it learned")
    show(page, ax, "The loss of each network.", "Training losses, falling, on a log scale.")


def show(page, drawing, caption, alt):
    """Add a figure to the page, and let go of it."""
    page.figure(drawing, caption, alt)
    close(drawing)


def close(*drawings):
    """Let go of figures."""
    import matplotlib.pyplot as plt

    for drawing in drawings:
        plt.close(getattr(drawing, "figure", drawing))


# %% All of it


def enhance_one_clip(
    filename_clean=FILENAME_CLEAN,
    *,
    noise_level=NOISE_LEVEL,
    n_fft=N_FFT,
    hop_length=HOP_LENGTH,
    d_model=D_MODEL,
    n_heads=N_HEADS,
    n_layers=N_LAYERS,
    lr=LR,
    epochs=EPOCHS,
    seed=SEED,
    out=OUT,
    overwrite=False,
):
    """Train, measure and write the page; return {method: {measure: float}} of the clip."""
    if not 0 <= noise_level <= HIGHEST_LEVEL:
        raise ConfigError(f"NOISE_LEVEL must be from 0 to {HIGHEST_LEVEL}, got {noise_level}")
    for name, value in (("N_FFT", n_fft), ("HOP_LENGTH", hop_length), ("EPOCHS", epochs)):
        require_positive_integer(name, value)
    out = Path(out)
    if out.is_dir():
        raise ConfigError(f"OUT must be a file to write, but {out} is a folder")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} is already there; --overwrite replaces it")
    out.parent.mkdir(parents=True, exist_ok=True)

    def make_mixture(clean, noise):
        noisy = (clean + noise).astype(np.float32)
        return Mixture(clean, noisy, sr, n_fft, hop_length)

    begin = time.perf_counter()
    clip, sr = read_clip(filename_clean)
    rng = np.random.default_rng(seed)
    unit_noise = rng.standard_normal(len(clip))
    mixture = make_mixture(clip, noise_level * unit_noise)
    if 1 + len(clip) // hop_length > MAX_FRAMES:
        raise ConfigError(
            f"HOP_LENGTH={hop_length} makes {1 + len(clip) // hop_length} frames of this clip, "
            f"{MAX_FRAMES} are allowed: attention compares each with each"
        )
    print_ladder("before any network", scores_of_all(mixture, ladder(mixture, {})))

    settings = {"d_model": d_model, "n_heads": n_heads, "n_layers": n_layers}
    settings |= {"d_ff": D_FF, "dropout": DROPOUT}
    networks = make_networks(len(mixture.S), settings, seed)
    losses = train_all(networks, mixture, lr, epochs)

    steps = at_levels(clip, unit_noise, noise_level, networks, make_mixture)
    _, _, scores = steps[noise_level]
    print_ladder("on the clip", scores)
    fresh = make_mixture(clip, noise_level * rng.standard_normal(len(clip)))
    scores_fresh = scores_of_all(fresh, ladder(fresh, networks))
    other = unheard_clip(len(clip), sr, dsp.active_level(clip))
    second = make_mixture(other, noise_level * rng.standard_normal(len(other)))
    second_sounds = ladder(second, networks)
    second_scores = scores_of_all(second, second_sounds)
    print_ladder("on a voice never heard", second_scores)

    page = Report(
        "One clip, learned by heart",
        "Small Transformers written by hand in NumPy take the noise off a single sentence",
    )
    add_opening(page, mixture, scores, noise_level, epochs)
    add_slider(page, steps, noise_level)
    page.heading("The ladder")
    explain_ladder(page)
    add_ladder(page, scores, f"The clip it was trained on, noise level {noise_level:g}")
    add_level_curves(page, steps)
    ladders = {
        "as trained": scores,
        "new noise": scores_fresh,
        "a voice never heard": second_scores,
    }
    add_unheard(page, second, second_sounds, ladders)
    add_decoders(page, networks, mixture)
    add_attention(page, networks, mixture)
    add_learning(page, losses)
    page.save(out, overwrite=overwrite)
    print(f"wrote {out} after {time.perf_counter() - begin:.0f} s")
    return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filename-clean", type=Path, default=FILENAME_CLEAN)
    parser.add_argument("--noise-level", type=float, default=NOISE_LEVEL, help="0 to 0.2")
    parser.add_argument("--n-fft", type=int, default=N_FFT)
    parser.add_argument("--hop-length", type=int, default=HOP_LENGTH)
    parser.add_argument("--d-model", type=int, default=D_MODEL)
    parser.add_argument("--n-heads", type=int, default=N_HEADS, help="a divisor of --d-model")
    parser.add_argument("--n-layers", type=int, default=N_LAYERS)
    parser.add_argument("--lr", type=float, default=LR)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--overwrite", action="store_true", help="replace the page")
    enhance_one_clip(**vars(parser.parse_args()))


if __name__ == "__main__":
    try:
        main()
    except (ScratchAudioError, OSError) as error:
        sys.exit(f"error: {error}")
