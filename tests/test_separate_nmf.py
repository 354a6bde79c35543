"""The demo that takes a song apart: its stems, its page, its numbers, and what it refuses."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scratchaudio import dsp, metrics
from scratchaudio.errors import AudioFileError, ConfigError
from scratchaudio.io import load, save
from scratchaudio.models import NMFSeparator
from scratchaudio.models.nmf_separator import N_BINS

EXAMPLES = Path(__file__).parent.parent / "examples"
SR = 16000
SMALL = {"n_fft": 512, "hop_length": 128, "n_components": 5, "n_iter": 30}


@pytest.fixture(scope="module")
def demo():
    """The example as a module, with small dictionaries that are drawn."""
    rng = np.random.default_rng(0)
    drawn = NMFSeparator(rng.random((N_BINS, 3)), rng.random((N_BINS, 4)))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        module = importlib.reload(importlib.import_module("separate_nmf"))
        patch.setattr(module, "load_pretrained", lambda name: drawn)
        patch.setattr(module, "SWEEP", (2, 3))
        patch.setattr(module, "ROWS", 3)
        patch.setattr(module, "COMPONENT_SECONDS", 0.5)
        yield module


def make_song(seconds=2.0):
    """A gliding voice in the middle; strokes and a chord on the sides: vocals, accompaniment."""
    t = np.arange(round(seconds * SR)) / SR
    phase = 2 * np.pi * np.cumsum(300 * (1 + 0.2 * np.sin(3 * t))) / SR
    voice = 0.1 * sum(np.sin(h * phase) / h for h in range(1, 12)) * (t < 1.4)
    noise = np.random.default_rng(1).standard_normal(len(t))
    chord = 0.05 * sum(np.sin(2 * np.pi * f * t) for f in (523, 659, 784))
    band = dsp.pan(0.2 * noise * np.exp(-20 * (t % 0.25)), 0.7) + dsp.pan(chord, -0.7)
    return dsp.pan(voice, 0).astype(np.float32), band.astype(np.float32)


@pytest.fixture(scope="module")
def song_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("song") / "song.wav"
    save(path, sum(make_song()), SR, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def made(demo, song_file, tmp_path_factory):
    """One run in which the truth is known: folder, scores, what was printed."""
    import contextlib
    import io

    from song_data import Song

    vocals, band = make_song()
    known = Song("made", {"vocals": vocals, "other": band}, SR)
    folder, printed = tmp_path_factory.mktemp("page"), io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "true_song", lambda path: known)
        scores = demo.separate_nmf(
            song_file, method="properties", out=folder / "new" / "page.html", **SMALL
        )
    return folder / "new", scores, printed.getvalue()


# Stems and numbers --------------------------------------------------------------------------------


def test_the_stems_sum_to_the_song(made, song_file):
    folder, _, _ = made
    x, sr = load(song_file)
    vocals, accompaniment = (
        load(folder / "page" / f"{name}.wav") for name in ("vocals", "accompaniment")
    )
    assert vocals[1] == accompaniment[1] == sr
    np.testing.assert_allclose(vocals[0] + accompaniment[0], x, rtol=0, atol=2.0**-15)
    assert np.abs(vocals[0]).max() > 0.01 and np.abs(accompaniment[0]).max() > 0.01


def test_the_scores_are_those_of_the_stems_written(made):
    folder, scores, _ = made
    vocals, _ = load(folder / "page" / "vocals.wav")
    truth = make_song()[0]
    written = metrics.si_sdr(truth.ravel(), vocals.ravel())
    assert scores["properties"]["SI-SDR"] == pytest.approx(written, abs=0.01)


def test_the_ladder_goes_from_the_mix_to_the_ideal_masks(made):
    _, scores, printed = made
    assert list(scores) == [
        "mix",
        "first half",
        "properties",
        "semi-supervised",
        "dictionaries",
        "centre mask",
        "harmonic, percussive",
        "REPET-sim",
        "ideal binary mask",
        "ideal ratio mask",
    ]
    vocals, band = make_song()
    as_is = metrics.si_sdr(vocals.ravel(), (vocals + band).ravel())
    assert scores["mix"]["SI-SDR"] == pytest.approx(as_is, abs=1e-3)
    best = max(scores["ideal binary mask"]["SI-SDR"], scores["ideal ratio mask"]["SI-SDR"])
    assert best > as_is + 5
    for name, values in scores.items():
        assert values["SI-SDR"] <= best, f"{name} is better than what knows the truth"
    for name in scores:
        assert re.search(rf"^ *{name} +-?\d", printed, re.M), f"{name} is not in the printed ladder"


def test_progress_and_divergence_are_printed(made):
    printed = made[2]
    found = re.findall(r"(\d+) updates  divergence +([\d.]+)", printed)
    assert [int(updates) for updates, _ in found] == [10, 20, 30]
    assert float(found[0][1]) > float(found[2][1]) > 0
    assert re.search(r"2 components: first half -?[\d.]+ dB, properties", printed)


# The page -----------------------------------------------------------------------------------------


def test_every_component_can_be_heard_alone(made):
    page = (made[0] / "page.html").read_text()
    played = re.findall(r'aria-label="Play (\d): voice ([\d.]+)"', page)
    assert sorted(number for number, _ in played) == ["1", "2", "3", "4", "5"]
    likeness = [float(share) for _, share in played]
    assert likeness == sorted(likeness, reverse=True), "the most like a voice come first"


def test_the_page_plays_mix_stems_truth_and_methods(made):
    page = (made[0] / "page.html").read_text()
    played = re.findall(r'aria-label="Play ([^",]+)"', page)
    first = ["mix", "vocals", "accompaniment", "true vocals", "true accompaniment"]
    assert played[:5] == first
    assert {"first half", "dictionaries", "REPET-sim", "ideal ratio mask"} <= set(played)
    for heading in ("the ladder", "one by one", "How it was found", "Try this"):
        assert f"{heading}" in page


def test_components_add_up_to_the_song(demo):
    """The sounds of all components, over all frames, sum to the mean of the channels."""
    x = sum(make_song())
    parts = demo.decompose(x, SR, 512, 128, 4, 1.0, 10, 0)
    excerpt = demo.Excerpt(x, SR)
    whole = {"COMPONENT_SECONDS": 99, "COMPONENT_RATE": SR}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in whole.items():
            patch.setattr(demo, name, value)
        total = np.maximum(parts.W @ parts.H, 1e-30)
        sounds = [demo.component_sound(parts, total, k, excerpt, 128) for k in range(4)]
    n = len(sounds[0])
    np.testing.assert_allclose(sum(sounds), x.mean(axis=0)[:n], rtol=0, atol=1e-5)


def test_a_song_of_unknown_stems_has_no_ladder(demo, song_file, tmp_path):
    out = tmp_path / "page.html"
    assert demo.separate_nmf(song_file, out=out, **SMALL) == {}
    page = out.read_text()
    assert "ladder" not in page and "true vocals" not in page and "one by one" in page


def test_a_mono_song(demo, tmp_path):
    save(tmp_path / "mono.wav", sum(make_song())[0], SR)
    out = tmp_path / "page.html"
    demo.separate_nmf(tmp_path / "mono.wav", out=out, **SMALL)
    vocals, accompaniment = (
        load(tmp_path / "page" / f"{name}.wav")[0] for name in ("vocals", "accompaniment")
    )
    x, _ = load(tmp_path / "mono.wav")
    assert vocals.shape == x.shape
    np.testing.assert_allclose(vocals + accompaniment, x, rtol=0, atol=2.0**-15)


def test_itakura_saito_takes_a_song_that_pauses(demo):
    x = sum(make_song())
    x[:, 5000:15000] = 0
    parts = demo.decompose(x, SR, 512, 128, 3, 0.0, 4, 0)
    D = [value for _, value in parts.history]
    assert np.isfinite(D).all() and sorted(D, reverse=True) == D


# What it refuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_components": 1}, "N_COMPONENTS must be from 2, one for each stem, to 251"),
        ({"n_components": 252}, "N_COMPONENTS must be from 2, one for each stem, to 251"),
        ({"n_fft": 511}, "N_FFT must be even, got 511"),
        ({"hop_length": 0}, "HOP_LENGTH must be an integer of at least 1, got 0"),
        ({"method": "magic"}, "METHOD must be one of"),
        ({"mask_power": 0}, "MASK_POWER must be a finite number above 0, got 0"),
    ],
)
def test_settings_that_cannot_be(demo, song_file, tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        demo.separate_nmf(song_file, out=tmp_path / "page.html", **SMALL | settings)
    assert list(tmp_path.iterdir()) == [], "nothing is written before the settings are known good"


def test_songs_that_cannot_be(demo, tmp_path):
    def attempt(x, name="song.wav"):
        save(tmp_path / name, x, SR, overwrite=True)
        return demo.separate_nmf(tmp_path / name, out=tmp_path / "page.html", **SMALL)

    with pytest.raises(ConfigError, match=r"must hold a song, but .*song\.wav is silent"):
        attempt(np.zeros((2, 2 * SR)))
    with pytest.raises(ConfigError, match=r"must last 1 to 60 s, .*song\.wav lasts 0\.50 s"):
        attempt(np.ones((2, SR // 2)))
    with pytest.raises(ConfigError, match="one or two channels, .* has 3"):
        attempt(np.ones((3, 2 * SR)))
    with pytest.raises(AudioFileError, match=r"none\.mp3"):
        demo.separate_nmf(tmp_path / "none.mp3", out=tmp_path / "page.html", **SMALL)
    cut = tmp_path / "cut.mp3"
    whole = (EXAMPLES.parent / "sounds" / "songs" / "demo.mp3").read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AudioFileError, match=r"cut\.mp3.*truncated"):
        demo.separate_nmf(cut, out=tmp_path / "page.html", **SMALL)
    assert not (tmp_path / "page.html").exists() and not (tmp_path / "page").exists()


def test_nothing_is_replaced_unasked(demo, song_file, tmp_path):
    out = tmp_path / "page.html"
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "vocals.wav").write_text("mine")
    with pytest.raises(ConfigError, match=r"vocals\.wav already there; --overwrite"):
        demo.separate_nmf(song_file, out=out, **SMALL)
    assert (tmp_path / "page" / "vocals.wav").read_text() == "mine"
    demo.separate_nmf(song_file, out=out, overwrite=True, **SMALL)
    assert load(tmp_path / "page" / "vocals.wav")[1] == SR


def test_the_command_says_what_is_wrong(tmp_path):
    run = subprocess.run(
        [sys.executable, EXAMPLES / "separate_nmf.py", "--filename-music", tmp_path / "none.mp3"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("error: ") and "none.mp3" in run.stderr
