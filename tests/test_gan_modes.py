"""The page that counts modes: its truths and measures, a game that finds all, one that fails."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scratchaudio import nn
from scratchaudio.errors import ConfigError

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def demo():
    """The example as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        yield importlib.reload(importlib.import_module("gan_modes"))


# Truths and measures ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["RING", "TONES"])
def test_what_is_real_is_judged_to_be(demo, name):
    """Within 3 sigma of a cloud in a plane lies the share 1 - exp(-9 / 2)."""
    truth = getattr(demo, name)
    x = truth.draw(8000, np.random.default_rng(0))
    modes, hit = truth.judge(x)
    expected = 1 - np.exp(-4.5) if name == "RING" else 1
    assert hit.mean() == pytest.approx(expected, abs=0.004)
    assert np.bincount(modes, minlength=8).min() > 900
    assert demo.scores(truth, x)["coverage"] == 8


def test_points_are_judged_by_their_distance(demo):
    for k in range(8):
        angle = 2 * np.pi * k / 8
        centre = np.array([np.cos(angle), np.sin(angle)])
        for radius, inside in ((0.14, True), (0.16, False)):
            x = (1 + radius) * centre, (1 - radius) * centre
            modes, hit = demo.RING.judge(np.array(x))
            assert modes.tolist() == [k, k] and hit.tolist() == [inside, inside]


def test_waveforms_are_judged_by_pitch_and_shape(demo):
    """Loudness does not matter; sign, a wrong harmonic and noise do."""
    t = np.arange(256) / 256
    for k in range(8):
        tone = np.sin(2 * np.pi * (4 + k) * t)
        waves = np.stack([0.01 * tone, 0.9 * tone, -tone, tone + np.sin(4 * np.pi * (4 + k) * t)])
        modes, hit = demo.TONES.judge(waves[:, None])
        assert hit.tolist() == [True, True, False, False]
        assert modes[:2].tolist() == [k, k]
    noise = np.random.default_rng(0).standard_normal((50, 1, 256))
    assert not demo.TONES.judge(noise)[1].any()
    assert not demo.TONES.judge(np.zeros((2, 1, 256)))[1].any()


def test_coverage_and_precision_are_counted(demo):
    """Two modes with many samples, one with too few to count, and a half that belongs to none."""
    centres = demo.RING.centres
    x = np.concatenate([centres[[0] * 50 + [3] * 49 + [5]], np.zeros((100, 2))])
    assert demo.scores(demo.RING, x) == {"coverage": 2, "precision": 0.5}


# Training -----------------------------------------------------------------------------------------


def test_a_game_finds_all_eight(demo):
    """A quarter of the page's steps, and another seed."""
    run = next(r for r in demo.RUNS if r.truth is demo.RING and r.game is nn.LEAST_SQUARES)
    result = demo.train(run._replace(steps=run.steps // 4), seed=1)
    first, last = result.history[0], result.history[-1]
    assert first["precision"] < 0.2
    assert last["coverage"] == 8 and last["precision"] > 0.5
    steps = [step for step, _ in result.strip]
    assert steps == [0, 250, 500, 750, 1000]
    assert np.array_equal(result.strip[-1][1], result.samples)


def test_the_run_that_is_made_to_collapse_does(demo):
    run = next(r for r in demo.RUNS if r.truth is demo.RING and r.title == demo.COLLAPSE)
    result = demo.train(run._replace(steps=run.steps // 4), seed=1)
    assert max(record["coverage"] for record in result.history[10:]) <= 3


def test_a_seed_repeats_a_run(demo):
    run = next(r for r in demo.RUNS if r.truth is demo.TONES and r.penalty)._replace(steps=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "N_JUDGED", 20)
        patch.setattr(demo, "N_MEASURED", 2)
        first, again, other = (demo.train(run, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.samples, again.samples) and first.history == again.history
    assert not np.array_equal(first.samples, other.samples)


# The page -----------------------------------------------------------------------------------------


@pytest.fixture
def hurried(demo, monkeypatch):
    """Runs of a few steps."""
    runs = tuple(run._replace(steps=8) for run in demo.RUNS)
    monkeypatch.setattr(demo, "RUNS", runs[3:7] + runs[-2:])
    monkeypatch.setattr(demo, "N_JUDGED", 50)
    monkeypatch.setattr(demo, "N_MEASURED", 2)
    return demo


def test_the_page_shows_and_plays_every_run(hurried, tmp_path, capsys):
    out = tmp_path / "page.html"
    table = hurried.gan_modes(out=out)
    page, printed = out.read_text(), capsys.readouterr().out
    assert set(table) == {"ring", "tones"}
    for name in table:
        assert hurried.COLLAPSE in table[name]
        for title, end in table[name].items():
            line = rf"{name} +{re.escape(title)} +coverage {end['coverage']} of 8  precision"
            assert re.search(line, printed), title
            assert re.search(f">{title.capitalize()}</h3>", page), title
    for picture in ("Strip of 5 small pictures", "Curves over training"):
        assert page.count(picture) == sum(map(len, table.values()))
    played = re.findall(r'aria-label="Play ([^"]+)"', page)
    assert played == ["the truth", *table["tones"]]
    assert "What a healthy GAN looks like" in page


def test_one_truth_alone(hurried, tmp_path):
    out = tmp_path / "page.html"
    assert set(hurried.gan_modes(("ring",), out=out)) == {"ring"}
    assert "The tones" not in out.read_text()


def test_nothing_is_replaced_unasked(hurried, tmp_path):
    out = tmp_path / "page.html"
    out.write_text("mine")
    with pytest.raises(ConfigError, match=r"page\.html already there; --overwrite"):
        hurried.gan_modes(("ring",), out=out)
    assert out.read_text() == "mine"
    hurried.gan_modes(("ring",), out=out, overwrite=True)
    assert "healthy" in out.read_text()


def test_the_command_says_what_is_wrong(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("mine")
    run = subprocess.run(
        [sys.executable, EXAMPLES / "gan_modes.py", "--out", page],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("error: ") and "page.html already there" in run.stderr
