"""Reading songs and learning the dictionaries of the NMF separator: what the scripts promise."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from scratchaudio import dsp
from scratchaudio.errors import AudioFileError, CheckpointError, ConfigError
from scratchaudio.io import save
from scratchaudio.metrics import si_sdr
from scratchaudio.models import NMFSeparator, load_model

EXAMPLES = Path(__file__).parent.parent / "examples"
SR = 16000
SPLITS = {"one": "train", "two": "train", "three": "validation", "four": "demo"}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


def make_stems(name, seconds=1.5):
    """A gliding voice with a pause, strokes, a low tone and a chord at the side."""
    rng = np.random.default_rng(list(SPLITS).index(name))
    t = np.arange(int(seconds * SR)) / SR
    phase = 2 * np.pi * np.cumsum(rng.uniform(280, 320) * (1 + 0.2 * np.sin(3 * t))) / SR
    sung = sum(np.sin(h * phase) / h for h in range(1, 12)) * (t < 2 * seconds / 3)
    strokes = rng.standard_normal(len(t)) * np.exp(-20 * (t % 0.25))
    low = np.sin(2 * np.pi * rng.uniform(60, 90) * t)
    chord = sum(np.sin(2 * np.pi * f * t) for f in rng.uniform(500, 1500, 3))
    return {
        "vocals": dsp.pan(0.1 * sung, 0),
        "drums": dsp.pan(0.1 * strokes, 0.3),
        "bass": dsp.pan(0.1 * low, 0),
        "other": dsp.pan(0.05 * chord, -0.8),
    }


def save_song(folder, name, sr=SR):
    (folder / name).mkdir()
    for stem, x in make_stems(name).items():
        save(folder / name / f"{stem}.ogg", x, sr)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """A folder of four songs of 1.5 s and their list."""
    folder = tmp_path_factory.mktemp("songs")
    for name in SPLITS:
        save_song(folder, name)
    rows = [f"{name},{split}" for name, split in SPLITS.items()]
    (folder / "songs.csv").write_text("\n".join(["name,split", *rows]) + "\n", encoding="utf-8")
    return folder


# Songs -------------------------------------------------------------------------------------------


def test_a_song_is_the_sum_of_its_stems(script, songs):
    song = script("song_data").load_song("one", songs)
    assert (song.name, song.sr) == ("one", SR)
    assert list(song.stems) == ["vocals", "drums", "bass", "other"]
    for stem, x in make_stems("one").items():
        assert song.stems[stem].shape == x.shape
        assert si_sdr(x.ravel(), song.stems[stem].ravel()) > 10, "the file holds another stem"
    total = sum(song.stems[stem] for stem in ("vocals", "drums", "bass", "other"))
    np.testing.assert_allclose(song.mix, total, rtol=0, atol=1e-7)
    np.testing.assert_array_equal(song.vocals, song.stems["vocals"])
    band = sum(song.stems[stem] for stem in ("drums", "bass", "other"))
    np.testing.assert_allclose(song.accompaniment, band, rtol=0, atol=1e-6)
    assert np.abs(band).max() > 0.1


@pytest.mark.parametrize("split", ["train", "validation", "demo"])
def test_a_split_holds_its_songs_in_the_order_of_the_list(script, songs, split):
    names = [song.name for song in script("song_data").load_split(split, songs)]
    assert names == [name for name, of in SPLITS.items() if of == split]


def test_the_committed_songs_are_split_without_overlap(script, monkeypatch):
    data = script("song_data")
    monkeypatch.setattr(data, "load_song", lambda name, songs: name)
    train, validation, demo = (list(data.load_split(split)) for split in data.SPLITS)
    assert (len(train), validation, demo) == (11, ["lantern"], ["morning"])
    assert not set(train) & {"lantern", "morning"}


def test_an_unknown_split(script, songs):
    with pytest.raises(ConfigError, match=r"split must be one of .*'validation'.*, got 'test'"):
        list(script("song_data").load_split("test", songs))


def test_a_missing_folder_and_a_missing_stem(script, songs, tmp_path):
    data = script("song_data")
    with pytest.raises(AudioFileError, match=r"five.*vocals\.ogg"):
        data.load_song("five", songs)
    save_song(tmp_path, "one")
    (tmp_path / "one" / "bass.ogg").unlink()
    with pytest.raises(AudioFileError, match=r"one.*bass\.ogg"):
        data.load_song("one", tmp_path)
    with pytest.raises(AudioFileError, match=r"no songs\.csv in .*nowhere"):
        list(data.load_split("train", tmp_path / "nowhere"))


@pytest.mark.parametrize("what", ["length", "rate", "channels"])
def test_stems_that_do_not_fit_together(script, tmp_path, what):
    save_song(tmp_path, "one")
    x = make_stems("one")["drums"]
    x = {"length": x[:, :-100], "rate": x, "channels": x[0]}[what]
    save(tmp_path / "one" / "drums.ogg", x, 22050 if what == "rate" else SR, overwrite=True)
    with pytest.raises(AudioFileError, match="stems in .*one must have one length and rate"):
        script("song_data").load_song("one", tmp_path)


def test_the_true_song_is_known_of_the_demo_alone(script, monkeypatch, tmp_path):
    data = script("song_data")
    monkeypatch.setattr(data, "load_song", lambda name, songs: (name, songs))
    (tmp_path / "demo.mp3").write_bytes(b"")
    assert data.true_song(tmp_path / "demo.mp3") is None, "another file of that name"
    assert data.true_song("song.wav") is None
    assert data.true_song(data.SONGS / "demo.mp3") == ("morning", data.SONGS)
    assert data.true_song(str(data.SONGS / ".." / "songs" / "demo.mp3"))[0] == "morning"


# Training ----------------------------------------------------------------------------------------

SMALL = {"n_voice": 3, "n_band": 4, "n_iter": 5}


@pytest.fixture
def train(script, monkeypatch):
    """The script, with few components of the validation song."""
    separator = importlib.import_module("scratchaudio.models.nmf_separator")
    monkeypatch.setattr(separator, "N_OWN", 5)
    monkeypatch.setattr(separator, "N_ITER", 5)
    return script("train_nmf")


def test_training_saves_what_it_returns_and_tells_the_improvement(train, songs, tmp_path, capsys):
    path = tmp_path / "new" / "nmf.npz"
    separator = train.train(path, songs=songs, **SMALL)
    loaded = load_model(path)
    assert separator.voice.shape[1] == 2 * 3 and separator.band.shape[1] == 2 * 4, "of two songs"
    for name in ("voice", "band"):
        W = getattr(separator, name)
        np.testing.assert_array_equal(getattr(loaded, name), W)
        np.testing.assert_allclose(W.sum(axis=0), 1, rtol=1e-4)

    printed = capsys.readouterr().out
    assert "two: " in printed and "four" not in printed, "the demo's song is not for learning"
    assert "6 spectra of voices, 8 spectra of bands" in printed
    song = next(iter(train.load_split("validation", songs)))
    vocals, _ = loaded.separate(song.mix, song.sr)
    better = si_sdr(song.vocals.ravel(), vocals.ravel())
    better -= si_sdr(song.vocals.ravel(), song.mix.ravel())
    assert better > 2
    assert f"three: voice improved by {better:.2f} dB" in printed
    assert f"saved {path}" in printed


def test_the_seed_decides(train, songs, tmp_path):
    one, again, other = (
        train.train(tmp_path / f"{k}.npz", songs=songs, **SMALL, seed=seed)
        for k, seed in enumerate((0, 0, 1))
    )
    for name in ("voice", "band"):
        W = getattr(one, name)
        np.testing.assert_array_equal(getattr(again, name), W)
        assert np.abs(getattr(other, name) - W).max() > 1e-3
    assert (tmp_path / "0.npz").read_bytes() == (tmp_path / "1.npz").read_bytes()


def test_a_checkpoint_is_replaced_only_when_asked(train, songs, tmp_path):
    path = tmp_path / "nmf.npz"
    path.write_text("mine")
    with pytest.raises(CheckpointError, match="already there: --overwrite replaces it"):
        train.train(path, songs=songs, **SMALL)
    assert path.read_text() == "mine"
    train.train(path, songs=songs, **SMALL, overwrite=True)
    assert isinstance(load_model(path), NMFSeparator)


def test_the_dictionaries_are_learned_from_what_they_are_named_after(
    train, songs, tmp_path, monkeypatch
):
    """Voices from the sung frames of each voice, bands from each whole accompaniment."""
    given = []

    def learn_spectra(V, K, **settings):
        given.append((V, K))
        return np.full((len(V), K), len(given), np.float32)

    monkeypatch.setattr(train, "learn_spectra", learn_spectra)
    separator = train.train(tmp_path / "nmf.npz", songs=songs, **SMALL)
    assert [K for _, K in given] == [3, 4, 3, 4]
    assert separator.voice[0].tolist() == [1] * 3 + [3] * 3
    assert separator.band[0].tolist() == [2] * 4 + [4] * 4
    n_frames = 1 + int(1.5 * train.SAMPLE_RATE) // (train.N_FFT // 4)
    for name, (voice, _), (band, _) in zip(("one", "two"), given[::2], given[1::2], strict=True):
        stems = make_stems(name)
        sung = train.spectrogram(stems.pop("vocals"), SR).mean(axis=1)
        played = train.spectrogram(sum(stems.values()), SR).mean(axis=1)
        for V, own, other in ((voice, sung, played), (band, played, sung)):
            assert V.shape[0] == train.N_BINS
            mean = V.mean(axis=1)
            assert mean @ own / np.linalg.norm(mean) / np.linalg.norm(own) > 0.98
            assert mean @ other / np.linalg.norm(mean) / np.linalg.norm(other) < 0.7
        assert band.shape[1] == n_frames
        assert 0.6 < voice.shape[1] / n_frames < 0.8, "the voice is on for two thirds"


def test_the_spectrogram_is_the_mean_of_both_channels_at_the_rate_of_the_dictionaries(script):
    train = script("train_nmf")
    t = np.arange(SR) / SR
    tone = np.sin(2 * np.pi * 1000 * t)
    V = train.spectrogram(np.stack([tone, 3 * tone]), SR)
    assert V.shape == (train.N_BINS, 44) and V.dtype == np.float32
    peak = V[:, 20].argmax() * train.SAMPLE_RATE / train.N_FFT
    assert abs(peak - 1000) < train.SAMPLE_RATE / train.N_FFT
    alone = train.spectrogram(np.stack([tone, tone]), SR)
    np.testing.assert_allclose(V, 2 * alone, rtol=1e-4, atol=1e-4)


def test_pauses_are_left_out(script):
    train = script("train_nmf")
    V = np.array([[1.0, 0.0, 5.0, 1e-3, 2.0], [1.0, 0.0, 5.0, 1e-3, 0.0]])
    np.testing.assert_array_equal(train.voiced(V), V[:, [0, 2, 4]])


def test_the_command_passes_its_options_on(script, songs, monkeypatch, tmp_path, capsys):
    train = script("train_nmf")
    given = {}
    monkeypatch.setattr(train, "train", lambda **settings: given.update(settings))
    path = tmp_path / "x.npz"
    options = f"--checkpoint {path} --songs {songs} --n-voice 3 --n-band 4 --n-iter 5 --seed 6"
    monkeypatch.setattr("sys.argv", ["train_nmf", *options.split(), "--overwrite"])
    train.main()
    assert given == {"checkpoint": path, "songs": songs, "seed": 6, "overwrite": True, **SMALL}
    monkeypatch.setattr("sys.argv", ["train_nmf"])
    train.main()
    assert given["checkpoint"] == Path("out/nmf.npz") and given["songs"] == train.SONGS
    assert not given["overwrite"]


# Networks ----------------------------------------------------------------------------------------

TINY = {
    "open_unmix": {"n_hidden": 8, "n_fft": 256, "hop_length": 128, "bandwidth": 6000},
    "unet": {"widths": (3, 4), "n_fft": 254, "hop_length": 64, "n_bins": 64},
    "conv_tasnet": {"N": 8, "L": 16, "B": 4, "H": 6, "Sc": 4, "X": 2, "R": 1},
}


class InThisProcess:
    """Makes the examples at once."""

    def __init__(self, make_example, prepare, *arguments, ahead):
        prepare(*arguments)
        self.make_example = make_example

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def examples(self, tasks, rng):
        for task in tasks:
            yield self.make_example(task, rng.integers(2**63))


@pytest.fixture
def train_separator(script, monkeypatch):
    """The script with tiny networks, and examples of 0.2 s."""
    module = script("train_separator")
    for name, recipe in module.RECIPES.items():
        settings = recipe.settings | TINY[name] | {"sample_rate": SR}
        monkeypatch.setitem(
            module.RECIPES, name, recipe._replace(settings=settings, seconds=0.2, batch_size=3)
        )
    monkeypatch.setattr(module, "EPOCH", 8)
    monkeypatch.setattr(module, "ExampleMaker", InThisProcess)
    monkeypatch.setattr(module.voice_data, "load_split", lambda split, folder: make_speakers())
    return module


class Speaker:
    """A recording of speech: the same pulses, faster for each."""

    def __init__(self, name, period):
        self.name, self.samples = name, np.zeros(SR, np.float32)
        self.samples[::period] = 0.5


def make_speakers():
    names = "anna", "festival_kal_x113", "bert", "kokoro_bm_george", "kokoro_bf_emma"
    return [Speaker(name, 50 + 10 * i) for i, name in enumerate(names)]


def test_each_recipe_names_a_network_and_its_settings(script):
    for name, recipe in script("train_separator").RECIPES.items():
        model = recipe.make(**recipe.settings, rng=0)
        assert {"open_unmix": "OpenUnmix", "unet": "UNet", "conv_tasnet": "ConvTasNet"}[
            name
        ] == type(model).__name__
        assert model.settings["sample_rate"] in (16000, 22050)


@pytest.mark.parametrize("name", TINY)
def test_a_batch_is_of_mixtures_and_their_voices(train_separator, songs, name):
    train_separator.prepare(songs, "voices", name)
    (X,), (S, again) = train_separator.make_batch(0, 7)
    (other,), _ = train_separator.make_batch(0, 8)
    np.testing.assert_array_equal(X, again)
    np.testing.assert_array_equal(X, train_separator.make_batch(1, 7)[0][0])
    assert X.shape == S.shape == other.shape and len(X) == 3
    assert X.dtype == S.dtype == np.float32
    assert np.abs(other - X).max() > 0
    model = train_separator.RECIPES[name].make(**train_separator.RECIPES[name].settings, rng=0)
    loss, dprediction = train_separator.RECIPES[name].loss(model.forward(X), S, X)
    assert np.isfinite(loss) and dprediction.dtype == np.float32


def test_half_of_the_voices_speak_and_none_that_sings_where_it_counts(train_separator, songs):
    train_separator.prepare(songs, "voices", "conv_tasnet")
    periods = [np.flatnonzero(x[0])[1] for x in train_separator.speakers]
    assert periods == [50, 70], "kal, george and emma sing in the songs that are not for learning"
    for x in train_separator.speakers:
        assert x.shape == (1, SR) and x.dtype == np.float32
        assert x.std() == pytest.approx(train_separator.SPOKEN_RMS, rel=1e-4)
    rng = np.random.default_rng(0)
    voices = [train_separator.make_example(rng)[1] for _ in range(300)]
    spoken = [v.min() >= 0 for v in voices if v.any()]  # pulses
    assert 0.4 < np.mean(spoken) < 0.6


def test_speech_is_brought_to_the_rate_of_the_network(train_separator):
    t = np.arange(SR) / SR
    x = train_separator.spoken(np.sin(2 * np.pi * 440 * t).astype(np.float32), 44100)
    assert x.shape == (1, 44100) and x.dtype == np.float32
    expected = (
        np.sqrt(2) * train_separator.SPOKEN_RMS * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    )
    np.testing.assert_allclose(x[0, 1000:-1000], expected[1000:-1000], atol=1e-3)


def test_the_magnitudes_aimed_at_are_the_best_with_the_phase_of_the_mixture(train_separator):
    """In each bin no other magnitude, with the mixture's phase, comes nearer to the voice."""
    rng = np.random.default_rng(0)
    mixtures, voices = rng.standard_normal((2, 3, 2, 1000)).astype(np.float32)
    settings = {"n_fft": 64, "hop_length": 16, "n_bins": 20}
    X, best = train_separator.magnitudes(settings, mixtures, voices)
    complex_X, S = (dsp.stft(x, n_fft=64, hop_length=16)[:, :, :20] for x in (mixtures, voices))
    np.testing.assert_array_equal(X, np.abs(complex_X))
    error = np.abs(dsp.with_phase(best, complex_X) - S)
    for other in (0 * X, X, np.abs(S), *(best + d for d in (-0.1, 0.1))):
        worse = np.abs(dsp.with_phase(np.maximum(other, 0), complex_X) - S)
        assert (worse >= error - 1e-5).all()
    assert 0.3 < (best > 0).mean() < 0.7, "half of the voices' bins point away from the mixture's"


def test_examples_are_mixtures_of_different_songs(train_separator, songs):
    """Voice plus band; some without either; and no two alike."""
    train_separator.prepare(songs, "voices", "conv_tasnet")
    rng = np.random.default_rng(0)
    drawn = [train_separator.make_example(rng) for _ in range(300)]
    silent = [not voice.any() for _, voice in drawn]
    alone = [np.array_equal(mix, voice) and voice.any() for mix, voice in drawn]
    assert 0.05 < np.mean(silent) < 0.4, "of the voice's own pauses and those made"
    assert 0.02 < np.mean(alone) < 0.1
    for mix, voice in drawn:
        assert mix.shape == voice.shape == (2, 3200)
    levels = [np.square(voice).mean() for _, voice in drawn if voice.any()]
    assert max(levels) > 4 * np.median(levels)


def test_an_excerpt_is_a_stem_at_another_speed(train_separator, monkeypatch):
    """A ramp: the speed is its slope, and the place its beginning."""
    monkeypatch.setattr(train_separator, "GAINS", (0, 0))
    x = np.stack([np.arange(4000.0), -np.arange(4000.0)]).astype(np.float32)
    speeds, sides = [], []
    for seed in range(40):
        y = train_separator.excerpt(x, 2500, np.random.default_rng(seed))
        assert y.shape == (2, 2500) and y.dtype == np.float32
        slopes = np.diff(y[:, ::100], axis=1) / 100
        np.testing.assert_allclose(slopes, slopes[:, :1] + 0 * slopes, rtol=1e-3)
        np.testing.assert_allclose(y.sum(axis=0), 0, atol=1e-3)
        speeds.append(abs(slopes[0, 0]))
        sides.append(slopes[0, 0] > 0)
    low, high = train_separator.SPEEDS
    assert low <= min(speeds) < 0.8 and 1.3 < max(speeds) <= high
    assert 10 < sum(sides) < 30


@pytest.mark.parametrize("name", TINY)
def test_a_network_is_trained_saved_and_goes_on(train_separator, songs, tmp_path, name, capsys):
    checkpoint, weights = tmp_path / "net.npz", tmp_path / "weights.npz"
    model, history = train_separator.train(name, checkpoint, songs=songs, epochs=2, weights=weights)
    assert [record["epoch"] for record in history] == [1, 2]
    assert all(np.isfinite(record["improvement"]) for record in history)
    with pytest.raises(CheckpointError, match=r"net\.npz is already there: --resume goes on"):
        train_separator.train(name, checkpoint, songs=songs)
    _, longer = train_separator.train(name, checkpoint, songs=songs, epochs=3, resume=True)
    assert longer[:2] == history and len(longer) == 3
    said = capsys.readouterr().out
    assert f"training {name}, " in said and "resuming" in said
    x = sum(make_stems("three").values())
    np.testing.assert_array_equal(
        load_model(weights).separate(x, SR), model.separate(x, SR), "not the weights of the model"
    )
