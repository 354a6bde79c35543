"""The demo that learns one clip by heart: its page, its numbers, and what it refuses."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from scratchaudio import dsp, metrics
from scratchaudio.errors import AudioFileError, ConfigError, ShapeError
from scratchaudio.models import SpectrogramTransformer
from scratchaudio.nn.layer import Layer

EXAMPLES = Path(__file__).parent.parent / "examples"
SR = 16000
SMALL = {"n_fft": 256, "hop_length": 128, "d_model": 8, "n_heads": 2, "n_layers": 1, "epochs": 2}


@pytest.fixture(scope="module")
def demo():
    """The example as a module, with small layers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        module = importlib.reload(importlib.import_module("enhance_one_clip"))
        patch.setattr(module, "D_FF", 16)
        yield module


@pytest.fixture
def undrawn(demo, monkeypatch):
    """The same without pictures, which take most of the time."""
    monkeypatch.setattr(demo, "spectrogram_figure", sketch)
    monkeypatch.setattr(demo, "add_attention", lambda *arguments: None)
    return demo


def sketch(mixture, sounds):
    """Stand-in for the four spectrograms of a level."""
    from scratchaudio import plot

    assert list(sounds) == ["noisy", "mapping", "mask", "clean"]
    return plot.subplots(height=1)[0]


def speech(seconds=1.2, start=0.3):
    x, sr = soundfile.read(EXAMPLES.parent / "sounds" / "speech.wav", dtype="float32")
    assert sr == SR
    return x[round(start * sr) : round((start + seconds) * sr)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    soundfile.write(path, speech(), SR, subtype="FLOAT")
    return path


# The page -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(demo, clip, tmp_path_factory):
    """One run with a noise level that is none of the slider's own: page, ladder, mixture."""
    import contextlib
    import io

    out = tmp_path_factory.mktemp("page") / "new" / "page.html"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "spectrogram_figure", sketch)
        scores = demo.enhance_one_clip(clip, noise_level=0.03, out=out, **SMALL)
    return out.read_text(), scores, printed.getvalue()


def test_the_slider_has_every_level_and_starts_at_that_of_the_training(demo, made):
    page, _, _ = made
    wanted = sorted({*demo.LEVELS, 0.03})
    assert len(demo.LEVELS) >= 8 and demo.LEVELS[0] == 0 and demo.LEVELS[-1] == 0.2
    ticks = re.search(r'<div class="ticks".*?</div>', page, re.S)[0]
    assert [float(text) for text in re.findall(r">([\d.]+)</span>", ticks)] == wanted
    slider = re.search(r'<input type="range" id="level-1"[^>]*>', page)[0]
    assert f'max="{len(wanted) - 1}"' in slider
    assert f'value="{wanted.index(0.03)}"' in slider and 'aria-valuetext="0.03"' in slider
    group = page[page.index("players levels") : page.index("The ladder</h2>")]
    labels = re.findall(r'aria-label="Play ([^",]+)"', group)
    assert labels == ["noisy", "mapping", "mask", "clean"]
    # Noisy and both networks at every level, the clean one once; a picture and scores a level.
    assert group.count("<audio") == 3 * len(wanted) + 1
    assert group.count("<img") == len(wanted) == group.count("<table>")


def test_every_table_of_results_is_the_whole_ladder(demo, made):
    page, scores, printed = made
    rungs = [
        "noisy", "spectral subtraction", "Wiener, decision-directed", "Transformer, mapping",
        "Transformer, mask", "encoder-decoder, mask", "oracle mask", "true magnitude, noisy phase",
    ]  # fmt: skip
    assert list(scores) == rungs
    assert printed.count("true magnitude, noisy phase") == 3
    tables = [t for t in re.findall(r"<table>.*?</table>", page, re.S) if "oracle mask" in t]
    assert len(tables) == 3
    for table in tables:
        assert re.findall(r'<th scope="row">([^<]+)</th>', table) == rungs
    for method in rungs:
        value = f"{scores[method]['SI-SDR (dB)']:.2f}".replace("-", "\u2212")
        assert re.search(rf">{method}</th>.{{0,30}}>{value}<", tables[0]), method


def test_the_page_stands_alone_and_tells_what_overfitting_is(demo, made):
    page, _, printed = made
    assert "Overfitting" in page and demo.SECOND_VOICE in page and "train_enhancer.py" in page
    assert "exposure bias" in page and "teacher forcing" in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert "Attention maps of each head" in page
    assert re.search(r"Transformer, mask: epoch +2 ", printed)


def test_the_loss_is_printed_every_so_often(undrawn, clip, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(undrawn, "PRINT_EVERY", 2)
    undrawn.enhance_one_clip(clip, out=tmp_path / "page.html", **(SMALL | {"epochs": 5}))
    printed = capsys.readouterr().out
    assert re.findall(r"Transformer, mask: epoch +(\d+)", printed) == ["2", "4", "5"]
    losses = [float(loss) for loss in re.findall(r"loss +([\d.]+)", printed)]
    assert len(losses) == 4 * 3 and losses[2] <= losses[0]


# The parts ----------------------------------------------------------------------------------------


def mixture(demo, noise_level=0.05, n_fft=256, seconds=1.2):
    clean = speech(seconds)
    noise = noise_level * np.random.default_rng(0).standard_normal(len(clean))
    return demo.Mixture(clean, (clean + noise).astype(np.float32), SR, n_fft, 64)


def test_the_ladder_is_in_order(demo):
    """Doing nothing < methods without learning < those who know the truth; perfect is perfect."""
    made = mixture(demo)
    scores = demo.scores_of_all(made, demo.ladder(made, {}))
    si_sdr = [values[demo.SI_SDR] for values in scores.values()]
    assert abs(si_sdr[0] - metrics.si_sdr(made.clean, made.noisy)) <= 1e-9
    assert si_sdr[0] + 3 <= min(si_sdr[1:3]) and max(si_sdr[1:3]) + 2 <= min(si_sdr[3:])
    perfect = demo.scores_of(made, made.clean)
    assert perfect[demo.SI_SDR] == np.inf and perfect[demo.MSE] == perfect[demo.LSD] == 0
    assert abs(perfect[demo.STOI] - 1) <= 1e-9
    twice = demo.scores_of(made, 2 * made.clean)
    assert abs(twice[demo.MSE] - np.mean(np.abs(made.S) ** 2)) <= 1e-4 * twice[demo.MSE]


def test_the_pictures_of_a_level_share_one_scale(demo):
    import matplotlib.pyplot as plt

    made = mixture(demo)
    sounds = {
        "noisy": made.noisy,
        "mapping": made.clean / 9,
        "mask": made.clean,
        "clean": made.clean,
    }
    figure = demo.spectrogram_figure(made, sounds)
    drawn = [ax for ax in figure.axes if ax.get_title(loc="left")]
    assert [ax.get_title(loc="left") for ax in drawn] == list(sounds)
    loudest = 20 * np.log10(np.abs(made.S).max())
    for ax in drawn:
        np.testing.assert_allclose(ax.collections[0].get_clim(), (loudest - 60, loudest))
    levels = [ax.collections[0].get_array() for ax in drawn]
    np.testing.assert_allclose(levels[3].max(), loudest, atol=1e-3)
    np.testing.assert_allclose(levels[1].max(), loudest - 20 * np.log10(9), atol=1e-3)
    demo.close(figure)
    assert not plt.get_fignums()


def test_networks_get_frames_and_give_sound_with_the_noisy_phase(demo):
    made = mixture(demo)
    x = demo.frames(made.X)
    assert x.shape == (1, *made.X.T.shape) and x.dtype == np.float32
    np.testing.assert_array_equal(x[0].T, np.abs(made.X))
    np.testing.assert_allclose(made.sound(x), made.noisy, atol=1e-5)
    x[:, :, 5] *= -1  # a mapping may come out negative: that is silence, not a turned phase
    without = made.X.copy()
    without[5] = 0
    np.testing.assert_allclose(made.sound(x), made.istft(without), atol=1e-5)


def test_a_mask_of_another_shape_is_refused(demo):
    made = mixture(demo)
    for shape in (made.X.T.shape, (len(made.X) - 1, made.X.shape[1])):
        with pytest.raises(ShapeError, match="mask must have the shape of X"):
            dsp.apply_mask(made.X, np.ones(shape))
        with pytest.raises(ShapeError, match="must have one shape"):
            made.sound(np.ones((1, *shape[::-1]), np.float32))
    other = SpectrogramTransformer(64, 8, 2, 1, 16, mask=True, rng=0)
    with pytest.raises(ShapeError, match=r"x must have shape \(batch, frames, 64\)"):
        demo.ladder(made, {demo.MASK: other})


def test_the_voice_never_heard_is_another_one_at_the_same_level(demo):
    for n, sr in ((20000, 16000), (22050, 11025)):
        x = demo.unheard_clip(n, sr, 0.1)
        assert x.dtype == np.float32 and abs(len(x) / sr - n / sr) <= 0.01
        assert abs(dsp.active_level(x) - 0.1) <= 0.002
    assert np.mean(dsp.active_mask(demo.unheard_clip(20000, 16000, 0.1))) >= 0.7


class Reciter(Layer):
    """Stand-in for a decoder: says the frame before, half as loud, or masks by it."""

    def __init__(self, mask):
        self.mask = mask

    def forward(self, noisy, clean):
        before = np.concatenate([np.zeros_like(clean[:, :1]), clean[:, :-1]], axis=1)
        return noisy / (1 + before) if self.mask else before / 2

    def generate(self, noisy):
        return noisy / 3


@pytest.mark.parametrize("mask", [False, True])
def test_a_deaf_encoder_changes_nothing_for_who_does_not_listen(demo, mask):
    made = mixture(demo)
    sounds = demo.frame_by_frame(Reciter(mask), made)
    np.testing.assert_allclose(sounds["true past, deaf encoder"], sounds["true past"], atol=1e-5)
    np.testing.assert_allclose(sounds["own past"], made.noisy / 3, atol=1e-5)
    assert np.abs(sounds["true past"] - sounds["own past"]).max() >= 0.01


class Listener(Reciter):
    """Stand-in for a decoder that only hears the noisy clip."""

    def forward(self, noisy, clean):
        return noisy / 2


def test_a_deaf_encoder_hears_the_clip_backwards(demo):
    made = mixture(demo)
    sound = demo.frame_by_frame(Listener(mask=False), made)["true past, deaf encoder"]
    np.testing.assert_allclose(sound, made.sound(demo.frames(made.X[:, ::-1]) / 2), atol=1e-5)
    assert np.abs(sound - made.noisy / 2).max() >= 0.01


def test_evenness_of_attention(demo):
    even = np.full((1, 2, 5, 4), 0.25)
    assert demo.evenness([even, even]) == 1
    uneven = even.copy()
    uneven[0, 1, 2] = [0.5, 0.25, 0.125, 0.125]
    assert demo.evenness([even, uneven]) == 2
    uneven[0, 1, 2] = [0.05, 0.35, 0.3, 0.3]
    assert abs(demo.evenness([uneven, even]) - 5) <= 1e-9


# What is refused, and what is odd but right -------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"n_heads": 3}, "n_heads must divide d_model"),
        ({"noise_level": 0.21}, "NOISE_LEVEL must be from 0 to 0.2, got 0.21"),
        ({"noise_level": -0.01}, "NOISE_LEVEL must be from 0 to 0.2, got -0.01"),
        ({"noise_level": float("nan")}, "NOISE_LEVEL must be from 0 to 0.2, got nan"),
        ({"n_fft": 0}, "N_FFT must be an integer of at least 1, got 0"),
        ({"hop_length": 0}, "HOP_LENGTH must be an integer of at least 1, got 0"),
        ({"hop_length": 512}, "hop_length must be at most n_fft=256, got 512"),
        ({"hop_length": 256}, "leaves samples that no frame sees"),
        ({"hop_length": 4}, "HOP_LENGTH=4 makes 4801 frames of this clip"),
        ({"epochs": 0}, "EPOCHS must be an integer of at least 1, got 0"),
        ({"d_model": 0}, "d_model must be an integer of at least 1, got 0"),
        ({"n_layers": 0}, "n_layers must be an integer of at least 1, got 0"),
        ({"lr": -1.0}, "lr must be a finite number of at least 0, got -1.0"),
        ({"lr": 1e30}, "the loss of Transformer, mapping is nan in epoch 2: LR=1e[+]30 is too"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_impossible_settings_are_named_before_anything_is_written(
    undrawn, clip, tmp_path, wrong, said
):
    out = tmp_path / "page.html"
    with pytest.raises(ConfigError, match=said):
        undrawn.enhance_one_clip(clip, out=out, **(SMALL | wrong))
    assert not out.exists()


def test_pages_are_not_overwritten_unasked(undrawn, clip, tmp_path):
    out = tmp_path / "page.html"
    out.write_text("mine")
    with pytest.raises(ConfigError, match="is already there; --overwrite replaces it"):
        undrawn.enhance_one_clip(clip, out=out, **SMALL)
    assert out.read_text() == "mine"
    with pytest.raises(ConfigError, match="is a folder"):
        undrawn.enhance_one_clip(clip, out=tmp_path, overwrite=True, **SMALL)
    undrawn.enhance_one_clip(clip, out=out, overwrite=True, noise_level=0.0, n_fft=255, **{
        name: value for name, value in SMALL.items() if name != "n_fft"
    })  # fmt: skip
    page = out.read_text()
    assert "150 frames of 128 bins" in page  # an odd N_FFT is right
    assert re.search(r">(\u221e|inf)<", page)  # noise level 0: the noisy clip is perfect


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.zeros(SR * 2), "must hold a voice, but .* is silent"),
        (speech(0.1), "must last 1 to 30 s, .* lasts 0.10 s"),
        (np.tile(speech(), 26), "must last 1 to 30 s, .* lasts 31.20 s"),
        (np.stack([speech(), -speech()], axis=1), "is silent"),
    ],
    ids=["silent", "0.1 s", "too long", "stereo out of phase"],
)
def test_clips_that_cannot_be_learned_are_named(demo, tmp_path, x, said):
    path = tmp_path / "clip.wav"
    soundfile.write(path, x, SR, subtype="FLOAT")
    with pytest.raises(ConfigError, match="FILENAME_CLEAN .*" + said):
        demo.read_clip(path)


def test_a_click_in_silence_is_too_little_speech(undrawn, tmp_path):
    """Long enough, but STOI says that nothing is to be understood: before any training."""
    path = tmp_path / "click.wav"
    x = np.zeros(2 * SR)
    x[SR] = 0.5
    soundfile.write(path, x, SR, subtype="FLOAT")
    with pytest.raises(ShapeError, match="frames of speech, STOI needs 30"):
        undrawn.enhance_one_clip(path, out=tmp_path / "page.html", **SMALL)


def test_a_stereo_clip_becomes_its_mean_and_says_so(demo, tmp_path, capsys):
    path = tmp_path / "stereo.wav"
    x = np.stack([speech(), 0.5 * speech()], axis=1)
    soundfile.write(path, x, SR, subtype="FLOAT")
    clean, sr = demo.read_clip(path)
    assert sr == SR and clean.dtype == np.float32
    np.testing.assert_allclose(clean, 0.75 * speech(), atol=1e-6)
    assert "2 channels: their mean is used" in capsys.readouterr().out


def test_a_clipped_clip_is_used_as_it_is_and_says_so(demo, tmp_path, capsys):
    path = tmp_path / "clipped.wav"
    x = np.clip(20 * speech(), -1, 1)
    soundfile.write(path, x, SR, subtype="FLOAT")
    clean, _ = demo.read_clip(path)
    np.testing.assert_array_equal(clean, x)
    said = capsys.readouterr().out
    assert f"is at full scale in {(np.abs(x) >= 0.999).sum()} samples" in said
    demo.read_clip(EXAMPLES.parent / "sounds" / "speech.wav")
    assert "full scale" not in capsys.readouterr().out


def test_the_command_says_errors_in_one_line(tmp_path, clip):
    for arguments, said in (
        (["--d-model", "8", "--n-heads", "3"], "error: n_heads must divide d_model"),
        (["--noise-level", "1"], "error: NOISE_LEVEL must be from 0 to 0.2, got 1.0"),
        (["--filename-clean", str(tmp_path / "gone.wav")], "error: "),
        (["--out", str(clip / "page.html")], "error: "),
    ):
        done = subprocess.run(
            [sys.executable, EXAMPLES / "enhance_one_clip.py", "--out",
             tmp_path / "page.html", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
        )  # fmt: skip
        assert done.returncode == 1 and not (tmp_path / "page.html").exists()
        assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith(said), done.stderr


def test_a_missing_file_is_named(demo, tmp_path):
    with pytest.raises(AudioFileError, match=r"gone\.wav"):
        demo.read_clip(tmp_path / "gone.wav")
