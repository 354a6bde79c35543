"""Training and evaluating the speech enhancer: what the scripts promise."""

import csv
import importlib
from pathlib import Path

import numpy as np
import pytest

from scratchaudio import dsp
from scratchaudio.checkpoint import save_checkpoint
from scratchaudio.errors import CheckpointError, ConfigError
from scratchaudio.io import save
from scratchaudio.metrics import si_sdr
from scratchaudio.models import SpeechEnhancer, load_model

EXAMPLES = Path(__file__).parent.parent / "examples"
SMALL = {"d_model": 8, "n_heads": 2, "n_layers": 1, "d_ff": 12}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


@pytest.fixture
def voices(tmp_path):
    """A folder of short "voices": harmonic tones on and off, 13 s each, two for each split."""
    rng = np.random.default_rng(0)
    time = np.arange(13 * 16000) / 16000
    on = (time % 1) < 0.6
    for split in ("train", "validation", "test"):
        (tmp_path / split).mkdir()
        for k in range(2):
            pitch = rng.uniform(100, 250)
            x = on * sum(np.sin(2 * np.pi * pitch * h * time) / h for h in range(1, 20))
            save(tmp_path / split / f"{k}.flac", 0.1 * x, 16000)
            lines = [f"{s},{s + 0.6}" for s in range(13)]
            (tmp_path / split / f"{k}.csv").write_text("\n".join(["start,end", *lines]) + "\n")
    return tmp_path


def test_no_noise_serves_two_purposes(script):
    train, data = script("train_enhancer"), script("voice_data")
    assert not set(train.KINDS) & set(train.VALIDATION_NOISES)
    assert not set(data.TEST_NOISES) & (set(train.KINDS) | set(train.VALIDATION_NOISES))
    assert len(train.KINDS) >= 10


def test_a_scene_is_drawn_from_its_seed_alone(script, voices):
    train = script("train_enhancer")
    train.prepare(voices)
    first, second, other = (train.make_scene(0, np.random.default_rng(k)) for k in (5, 5, 6))
    assert len(first[0]) == len(first[1]) > 0, "a piece of noise for each of the voice"
    for one, again in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, again)
        assert one.dtype == np.complex64
        assert one.shape[1:] == (train.WINDOW, train.N_FFT // 2 + 1)
    assert first[0].shape != other[0].shape or not np.array_equal(first[0], other[0])


def test_voice_and_noise_of_a_scene_have_level_1(script, voices, monkeypatch):
    """The SNR range holds only then: 0.6 of these voices is active, the noise all the time."""
    train = script("train_enhancer")
    train.prepare(voices)
    monkeypatch.setattr(train, "pieces", lambda x, rng: x)
    for seed in range(4):
        x, noise = train.make_scene(0, np.random.default_rng(seed))
        assert abs(np.sqrt(np.mean(x**2) / 0.6) - 1) < 0.1
        assert abs(np.sqrt(np.mean(noise**2)) - 1) < 1e-6


def test_batches_of_a_group_come_from_all_of_its_recordings(script, voices, monkeypatch):
    train = script("train_enhancer")
    train.prepare(voices)
    monkeypatch.setattr(train, "BATCH_SIZE", 2)
    scenes = []
    make_scene = train.make_scene
    monkeypatch.setattr(train, "make_scene", lambda *a: scenes.append(make_scene(*a)) or scenes[-1])
    made = train.make_batches([0, 1], seed=4)
    assert len(made) == sum(len(S) for S, _ in scenes) // 2 > 1
    for _, (X, S) in made:
        assert X.shape == S.shape == (2, train.WINDOW, train.N_FFT // 2 + 1)
    used = np.concatenate([S for _, (_, S) in made])
    for S, _ in scenes:
        assert any((piece == one).all() for piece in S for one in used), "a recording is left out"
    again = train.make_batches([0, 1], seed=4)
    for (_, (one, _)), (_, (other, _)) in zip(made, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_mixtures_hold_the_speech_at_levels_within_the_range(script):
    train = script("train_enhancer")
    rng = np.random.default_rng(1)
    n = 5 * train.BATCH_SIZE
    shape = (n, 9, 5)
    speech, noise = (
        (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
        for _ in range(2)
    )
    snrs, seen, seen_noises = [], set(), set()
    for (x,), (X, S) in train.mixtures(speech, noise, rng):
        assert x.shape == (train.BATCH_SIZE, 9, 10)
        for mixed, voice in zip(X, S, strict=True):
            match = [k for k in range(n) if np.array_equal(voice, speech[k])]
            assert len(match) == 1, "the target is not the speech as it is"
            seen.add(match[0])
            gains = [abs(mixed - voice) / abs(one) for one in noise]
            k = int(np.argmin([gain.std() / gain.mean() for gain in gains]))
            gain = gains[k]
            seen_noises.add(k)
            assert gain.std() < 1e-3 * gain.mean(), "the rest is not one noise with one gain"
            snrs.append(-20 * np.log10(gain.mean()))
    low, high = train.SNR_RANGE
    assert len(seen) == len(seen_noises) == n, "each voice and each noise has its turn once"
    assert low - 0.1 < min(snrs) < low + 12 and high - 12 < max(snrs) < high + 0.1


def test_training_improves_saves_and_refuses_to_overwrite(script, voices, tmp_path, monkeypatch):
    train = script("train_enhancer")
    for name, size in zip(("D_MODEL", "N_HEADS", "N_LAYERS", "D_FF"), (8, 2, 1, 12), strict=True):
        monkeypatch.setattr(train, name, size)
    monkeypatch.setattr(train, "BATCH_SIZE", 2)
    checkpoint, weights = tmp_path / "run.npz", tmp_path / "weights.npz"

    class Halved(SpeechEnhancer):  # a model of known improvement: half of the noise is gone
        def enhance(self, x, sr):
            return next(clean + (x - clean) / 2 for clean, noisy in pairs if noisy is x)

    pairs = train.validation_set(train.load_split("validation", voices))
    monkeypatch.setattr(train, "validation_set", lambda recordings: pairs)
    monkeypatch.setattr(train, "SpeechEnhancer", Halved)
    _, history = train.train(tmp_path / "halved.npz", sounds=voices, epochs=1)
    assert abs(history[0]["improvement"] - 6) < 1, "halving the noise is about 6 dB"
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name, size in zip(("D_MODEL", "N_HEADS", "N_LAYERS", "D_FF"), (8, 2, 1, 12), strict=True):
        monkeypatch.setattr(train, name, size)
    monkeypatch.setattr(train, "BATCH_SIZE", 2)
    model, history = train.train(checkpoint, sounds=voices, epochs=2, weights=weights)
    assert [record["epoch"] for record in history] == [1, 2]
    assert all(np.isfinite(record["improvement"]) for record in history)
    x = np.random.default_rng(2).standard_normal(8000).astype(np.float32)
    np.testing.assert_array_equal(load_model(weights).enhance(x, 16000), model.enhance(x, 16000))
    with pytest.raises(CheckpointError, match="already there.*--resume"):
        train.train(checkpoint, sounds=voices, epochs=2)

    again, _ = train.train(
        tmp_path / "second.npz", sounds=voices, epochs=1, lr=1e-9, seed=5, begin_with=weights
    )
    for name, value in again.state_dict().items():
        np.testing.assert_allclose(value, model.state_dict()[name], rtol=0, atol=1e-6)


def test_the_last_weights_are_kept(script, voices, tmp_path, monkeypatch):
    train = script("train_enhancer")
    for name, size in zip(("D_MODEL", "N_HEADS", "N_LAYERS", "D_FF"), (8, 2, 1, 12), strict=True):
        monkeypatch.setattr(train, name, size)
    monkeypatch.setattr(train, "PASSES", 1)
    monkeypatch.setattr(train, "BATCH_SIZE", 2)
    seen = []

    class Watched(SpeechEnhancer):
        def enhance(self, x, sr):
            seen.append(self.state_dict())
            return x / (1 + len(seen))  # the first epoch would be the best

    monkeypatch.setattr(train, "SpeechEnhancer", Watched)
    model, _ = train.train(tmp_path / "run.npz", sounds=voices, epochs=2)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, seen[-1][name])
    assert any((seen[0][name] != seen[-1][name]).any() for name in seen[0])


def test_the_evaluation_writes_the_ladder(script, voices, tmp_path, monkeypatch, capsys):
    evaluate = script("evaluate_enhancer")
    monkeypatch.setattr(evaluate, "SECONDS", 4)
    monkeypatch.setattr(evaluate, "SHOWN_VOICE", "1")
    model = SpeechEnhancer(**SMALL, rng=0)
    checkpoint = tmp_path / "model.npz"
    save_checkpoint(checkpoint, model, settings=model.settings)
    out = tmp_path / "page.html"
    arguments = ["evaluate", "--checkpoint", checkpoint, "--sounds", voices, "--out", out]
    monkeypatch.setattr("sys.argv", [str(argument) for argument in arguments])
    evaluate.main()

    printed = capsys.readouterr().out
    with out.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * 2 * 3 * 3  # methods, voices, noises, levels
    means = {
        method: np.mean([float(row["SI-SDR"]) for row in rows if row["method"] == method])
        for method in {row["method"] for row in rows}
    }
    order = ["noisy", "Transformer", "oracle mask", "true magnitude, noisy phase"]
    assert set(order) < set(means)
    assert means["noisy"] < means["Transformer"] < means["oracle mask"], means
    assert f"{means['Transformer']:.2f}" in printed
    page = out.read_text()
    for text in ("The ladder", "What it looks at", "Wiener filter", "In music noise"):
        assert text in page
    with pytest.raises(ConfigError, match="--overwrite"):
        evaluate.main()


def test_the_oracles_of_the_evaluation_know_the_truth(script):
    evaluate = script("evaluate_enhancer")
    rng = np.random.default_rng(3)
    clean, noise = rng.standard_normal((2, 16000))
    x = clean + noise
    np.testing.assert_allclose(evaluate.oracle_mask(clean, clean), clean, atol=1e-6)
    S = evaluate.spectra(clean)
    Y = evaluate.spectra(evaluate.true_magnitude(clean, clean))
    np.testing.assert_allclose(Y, S, atol=1e-6)
    assert si_sdr(clean, evaluate.oracle_mask(clean, x)) > si_sdr(clean, x) + 3
    X = evaluate.spectra(x)
    expected = dsp.istft(
        abs(S) * X / abs(X), n_fft=evaluate.N_FFT, hop_length=evaluate.HOP_LENGTH, length=16000
    )
    np.testing.assert_allclose(evaluate.true_magnitude(clean, x), expected, atol=1e-6)


def test_improvements_are_differences_from_the_noisy_row(script):
    evaluate = script("evaluate_enhancer")
    rows = []
    for voice, before, gain in (("a", 1.0, 5.0), ("b", -7.0, 9.0)):
        for snr_db in (0, 5):
            rows.append(("noisy", voice, "rain", snr_db, before + snr_db, 0, 0))
            rows.append(("Transformer", voice, "rain", snr_db, before + snr_db + gain, 0, 0))
    assert evaluate.improvement_interval(rows, "Transformer") == (5.0, 9.0)
    assert evaluate.mean(rows, "Transformer", "SI-SDR", snr_db=5) == 9.0


def test_the_beginning_of_a_recording_keeps_its_truth(script):
    data = script("voice_data")
    recording = data.Recording("a", np.arange(64000.0), [(0.5, 1.0), (1.5, 3.0), (3.5, 4.0)])
    first = data.beginning(recording, 2)
    np.testing.assert_array_equal(first.samples, np.arange(32000))
    assert first.segments == [(0.5, 1.0), (1.5, 2)]
