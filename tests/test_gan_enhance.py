"""The page that trains SEGAN and puts it on the ladder: batches, both updates, rows, refusals."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import test_enhancer_examples

from scratchaudio import dsp, metrics, nn
from scratchaudio.checkpoint import load_checkpoint
from scratchaudio.errors import CheckpointError, ConfigError
from scratchaudio.models import SEGANDiscriminator, SEGANGenerator, load_model
from scratchaudio.nn import LEAST_SQUARES

EXAMPLES = Path(__file__).parent.parent / "examples"
SIZES = {"widths": (3, 4), "kernel_size": 5, "stride": 4}
SR = 16000

voices = test_enhancer_examples.voices  # a fixture: a folder of short "voices"


@pytest.fixture
def example(monkeypatch):
    """The example as a module, with tiny networks and trainings."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    module = importlib.import_module("gan_enhance")
    tiny = {
        "SHOWN_SECONDS": 2,
        "SMALL": SIZES,
        "SMALL_GENERATOR": SIZES | {"n_latent": 2},
        "EPOCH": 3,
        "BATCH_SIZE": 3,
        "N_SAMPLES": 512,
    }
    for name, value in (tiny | {"N_NOISES": 3, "NOISE_SECONDS": 2}).items():
        monkeypatch.setattr(module, name, value)
    evaluate_enhancer = sys.modules["evaluate_enhancer"]
    for name, value in {"SECONDS": 3, "SNRS": (5,), "TEST_NOISES": ("music",)}.items():
        monkeypatch.setattr(evaluate_enhancer, name, value)
    return module


# Noisy voices ------------------------------------------------------------------------------------


def test_the_pool_is_at_level_1_and_emphasised(example, voices):
    recordings = example.load_split("train", voices)
    clean, noises = example.make_pool(recordings, 0.6, np.random.default_rng(0))
    assert len(clean) == len(recordings) and len(noises) == example.N_NOISES
    for x, recording in zip(clean, recordings, strict=True):
        back = dsp.deemphasis(x.astype(float), coef=0.6, zi=0)
        assert abs(dsp.active_level(back, recording.active) - 1) < 1e-3
        assert metrics.si_sdr(recording.samples, back) > 80 and x.dtype == np.float32
    for x in noises:
        assert len(x) == 2 * SR and x.dtype == np.float32
        back = dsp.deemphasis(x.astype(float), coef=0.6, zi=0)
        assert abs(np.sqrt(np.mean(back**2)) - 1) < 1e-3


def test_batches_hold_what_was_cut_at_levels_within_the_range(example, monkeypatch):
    rng = np.random.default_rng(0)
    clean, noises = (
        [rng.standard_normal(1000).astype(np.float32) for _ in range(2)] for _ in range(2)
    )
    monkeypatch.setattr(example, "BATCH_SIZE", 60)
    x, s = example.draw_batch(clean, noises, rng)
    assert x.shape == s.shape == (60, 1, 512) and x.dtype == s.dtype == np.float32
    sources = {(kind, k): y for kind, ys in (("s", clean), ("n", noises)) for k, y in enumerate(ys)}
    windows = {key: np.lib.stride_tricks.sliding_window_view(y, 512) for key, y in sources.items()}
    snrs, peaks, found = [], [], set()
    for noisy, voice in zip(x[:, 0], s[:, 0], strict=True):
        gains = {}
        for part, kind in ((voice, "s"), (noisy - voice, "n")):
            for key, window in windows.items():
                likeness = window @ part / np.linalg.norm(window, axis=1) / np.linalg.norm(part)
                if likeness.max() > 0.9999:
                    assert key[0] == kind
                    found.add(key)
                    gains[kind] = np.linalg.norm(part) / np.linalg.norm(window[likeness.argmax()])
        snrs.append(20 * np.log10(gains["s"] / gains["n"]))
        peaks.append(20 * np.log10(max(abs(noisy).max(), abs(voice).max()) / 0.9))
    assert len(found) == 4, "every voice and every noise"
    for drawn, (low, high) in ((snrs, example.SNR_RANGE), (peaks, example.LEVEL_RANGE)):
        third = (high - low) / 3
        assert low - 0.01 <= min(drawn) < low + third and high - third < max(drawn) <= high + 0.01


def test_silence_makes_no_nan(example):
    silent = [np.zeros(600, np.float32)]
    x, s = example.draw_batch(silent, silent, np.random.default_rng(0))
    assert not x.any() and not s.any()


# Training ----------------------------------------------------------------------------------------


def by_hand(example, adversarial, sounds, n_steps):
    """The same training, with the gradients of the losses written out: generator."""
    rng = np.random.default_rng(3)
    generator = SEGANGenerator(**SIZES, n_latent=2, rng=3)
    judge = SEGANDiscriminator(512, **SIZES, spectral=True, rng=4)
    g_optimizer = nn.Adam(generator.parameters(), betas=(0.5, 0.9))
    d_optimizer = nn.Adam(judge.parameters(), betas=(0.5, 0.9))
    recordings = example.load_split("train", sounds)
    pool = example.make_pool(recordings, generator.emphasis, rng)
    for step in range(n_steps):
        for optimizer, lr in ((g_optimizer, example.LR), (d_optimizer, example.D_LR)):
            optimizer.lr = nn.cosine_with_warmup(step, lr, n_steps, n_steps // 4, lr / 20)
        noisy, clean = example.draw_batch(*pool, rng)
        z = generator.draw(3, 512, rng)
        if adversarial:
            fake = generator.forward(noisy, z)
            judge.zero_grad()
            pairs = [np.concatenate([candidate, noisy], axis=1) for candidate in (clean, fake)]
            logits, goal = judge.forward(np.concatenate(pairs)), np.float32([1, 1, 1, 0, 0, 0])
            judge.backward(2 * (logits - goal) / 3)
            d_optimizer.step()
        generator.zero_grad()
        fake = generator.forward(noisy, z)
        dfake = 100 * np.sign(fake - clean) / fake.size
        if adversarial:
            logits = judge.forward(np.concatenate([fake, noisy], axis=1))
            dfake = dfake + judge.backward(2 * (logits - 1) / 3)[:, 0:1]
        generator.backward(dfake.astype(np.float32))
        g_optimizer.step()
    return generator


@pytest.mark.parametrize("adversarial", [True, False])
def test_training_is_that_of_the_paper(example, voices, adversarial):
    generator, _, _ = example.train(adversarial, sounds=voices, epochs=2, seed=3)
    expected = by_hand(example, adversarial, voices, 6)
    for name, value in generator.state_dict().items():
        np.testing.assert_allclose(value, expected.state_dict()[name], atol=2e-5, err_msg=name)


def test_the_histories_tell_both_trainings(example, voices, capsys):
    generator, game, strip = example.train(True, sounds=voices, epochs=2)
    alone, history, _ = example.train(False, sounds=voices, epochs=2)
    assert [record["epoch"] for record in game] == [1, 2]
    assert set(game[0]) == {"epoch", "D", "G", "L1", "real", "fake", "improvement"}
    assert set(history[0]) == {"epoch", "L1", "improvement"}
    assert sorted(strip) == [0, 1, 2]
    assert all(x.shape == (example.STRIP_SECONDS * SR,) for x in strip.values())
    pairs = example.validation_set(example.load_split("validation", voices))
    gains = [
        metrics.si_sdr(clean, generator.enhance(x, SR)) - metrics.si_sdr(clean, x)
        for clean, x in pairs
    ]
    assert game[-1]["improvement"] == pytest.approx(np.median(gains), abs=1e-6)
    clip = pairs[example.STRIP_VOICE][1][: example.STRIP_SECONDS * SR]
    np.testing.assert_array_equal(strip[2], generator.enhance(clip, SR))
    printed = capsys.readouterr().out
    assert "epoch 1/2" in printed and "left" in printed
    assert any(abs(a - b).max() > 1e-4 for a, b in zip(
        generator.state_dict().values(), alone.state_dict().values(), strict=True
    ))  # fmt: skip


def test_a_training_that_runs_away(example, voices, monkeypatch):
    monkeypatch.setattr(example, "LR", 1e30)
    with (
        pytest.raises(ConfigError, match="training diverged in epoch 1.*lower LR or D_LR"),
        np.errstate(all="ignore"),
    ):
        example.train(False, sounds=voices, epochs=1)


def test_epochs_must_be_some(example, voices):
    with pytest.raises(ConfigError, match="epochs must be an integer of at least 1, got 0"):
        example.train(True, sounds=voices, epochs=0)


# The page ----------------------------------------------------------------------------------------


def test_the_page_and_the_ladder(example, voices, tmp_path, capsys, monkeypatch):
    out, checkpoint = tmp_path / "new" / "page.html", tmp_path / "deep" / "g.npz"
    arguments = ["gan_enhance", "--out", out, "--checkpoint", checkpoint, "--sounds", voices]
    monkeypatch.setattr("sys.argv", [*map(str, arguments), "--epochs", "2"])
    example.main()
    printed, page = capsys.readouterr().out, out.read_text(encoding="utf-8")
    order = ["noisy", "spectral subtraction", "Wiener filter", "SEGAN", "SEGAN, L1 alone"]
    order += ["Transformer", "oracle mask", "true magnitude, noisy phase"]
    places = [printed.index(f"{name:>28}  ") for name in order]
    assert places == sorted(places)
    for text in ("Listen", "In music noise", "What the adversary does", "0-1 kHz", "The ladder",
                 "How the training went", "A healthy run", "One clip as the generator learned",
                 "In the highest band",
                 "Wiener filter", "true magnitude, noisy phase"):  # fmt: skip
        assert text in page, text

    for path, n_measures in ((checkpoint, 7), (checkpoint.with_name("g_l1.npz"), 3)):
        assert isinstance(load_model(path), SEGANGenerator)
        history = load_checkpoint(path).progress["history"]
        assert len(history) == 2 and len(history[0]) == n_measures

    with pytest.raises(ConfigError, match="page.html is already there; --overwrite replaces it"):
        example.main()
    with pytest.raises(ConfigError, match="g.npz is already there; --overwrite replaces it"):
        example.gan_enhance(tmp_path / "other.html", checkpoint, sounds=voices, epochs=2)
    monkeypatch.setattr(example, "train", None)
    written = []
    monkeypatch.setattr(example, "write_page", lambda *given: written.append(given))
    rows = example.gan_enhance(out, checkpoint, sounds=voices, trained=True, overwrite=True)
    assert len(rows) == 8 * 2  # methods, voices
    ((path, shown_rows, _, generators, histories, strip),) = written
    assert path == out and shown_rows is rows and strip is None
    assert list(generators) == list(histories) == ["SEGAN", "SEGAN, L1 alone"]
    assert len(histories["SEGAN"][0]) == 7 and len(histories["SEGAN, L1 alone"][0]) == 3
    mean_of = {name: np.mean([r[4] for r in rows if r[0] == name]) for name in order}
    assert f"{mean_of['SEGAN']:7.2f}" in printed
    assert mean_of["SEGAN"] != mean_of["SEGAN, L1 alone"]


def test_a_row_measures_the_generator_of_its_name(example):
    generators = {name: SEGANGenerator(**SIZES, n_latent=2, rng=k) for k, name in enumerate("ab")}
    methods = example.whole_ladder(generators)
    x = np.random.default_rng(0).standard_normal(2000)
    for name, generator in generators.items():
        np.testing.assert_array_equal(methods[name](None, x), generator.enhance(x, SR))
    assert list(methods).index("b") + 1 == list(methods).index("Transformer")


def test_levels_by_band(example):
    t = np.arange(SR) / SR
    low, middle, high = (np.sin(2 * np.pi * f * t) for f in (500, 2500, 6000))
    levels = example.band_levels(
        {"clean": low + middle + high, "x": low + 0.1 * middle + 10 * high}
    )
    np.testing.assert_allclose(levels["clean"], 0, atol=1e-9)
    np.testing.assert_allclose(levels["x"], [0, -20, 20], atol=0.5)


def test_the_weight_of_z(example):
    class Half:
        """Adds another noise for each draw, as strong as the signal."""

        def enhance(self, x, sr, rng):
            return x + np.random.default_rng(rng).standard_normal(len(x))

    x = np.random.default_rng(9).standard_normal(SR)
    expected = 10 * np.log10(1 / 3)  # a cosine of 1/2 between the two
    assert example.weight_of_z(Half(), {"rain": {"noisy": x}}) == pytest.approx(expected, abs=0.3)


def test_what_is_missing_is_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLES / "gan_enhance.py", "--trained", "--checkpoint",
         tmp_path / "none.npz", "--out", tmp_path / "page.html"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ") and "none.npz" in line


def test_a_checkpoint_of_another_training(example, voices, tmp_path):
    with pytest.raises(CheckpointError):
        example.gan_enhance(tmp_path / "page.html", tmp_path / "g.npz", sounds=voices, trained=True)


def test_the_game_is_least_squares(example):
    assert example.LEAST_SQUARES is LEAST_SQUARES and example.L1_WEIGHT == 100
