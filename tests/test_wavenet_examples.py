"""The examples of WaveNet: training, continuing, vocoding, what they compare with and refuse."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scratchaudio import dsp
from scratchaudio.checkpoint import save_checkpoint
from scratchaudio.errors import AudioFileError, CheckpointError, ConfigError
from scratchaudio.io import load, save
from scratchaudio.models import OpenUnmix, WaveNet, load_model, wavenet

EXAMPLES = Path(__file__).parent.parent / "examples"
SR = 8000
SMALL = {"n_channels": 4, "n_skip": 6, "n_layers": 4, "n_stacks": 1}
VOCODER = wavenet.SMALL | SMALL


@pytest.fixture(scope="module")
def examples():
    """The examples as modules, with short excerpts and epochs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        names = ("sample_coders", "train_wavenet", "wavenet_continue", "wavenet_vocoder")
        modules = {name: importlib.reload(importlib.import_module(name)) for name in names}
        for name, value in (("EPOCH", 12), ("LENGTH", 256), ("BATCH_SIZE", 3), ("LR", 1e-2)):
            patch.setattr(modules["train_wavenet"], name, value)
        patch.setattr(modules["wavenet_continue"], "SIZES", SMALL)
        patch.setattr(modules["wavenet_continue"], "PROMPT", 0.05)
        patch.setattr(modules["wavenet_vocoder"], "N_ITER", 8)
        yield modules


def hum(seconds, seed=0):
    """A tone with overtones and some noise."""
    t = np.arange(round(seconds * SR)) / SR
    tone = sum(np.sin(2 * np.pi * 150 * h * t) / h for h in range(1, 6))
    noise = np.random.default_rng(seed).standard_normal(len(t))
    return (0.2 * tone + 0.01 * noise).astype(np.float32)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("sounds") / "hum.wav"
    save(path, hum(2.0), SR)
    return path


@pytest.fixture(scope="module")
def trained(examples, recording, tmp_path_factory):
    """A vocoder, trained for two short epochs: folder, model, history."""
    folder = tmp_path_factory.mktemp("trained") / "new"
    model, history = examples["train_wavenet"].train(
        [recording],
        folder / "run.npz",
        epochs=2,
        sizes=VOCODER,
        weights=folder / "weights.npz",
    )
    return folder, model, history


# Training ----------------------------------------------------------------------------------------


def test_training_lowers_the_bits_and_saves(examples, trained, recording):
    folder, model, history = trained
    assert history[-1]["bits"] < history[0]["bits"] < 8
    loaded = load_model(folder / "weights.npz")
    x = hum(0.3)
    bits = examples["train_wavenet"].bits
    assert bits(loaded, x) == bits(model, x)
    x = examples["train_wavenet"].read_voice(recording, SR)
    assert bits(loaded, x[round(0.85 * len(x)) :]) == pytest.approx(history[-1]["bits"])


def test_bits_are_the_mean_over_samples(examples):
    """A network of zeros gives all codes alike: 8 bits."""
    model = WaveNet(**VOCODER, rng=0)
    for parameter in model.parameters():
        parameter.value[...] = 0
    assert examples["train_wavenet"].bits(model, hum(0.1)) == pytest.approx(8, rel=1e-6)


def test_batches_are_excerpts_with_their_frames(examples):
    model = WaveNet(**VOCODER, rng=0)
    sounds = [hum(0.2, 1), hum(0.3, 2)]
    mels = [model.condition_of(x) for x in sounds]
    codes = [dsp.mulaw_encode(x) for x in sounds]
    batches = list(examples["train_wavenet"].make_batches(model, sounds)(np.random.default_rng(0)))
    assert len(batches) == 12
    seen = set()
    for (c, g, h), (target,) in batches:
        assert c is target and g is None and c.shape == (3, 256) and h.shape == (3, 40, 4)
        for row, frames in zip(c, h, strict=True):
            found = [
                (i, t)
                for i in (0, 1)
                for t in range(len(codes[i]) // 64 - 3)
                if np.array_equal(codes[i][64 * t : 64 * t + 256], row)
            ]
            assert len(found) == 1
            i, t = found[0]
            assert np.array_equal(mels[i][:, t : t + 4], frames)
            seen.add(found[0])
    assert len(seen) > 15 and {i for i, _ in seen} == {0, 1}


def test_pauses_are_taken_out(examples, tmp_path):
    quiet = np.zeros(SR, np.float32)
    save(tmp_path / "x.wav", np.concatenate([quiet, hum(1.0), quiet]), SR)
    x = examples["train_wavenet"].read_voice(tmp_path / "x.wav", SR)
    assert len(x) == pytest.approx(1.2 * SR, abs=600)
    save(tmp_path / "stereo.wav", np.stack([hum(1.0), hum(1.0)]), SR)
    assert examples["train_wavenet"].read_voice(tmp_path / "stereo.wav", SR).ndim == 1


def test_too_little_to_learn_from(examples, tmp_path):
    save(tmp_path / "x.wav", hum(0.05), SR)
    with pytest.raises(AudioFileError, match="x.wav holds 0.05 s of sound at 8000 Hz, at least"):
        examples["train_wavenet"].read_voice(tmp_path / "x.wav", SR)


def test_an_old_checkpoint_is_not_overwritten(examples, trained, recording):
    folder, _, _ = trained
    with pytest.raises(CheckpointError, match="--resume goes on, --overwrite begins"):
        examples["train_wavenet"].train([recording], folder / "run.npz", epochs=2, sizes=VOCODER)


def test_a_resumed_run_is_the_run(examples, trained, recording, tmp_path):
    _, model, history = trained
    train = examples["train_wavenet"].train
    train([recording], tmp_path / "run.npz", epochs=2, sizes=VOCODER, max_seconds=0)  # one epoch
    again, whole = train([recording], tmp_path / "run.npz", epochs=2, sizes=VOCODER, resume=True)
    assert whole == history
    for name, value in model.state_dict().items():
        assert np.array_equal(again.state_dict()[name], value)


# What is compared with ---------------------------------------------------------------------------


def test_the_unigram_of_noise_is_its_entropy(examples):
    rng = np.random.default_rng(0)
    levels = dsp.mulaw_decode(np.array([100, 128, 150, 200]))
    p = np.array([0.5, 0.25, 0.125, 0.125])
    learned, x = rng.choice(levels, 50_000, p=p), rng.choice(levels, 50_000, p=p)
    assert examples["sample_coders"].unigram_bits(learned, x) == pytest.approx(1.75, abs=0.03)


def test_the_linear_predictor_of_laplacian_noise_behind_a_filter(examples):
    """Near the entropy of the noise: h = log2(2 e b), and of that the steps of the codes."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(0)
    b = 0.02
    x = lfilter([1], [1, -1.5, 0.8], rng.laplace(scale=b, size=40_000))
    x = np.clip(x, -1, 1).astype(np.float32)
    steps = np.diff(np.concatenate([[-1], dsp.mulaw_edges(), [1]]))[dsp.mulaw_encode(x[20_000:])]
    entropy = np.log2(2 * np.e * b) - np.log2(steps).mean()
    cost = examples["sample_coders"].linear_bits(x[:20_000], x[20_000:])
    assert entropy - 0.02 < cost < entropy + 0.1


def test_all_codes_together_have_probability_1(examples):
    """No cheaper than possible: the bits of every code after the same past."""
    coders = examples["sample_coders"]
    weights = np.array([0.9, -0.3])
    past = np.array([0.1, -0.05, 0.02, 0.04], np.float32)
    total = 0
    for level in dsp.mulaw_decode(np.arange(256)).astype(np.float64):
        x = np.concatenate([past, [level]])
        earlier = coders._laplace_bits(x[:-1], weights, 256, 2, 1.0)  # mean of 2 samples
        both = coders._laplace_bits(x, weights, 256, 2, 1.0)  # of 3
        total += 2.0 ** -(3 * both - 2 * earlier)
    assert total == pytest.approx(1, abs=1e-9)


# The pages ---------------------------------------------------------------------------------------


def test_the_voice_goes_on(examples, recording, tmp_path, capsys):
    out = tmp_path / "new" / "page.html"
    run = examples["wavenet_continue"].wavenet_continue
    options = {"epochs": 2, "temperatures": (0, 0.8), "seconds": 0.1, "out": out}
    costs = run(recording, **options)
    assert list(costs) == ["unigram", "linear, 16 samples", "WaveNet, 16 samples"]
    assert all(0 < cost < 8.5 for cost in costs.values())
    printed = capsys.readouterr().out
    for name, cost in costs.items():
        assert re.search(rf"{name} +{cost:.3f} bits a sample", printed)
    html = out.read_text()
    for text in ("temperature 0<", "temperature 0.8", "the recording itself", "linear, 16 samples"):
        assert text in html
    with pytest.raises(ConfigError, match="page.html is already there; --overwrite replaces it"):
        run(recording, **options)
    with pytest.raises(ConfigError, match="seconds must be above 0, got 0"):
        run(recording, seconds=0, out=tmp_path / "other.html")


def test_what_goes_on_begins_with_the_prompt(examples):
    model = WaveNet(**SMALL, rng=0).eval()
    prompt = hum(0.1)
    sound = examples["wavenet_continue"].go_on(model, prompt, 50, 1.0, 5, 0)
    assert sound.shape == (len(prompt) + 50,) and np.array_equal(sound[: len(prompt)], prompt)
    again = examples["wavenet_continue"].go_on(model, prompt, 50, 1.0, 5, 0)
    assert np.array_equal(sound, again)


def test_a_sentence_from_its_mel_spectrum(examples, trained, tmp_path, capsys):
    folder, _, _ = trained
    save(tmp_path / "say.wav", hum(0.4, 5), SR)
    out = tmp_path / "new" / "page.html"
    run = examples["wavenet_vocoder"].wavenet_vocoder
    options = {"checkpoint": folder / "weights.npz", "out": out}
    distances = run(tmp_path / "say.wav", **options)
    assert list(distances) == ["original", "Griffin-Lim", "WaveNet", "original, coded"]
    assert distances["original"] == 0 < distances["Griffin-Lim"] < distances["WaveNet"]
    assert 0 < distances["original, coded"] < distances["WaveNet"]
    for name in ("original", "griffin_lim", "wavenet"):
        x, sr = load(out.with_suffix("") / f"{name}.wav")
        assert sr == SR and x.shape == (3200,) and np.abs(x).max() > 0.01
    printed = capsys.readouterr().out
    assert f"WaveNet  log-mel distance {distances['WaveNet']:.2f} dB" in printed
    assert "log-mel distance" in out.read_text()
    with pytest.raises(ConfigError, match="page.html, .* already there; --overwrite replaces them"):
        run(tmp_path / "say.wav", **options)


def test_griffin_lim_gets_the_mel_spectrum_alone(examples):
    """And comes near to it: the inversion of the mel bands explains them."""
    vocoder = examples["wavenet_vocoder"]
    model = WaveNet(**VOCODER, rng=0)
    x = hum(0.5)
    mel = model.condition_of(x)
    y = vocoder.by_griffin_lim(model, mel, len(x), 0)
    assert y.shape == x.shape
    assert vocoder.mel_distance(model, y, mel) < 3  # dB, after 8 rounds
    assert vocoder.mel_distance(model, 10 * x, mel) == pytest.approx(20, abs=0.01)


def test_what_is_no_vocoder(examples, recording, tmp_path):
    for name, model in (
        ("other", OpenUnmix(2, 6, 2, n_fft=14, hop_length=5, sample_rate=100, bandwidth=35)),
        ("free", WaveNet(**SMALL)),
    ):
        path = tmp_path / f"{name}.npz"
        save_checkpoint(path, model, settings=model.settings)
        with pytest.raises(ConfigError, match=f"{name}.npz is no vocoder"):
            examples["wavenet_vocoder"].wavenet_vocoder(
                recording, checkpoint=path, out=tmp_path / "x.html"
            )


def test_the_command_line(tmp_path):
    """A wrong file is one line, not a traceback."""
    run = subprocess.run(
        [sys.executable, EXAMPLES / "wavenet_continue.py", "--recording", "no.wav"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert run.returncode == 1
    assert run.stderr == "error: cannot read no.wav: No such file or directory\n"
