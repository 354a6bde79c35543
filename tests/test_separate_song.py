"""Laws of examples/separate_song.py: two stems that sum to the song, whole and nowhere else."""

import importlib
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from scratchaudio import dsp
from scratchaudio.checkpoint import save_checkpoint
from scratchaudio.errors import AudioFileError, ShapeError
from scratchaudio.io import info, load, save
from scratchaudio.models import (
    BlindSeparator,
    ConvTasNet,
    NMFSeparator,
    OpenUnmix,
    SemiSupervisedSeparator,
    UNet,
    load_pretrained,
    pretrained,
)
from scratchaudio.models.nmf_separator import N_BINS

ROOT = Path(__file__).parent.parent
RESULTS = ["accompaniment.wav", "stems.png", "vocals.wav"]


class Share:
    """Stand-in for a separator: a share of the song is the voice; notes what it is given."""

    def __init__(self, share=0.25):
        self.share, self.given = share, []

    def separate(self, x, sr):
        self.given.append((x.shape, sr))
        vocals = x * x.dtype.type(self.share)
        return np.stack([vocals, x - vocals])


@pytest.fixture
def drawing_script(monkeypatch):
    """The example as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.reload(importlib.import_module("separate_song"))


@pytest.fixture
def script(drawing_script, monkeypatch):
    """The same with an empty picture, which takes no time."""
    monkeypatch.setattr(drawing_script, "draw", lambda mix, vocals, accompaniment: b"picture")
    return drawing_script


@pytest.fixture
def short_chunks(script, monkeypatch):
    """Half a second at a time, and songs as short are not lengthened."""
    monkeypatch.setattr(script, "CHUNK", 0.5)
    monkeypatch.setattr(script, "OVERLAP", 0.1)
    monkeypatch.setattr(script, "SHORTEST", 1)


@pytest.fixture
def command(script, monkeypatch, capsys):
    """Run the example's command with a stand-in; returns exit code, output and errors."""

    def run(*arguments, separator=None):
        shipped = {"nmf": separator or Share()}
        monkeypatch.setattr(script, "load_pretrained", lambda name: shipped[name])
        monkeypatch.setattr(sys, "argv", ["separate_song.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            script.main()
        said = capsys.readouterr()
        return exit.value.code, said.out, said.err

    return run


def tones(C=2, N=16000, sr=16000, seed=0):
    rng = np.random.default_rng(seed)
    x = np.sin(2 * np.pi * rng.uniform(100, sr / 4, (C, 1)) * np.arange(N) / sr)
    x = 0.5 * x + 0.1 * rng.uniform(-1, 1, (C, N))
    return (x if C > 1 else x[0]).astype(np.float32)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def stems(folder):
    return load(folder / "vocals.wav")[0], load(folder / "accompaniment.wav")[0]


# What comes out -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sr", "C", "N", "subtype", "kept"),
    [
        ("x.wav", 8000, 1, 1, "PCM_16", "PCM_16"),
        ("x.wav", 8000, 1, 800, "PCM_16", "PCM_16"),
        ("x.wav", 1000, 1, 4567, "PCM_24", "PCM_24"),
        ("x.WAV", 22050, 2, 30_011, "PCM_U8", "PCM_16"),
        ("x.wav", 44100, 2, 50_000, "PCM_32", "PCM_32"),
        ("x.wav", 48000, 2, 30_000, "FLOAT", "FLOAT"),
        ("x.wav", 96000, 2, 96_001, "PCM_24", "PCM_24"),
        ("x.wav", 16000, 1, 16_000, "DOUBLE", "DOUBLE"),
        ("x.flac", 44100, 2, 50_000, "PCM_16", "PCM_16"),
        ("x.y.flac", 16000, 2, 5000, "PCM_24", "PCM_24"),
        ("x.flac", 16000, 1, 5000, "PCM_S8", "PCM_16"),
        ("x.mp3", 44100, 2, 60_000, "MPEG_LAYER_III", "PCM_16"),
        ("x.ogg", 32000, 1, 60_001, "VORBIS", "PCM_16"),
    ],
)
def test_stems_sum_to_the_song_at_its_rate_channels_and_length(
    script, short_chunks, tmp_path, name, sr, C, N, subtype, kept
):
    """Most of these take several chunks, and each chunk has another share of voice."""
    path = tmp_path / name
    sf.write(path, tones(C, N, sr).T, sr, subtype=subtype)
    original, out = path.read_bytes(), tmp_path / "out"
    out.mkdir()

    class Changing(Share):
        def separate(self, x, sr):
            self.share = 0.2 + 0.1 * (len(self.given) % 7)
            return super().separate(x, sr)

    separator = Changing()
    separated = script.separate_file(path, out, separator)

    folder = out / Path(name).stem
    assert files(out) == [folder.name] and files(folder) == RESULTS
    for stem in ("vocals.wav", "accompaniment.wav"):
        assert info(folder / stem)[:3] == (sr, C, N), stem
        assert (info(folder / stem).format, info(folder / stem).subtype) == ("WAV", kept), stem
    x, (vocals, accompaniment) = load(path)[0], stems(folder)
    step = {"PCM_16": 2**-15, "PCM_24": 2**-23}.get(kept, 0)  # each stem is rounded by half of it
    assert np.abs(vocals + accompaniment - x).max() <= step + 2**-22, "the sum is not the song"
    first = np.s_[..., : sr // 4]  # belongs to the first chunk alone
    assert np.abs(vocals[first] - 0.2 * x[first]).max() <= step + 2**-22, "vocals.wav is no voice"
    assert separated[:2] == (folder, N / sr)
    peak = max(np.abs(vocals).max(), np.abs(accompaniment).max())
    assert abs(separated.peak - peak) <= 2**-15, "not the peak of both stems"
    assert path.read_bytes() == original
    full = (C, sr // 2) if C > 1 else (sr // 2,)
    assert all(rate == sr for _, rate in separator.given)
    assert all(shape == full for shape, _ in separator.given) or sr // 2 > N


def test_chunks_leave_no_seam_and_are_as_long_as_the_settings_say(script, tmp_path):
    save(tmp_path / "x.wav", tones(2, 75 * 1000, 1000), 1000, subtype="FLOAT")
    separator = Share(0.25)
    script.separate_file(tmp_path / "x.wav", tmp_path, separator)
    assert separator.given == [((2, 30_000), 1000)] * 3, "30 s with 2 s in common, see CHUNK"
    x, (vocals, accompaniment) = load(tmp_path / "x.wav")[0], stems(tmp_path / "x")
    np.testing.assert_array_equal(vocals, x * np.float32(0.25))
    np.testing.assert_array_equal(accompaniment, x - x * np.float32(0.25))


def test_one_chunk_fades_into_the_next_for_the_overlap_that_is_set(script, tmp_path):
    """No voice, then nothing else: between them lie the two seconds of the cross-fade."""
    save(tmp_path / "x.wav", np.ones(58_000), 1000, subtype="FLOAT")

    class Steps(Share):
        def separate(self, x, sr):
            self.share = len(self.given)
            return super().separate(x, sr)

    script.separate_file(tmp_path / "x.wav", tmp_path, Steps())
    vocals, accompaniment = stems(tmp_path / "x")
    fading = np.flatnonzero((vocals > 0) & (vocals < 1))
    np.testing.assert_array_equal(fading[[0, -1]], [28_000, 29_999])
    assert (np.diff(vocals) >= 0).all()
    assert np.abs(vocals + accompaniment - 1).max() <= 1e-6


def test_memory_does_not_grow_with_the_song(script, monkeypatch, tmp_path):
    """Six times as long, 6 MiB more as float32 and each stem as much again: no more at once."""
    monkeypatch.setattr(script, "CHUNK", 2.0)
    monkeypatch.setattr(script, "OVERLAP", 0.1)
    peaks, longest = [], []
    for seconds in (20, 20, 120):  # the first one warms up
        path = tmp_path / f"{seconds}.wav"
        sf.write(path, np.tile(tones(2, 8000, 8000).T, (seconds, 1)), 8000)
        separator = Share()
        tracemalloc.start()
        script.separate_file(path, tmp_path, separator, overwrite=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        longest.append(max(shape[-1] for shape, _ in separator.given))
        assert info(tmp_path / str(seconds) / "vocals.wav").seconds == seconds
    assert longest == [16384, 16384, 16384]  # SHORTEST: 2 s are 16000
    assert peaks[2] <= peaks[1] + 2**20, f"{peaks} bytes at most for 20 s, 20 s and 120 s"


def test_full_scale_passes_unchanged(script, tmp_path):
    codes = np.where(np.random.default_rng(0).uniform(size=(9000, 2)) < 0.5, -32768, 32767)
    sf.write(tmp_path / "x.wav", codes.astype(np.int16), 16000)
    script.separate_file(tmp_path / "x.wav", tmp_path, Share(0))
    accompaniment = sf.read(tmp_path / "x" / "accompaniment.wav", dtype="int16")[0]
    np.testing.assert_array_equal(accompaniment, codes)
    assert not stems(tmp_path / "x")[0].any()


@pytest.mark.parametrize(("name", "subtype"), [("x.wav", "PCM_16"), ("x.flac", "PCM_24")])
@pytest.mark.parametrize("share", [1.5, -0.5])
def test_a_stem_beyond_full_scale_makes_both_floats_and_says_so(
    command, short_chunks, tmp_path, name, subtype, share
):
    """The voice, or the rest; in the second chunk only: what was written is written again."""
    x = tones() / 2
    x[1, 12_000] = -0.9
    save(tmp_path / name, x, 16000, subtype=subtype)
    code, said, errors = command(tmp_path / name, "--out", tmp_path / "out", separator=Share(share))
    assert code == 0, errors
    assert "32-bit floats, for a stem reaches 1.35" in said
    assert files(tmp_path / "out") == ["x"] and files(tmp_path / "out" / "x") == RESULTS
    for stem in ("vocals.wav", "accompaniment.wav"):
        assert info(tmp_path / "out" / "x" / stem).subtype == "FLOAT"
    x, (vocals, accompaniment) = load(tmp_path / name)[0], stems(tmp_path / "out" / "x")
    assert np.abs(vocals - share * x).max() <= 1e-6
    assert np.abs(vocals + accompaniment - x).max() <= 1e-6


def test_floats_stay_floats_beyond_full_scale(script, tmp_path):
    save(tmp_path / "x.wav", 3 * tones(), 16000, subtype="DOUBLE")
    separator = Share()
    assert script.separate_file(tmp_path / "x.wav", tmp_path, separator).peak > 1
    assert info(tmp_path / "x" / "vocals.wav").subtype == "DOUBLE"
    assert len(separator.given) == 1, "nothing to do again"


# Methods ------------------------------------------------------------------------------------------


def separators(script):
    """All methods, those that learn untrained and tiny."""
    rng = np.random.default_rng(0)
    learned = {
        "nmf": NMFSeparator(rng.uniform(size=(N_BINS, 3)), rng.uniform(size=(N_BINS, 4))),
        "unet": UNet(n_channels=2, widths=(2, 3), n_bins=512, sample_rate=44100, rng=rng),
        "open_unmix": OpenUnmix(n_hidden=4, n_fft=512, hop_length=256, rng=rng),
        "conv_tasnet": ConvTasNet(
            N=6, L=4, B=3, H=5, Sc=2, X=2, R=1, n_channels=2, n_sources=1, sample_rate=16000
        ),
    }
    others = [name for name in script.METHODS if name not in learned]
    return learned | {name: script.load_separator(name) for name in others}


@pytest.mark.parametrize(
    "method",
    [
        "nmf",
        "unet",
        "open_unmix",
        "conv_tasnet",
        "semi-supervised",
        "blind",
        "centre",
        "hpss",
        "repet",
    ],
)
@pytest.mark.parametrize("N", [1, 3000])
def test_songs_shorter_than_a_window_and_silent_ones(script, tmp_path, method, N):
    """With any method all work: one sample, silence that stays silent, one channel, 96 kHz."""
    separator = separators(script)[method]
    for C, sr, level in ((2, 8000, 0.5), (2, 44100, 0), (1, 44100, 0.5), (2, 96000, 0.5)):
        if method == "centre" and C == 1:
            continue
        x = level * tones(C, N)
        save(tmp_path / "x.wav", x, sr, overwrite=True, subtype="FLOAT")
        script.separate_file(tmp_path / "x.wav", tmp_path, separator, overwrite=True)
        vocals, accompaniment = stems(tmp_path / "x")  # load refuses what is not finite
        assert vocals.shape == accompaniment.shape == x.shape, (C, sr)
        assert np.abs(vocals + accompaniment - x).max() <= 1e-6, (C, sr)
        assert level or not (vocals.any() or accompaniment.any()), "silence became sound"


def test_silence_within_a_song_stays_silent(script, short_chunks, tmp_path):
    """One chunk has nothing in it at all."""
    x = tones(2, 40_000)
    x[:, 8000:32_000] = 0
    save(tmp_path / "x.wav", x, 16000)
    for method in ("centre", "hpss", "repet"):
        separator = script.load_separator(method)
        script.separate_file(tmp_path / "x.wav", tmp_path, separator, overwrite=True)
        vocals, accompaniment = stems(tmp_path / "x")
        assert not vocals[:, 15_000:25_000].any() and not accompaniment[:, 15_000:25_000].any()
        assert accompaniment[:, :6000].any(), "but the song before it does not"


def test_each_method_is_what_it_is_called(script):
    x, spectra = tones(2, 20_000), load_pretrained("nmf").voice
    for method, function in (
        ("centre", dsp.centre),
        ("hpss", dsp.voice_between),
        ("repet", dsp.repet_sim),
        ("blind", lambda x, sr: BlindSeparator().separate(x, sr)[0]),
        ("semi-supervised", lambda x, sr: SemiSupervisedSeparator(spectra).separate(x, sr)[0]),
    ):
        vocals, accompaniment = script.load_separator(method).separate(x, 16000)
        np.testing.assert_array_equal(vocals, function(x, 16000), err_msg=method)
        np.testing.assert_array_equal(accompaniment, x - vocals, err_msg=method)


def test_what_stands_in_the_middle_is_the_voice(command, tmp_path):
    """A tone in the middle, another on the left: each in its own file."""
    t = np.arange(32_000) / 16000
    middle, left = 0.3 * np.sin(2 * np.pi * 440 * t), 0.3 * np.sin(2 * np.pi * 1700 * t)
    save(tmp_path / "x.wav", np.stack([middle + left, middle]), 16000, subtype="FLOAT")
    code, said, errors = command(tmp_path / "x.wav", "--out", tmp_path, "--method", "centre")
    assert (code, errors) == (0, "")
    assert said.startswith("[1/1] x.wav: 0:02 separated in 0:0")
    assert said.endswith(f"x real time) -> {tmp_path / 'x'}\n")
    vocals, accompaniment = stems(tmp_path / "x")
    inside = np.s_[:, 4000:-4000]
    assert np.abs(vocals - middle)[inside].max() <= 0.03, "vocals.wav is not what is in the middle"
    assert np.abs(accompaniment[0] - left)[4000:-4000].max() <= 0.03


@pytest.mark.parametrize("method", ["nmf", "unet", "open_unmix", "conv_tasnet"])
def test_an_own_checkpoint_is_taken_instead_of_the_shipped_one(command, script, tmp_path, method):
    """Its class tells the method."""
    learned = separators(script)[method]
    save_checkpoint(tmp_path / "own.npz", learned, settings=getattr(learned, "settings", None))
    x = tones(2, 20_000)
    save(tmp_path / "x.wav", x, 16000, subtype="FLOAT")
    song = (tmp_path / "x.wav", "--out", tmp_path, "--model", tmp_path / "own.npz")
    for named in ([], ["--method", method, "--overwrite"]):
        code, _, errors = command(*song, *named)
        assert code == 0, errors
        expected = learned.separate(x, 16000)
        np.testing.assert_allclose(stems(tmp_path / "x"), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["nmf", "unet", "open_unmix", "conv_tasnet"])
def test_a_method_that_learned_takes_the_checkpoint_of_its_name(script, monkeypatch, method):
    monkeypatch.setattr(script, "load_pretrained", lambda name: f"the shipped {name}")
    assert script.load_separator(method) == f"the shipped {method}"


def test_a_model_that_cannot_be_is_one_line(command, script, tmp_path):
    unet = separators(script)["unet"]
    save(tmp_path / "x.wav", tones(), 16000)
    song = (tmp_path / "x.wav", "--out", tmp_path / "out")
    vad = pretrained.FOLDER / "vad.npz"
    code, _, _ = command(*song, "--model", vad)
    assert code == f"error: {vad} holds a VoiceActivityDetector, which separates no songs"
    code, _, _ = command(*song, "--model", "m.npz", "--method", "blind")
    assert code == (
        "error: --model is for --method nmf, unet, open_unmix, conv_tasnet, not for blind"
    )
    save_checkpoint(tmp_path / "unet.npz", unet, settings=unet.settings)
    code, _, _ = command(*song, "--model", tmp_path / "unet.npz", "--method", "open_unmix")
    assert code == (
        f"error: {tmp_path / 'unet.npz'} holds a UNet; --method open_unmix needs OpenUnmix"
    )
    save_checkpoint(tmp_path / "size.npz", unet, settings=unet.settings | {"widths": [2, 4]})
    code, _, _ = command(*song, "--model", tmp_path / "size.npz")
    assert code == (
        f"error: {tmp_path / 'size.npz'}: widths is [2, 4] in its settings, [2, 3] in its weights"
    )
    code, _, _ = command(*song, "--model", tmp_path / "gone.npz")
    assert code.startswith("error: ") and "gone.npz" in code
    assert not (tmp_path / "out").exists()


# What must not happen -----------------------------------------------------------------------------


def test_songs_that_cannot_be_are_one_line_each_and_the_others_are_done(command, tmp_path):
    (tmp_path / "text.wav").write_text("this is no sound")
    (tmp_path / "folder.wav").mkdir()
    save(tmp_path / "cut.flac", tones(), 16000)
    whole = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    save(tmp_path / "surround.wav", tones(6), 16000)
    save(tmp_path / "a.wav", tones(), 16000)
    save(tmp_path / "z.mp3", tones(), 16000)
    names = ["text.wav", "a.wav", "folder.wav", "cut.flac", "gone.wav", "surround.wav", "z.mp3"]
    out = tmp_path / "new" / "out"
    code, said, errors = command(*(tmp_path / name for name in names), "--out", out)
    assert code == 1
    for line, name, reason in zip(
        errors.splitlines(),
        ["text.wav", "folder.wav", "cut.flac", "gone.wav", "surround.wav"],
        ["is not a sound file", "it is a folder", "truncated or damaged", "No such file"]
        + ["has 6 channels, a song here has 1 or 2"],
        strict=True,
    ):
        assert line.startswith("error: ") and name in line and reason in line
    assert [line[:12] for line in said.splitlines()] == ["[2/7] a.wav:", "[7/7] z.mp3:"]
    assert files(out) == ["a", "z"] and files(out / "a") == files(out / "z") == RESULTS


def test_a_mono_song_has_no_centre(command, tmp_path):
    save(tmp_path / "mono.wav", tones(1), 16000)
    code, said, errors = command(
        tmp_path / "mono.wav", "--out", tmp_path / "out", "--method", "centre"
    )
    assert (code, said) == (1, "")
    assert errors == (
        f"error: {tmp_path / 'mono.wav'}: it is mono, and without two channels nothing is known of "
        f"the centre\n"
    )
    assert files(tmp_path / "out") == []


@pytest.mark.parametrize("missing", [1, 100, 10_000])
@pytest.mark.parametrize("tag", ["tag", "no tag"])
def test_a_cut_mp3_is_an_error_that_names_it(command, tmp_path, tag, missing):
    """Encoders write the length into a first frame of its own; without, what is there must do."""
    path, sr = tmp_path / "x.mp3", 44100
    with sf.SoundFile(path, "w", sr, 2, bitrate_mode="CONSTANT", compression_level=0.4) as file:
        file.write(tones(2, 40_000, sr).T)
    content = path.read_bytes()[:-missing]
    size = content.index(content[:2], 4)  # of a frame, 1152 samples
    path.write_bytes(content if tag == "tag" else content[size:])
    code, said, errors = command(path, "--out", tmp_path / "out")
    if tag == "no tag":
        assert (code, errors) == (0, "")
        whole = int((len(content) - size) / (144 * 192_000 / sr))  # frames, at 192 kbit/s
        assert info(tmp_path / "out" / "x" / "vocals.wav").frames == 1152 * whole
        return
    assert (code, said) == (1, ""), "part of a song passed for the song"
    assert errors.startswith(f"error: cannot read {path}: it is truncated or damaged")
    assert files(tmp_path / "out") == []


def test_two_songs_of_one_name_do_not_meet(command, tmp_path):
    save(tmp_path / "x.wav", tones(), 16000)
    save(tmp_path / "x.flac", tones(seed=1), 16000)
    out = tmp_path / "out"
    code, _, errors = command(
        tmp_path / "x.wav", tmp_path / "x.flac", "--out", out, "--overwrite", separator=Share(1)
    )
    assert code == 1
    assert f"{tmp_path / 'x.flac'}: another recording here is named x too" in errors
    np.testing.assert_array_equal(stems(out / "x")[0], load(tmp_path / "x.wav")[0])


@pytest.mark.parametrize("there", RESULTS)
def test_results_are_replaced_only_when_asked_and_other_files_never(command, tmp_path, there):
    save(tmp_path / "x.wav", tones(), 16000)
    folder = tmp_path / "out" / "x"
    folder.mkdir(parents=True)
    (folder / there).write_text("mine")
    (folder / "notes.txt").write_text("mine too")
    song = (tmp_path / "x.wav", "--out", tmp_path / "out")
    code, _, errors = command(*song)
    assert code == 1, f"{there} was written over, or the other two beside it"
    assert f"{there} already there; --overwrite replaces them" in errors
    assert files(folder) == sorted([there, "notes.txt"]) and (folder / there).read_text() == "mine"
    code, _, errors = command(*song, "--overwrite")
    assert (code, errors) == (0, "")
    assert files(folder) == sorted([*RESULTS, "notes.txt"]) and files(tmp_path / "out") == ["x"]
    assert (folder / there).read_bytes() != b"mine"
    assert (folder / "notes.txt").read_text() == "mine too"


@pytest.mark.parametrize("way", ["same file", "link to the folder", "link to the file"])
def test_a_song_is_never_written_over(command, script, tmp_path, way):
    """A song vocals.wav in a folder vocals is where its own vocals would be written."""
    path = tmp_path / "vocals" / "vocals.wav"
    path.parent.mkdir()
    save(path, tones(), 16000)
    before, out = path.read_bytes(), tmp_path
    if way == "link to the folder":
        out = tmp_path / "link"
        out.symlink_to(tmp_path)
    elif way == "link to the file":
        out = tmp_path / "out"
        (out / "vocals").mkdir(parents=True)
        (out / "vocals" / "accompaniment.wav").symlink_to(path)
    code, _, errors = command(path, "--out", out, "--overwrite")
    assert code == 1, "the song was written over"
    assert "is itself a recording to be separated, and recordings are never written over" in errors
    with pytest.raises(AudioFileError, match="is itself a recording"):
        script.separate_file(path, out, Share(), overwrite=True)
    assert path.read_bytes() == before and files(path.parent) == ["vocals.wav"]


def test_nor_is_another_song_of_the_same_command(command, tmp_path):
    """The accompaniment of yesterday is a song of today."""
    (tmp_path / "x").mkdir()
    yesterday = tmp_path / "x" / "accompaniment.wav"
    for path in (tmp_path / "x.flac", yesterday):
        save(path, tones(), 16000)
    before = yesterday.read_bytes()
    code, _, _ = command(tmp_path / "x.flac", yesterday, "--out", tmp_path, "--overwrite")
    assert code == 1, "the second song was written over before its turn"
    assert yesterday.read_bytes() == before and files(tmp_path / "x") == ["accompaniment.wav"]
    assert files(tmp_path / "accompaniment") == RESULTS


def test_a_file_where_the_folder_should_be_stays(command, tmp_path):
    """Here it is the song itself, which has no suffix."""
    save(tmp_path / "song.wav", tones(), 16000)
    (tmp_path / "song.wav").rename(tmp_path / "song")
    before = (tmp_path / "song").read_bytes()
    separator = Share()
    code, _, errors = command(
        tmp_path / "song", "--out", tmp_path, "--overwrite", separator=separator
    )
    assert code == 1 and not separator.given, "this can be said before the work"
    assert f"{tmp_path / 'song'} is there already and no folder" in errors
    assert (tmp_path / "song").read_bytes() == before and files(tmp_path) == ["song"]


class Failing(Share):
    """Separates one chunk, then raises, or returns what does not fit."""

    def __init__(self, failure):
        super().__init__()
        self.failure = failure

    def separate(self, x, sr):
        if not self.given:
            return super().separate(x, sr)
        if isinstance(self.failure, np.ndarray):
            return self.failure
        raise self.failure


FAILURES = [
    (KeyboardInterrupt(), 130, "stopped: nothing of x.wav was written"),
    (ShapeError("x is odd"), 1, "x.wav: x is odd"),
    (OSError(28, "No space left on device"), 1, "x.wav: [Errno 28] No space left on device"),
    (np.zeros((2, 8000), np.float32), 1, "separate must return (2, 2, 8000)"),
    (np.zeros((3, 2, 8000), np.float32), 1, "separate must return (2, 2, 8000)"),
    (np.full((2, 2, 8000), np.nan, np.float32), 1, "what process returned must be finite"),
]


@pytest.mark.parametrize(("failure", "code", "message"), FAILURES)
@pytest.mark.parametrize("old", [False, True])
def test_a_failure_half_way_leaves_no_half_stems(
    command, short_chunks, tmp_path, failure, code, message, old
):
    """And old results as they were, also with --overwrite."""
    save(tmp_path / "x.wav", tones(), 16000)
    out = tmp_path / "out"
    if old:
        (out / "x").mkdir(parents=True)
        for name in RESULTS:
            (out / "x" / name).write_text("old")
    separator = Failing(failure)
    exit, said, errors = command(
        tmp_path / "x.wav", "--out", out, "--overwrite", separator=separator
    )
    assert (exit, said) == (code, "")
    assert message in errors
    assert files(out) == (["x"] if old else []), "something half is left"
    assert not old or {(out / "x" / name).read_text() for name in RESULTS} == {"old"}


def test_a_picture_that_fails_leaves_no_stems_either(script, monkeypatch, tmp_path):
    def stopped(mix, vocals, accompaniment):
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "draw", stopped)
    save(tmp_path / "x.wav", tones(), 16000)
    with pytest.raises(KeyboardInterrupt):
        script.separate_file(tmp_path / "x.wav", tmp_path, Share())
    assert files(tmp_path) == ["x.wav"]


@pytest.mark.parametrize("name", RESULTS)
def test_results_that_cannot_all_be_moved_are_not_moved(command, tmp_path, name):
    """A folder bears the name of one of them: it stays, the other two do not appear."""
    save(tmp_path / "x.wav", tones(), 16000)
    (tmp_path / "out" / "x" / name).mkdir(parents=True)
    code, said, errors = command(tmp_path / "x.wav", "--out", tmp_path / "out", "--overwrite")
    assert (code, said) == (1, "")
    assert errors.startswith("error: ") and name in errors
    assert files(tmp_path / "out") == ["x"] and files(tmp_path / "out" / "x") == [name]
    assert (tmp_path / "out" / "x" / name).is_dir()


STAND_IN = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
sys.path.insert(0, {examples!r})
import separate_song

class StandIn:
    def separate(self, x, sr):
        time.sleep(60)

separate_song.load_pretrained = lambda name: StandIn()
separate_song.main()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to all processes at once")
def test_ctrl_c_stops_it_and_leaves_nothing(tmp_path):
    save(tmp_path / "x.wav", np.zeros(100_000), 1000)
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", STAND_IN.format(examples=str(ROOT / "examples"))]
        + [str(tmp_path / "x.wav"), "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 20
    while not list(out.glob("*.part/results/*.part")) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [name.endswith(".part") for name in files(out)] == [True], "it has begun to write"
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=20)
    assert (process.returncode, said) == (130, "")
    assert errors == "stopped: nothing of x.wav was written\n"
    assert files(out) == []


def test_progress_rises_to_the_end(script, short_chunks, tmp_path):
    save(tmp_path / "x.wav", tones(2, 40_000), 16000)
    seen = []
    script.separate_file(
        tmp_path / "x.wav", tmp_path, Share(), progress=lambda *at: seen.append(at)
    )
    assert len(seen) >= 5
    assert seen == sorted(set(seen)) and seen[-1] == (2.5, 2.5)


# Pictures -----------------------------------------------------------------------------------------


def test_the_picture_shows_song_and_stems_in_the_same_colours(
    drawing_script, monkeypatch, tmp_path
):
    import matplotlib.pyplot as plt

    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    x = tones(2, 32_000)
    save(tmp_path / "x.wav", x, 16000, subtype="FLOAT")
    drawing_script.separate_file(tmp_path / "x.wav", tmp_path, Share(0.1))
    monkeypatch.undo()
    plt.close(figures[0])
    assert (tmp_path / "x" / "stems.png").read_bytes().startswith(b"\x89PNG")
    song, vocals, accompaniment = (ax.collections[0] for ax in figures[0].axes[:3])
    columns = drawing_script.Columns(32_000, 16000)
    columns.add(x)
    np.testing.assert_allclose(song.get_array(), columns.decibels(), atol=1e-3)
    np.testing.assert_allclose(vocals.get_array(), columns.decibels() - 20, atol=1e-3)
    expected = columns.decibels() + 20 * np.log10(0.9)
    np.testing.assert_allclose(accompaniment.get_array(), expected, atol=1e-3)
    loudest = song.get_array().max()
    for drawing in (song, vocals, accompaniment):
        assert drawing.get_clim() == (loudest - 80, loudest)
    names = [ax.get_title(loc="left") for ax in figures[0].axes[:3]]
    assert names == ["song", "vocals", "accompaniment"]
    assert {ax.get_yscale() for ax in figures[0].axes[:3]} == {"symlog"}, "the mel scale"


def test_silence_of_one_sample_can_be_drawn(drawing_script, tmp_path):
    save(tmp_path / "x.wav", np.zeros(1), 96000)
    drawing_script.separate_file(tmp_path / "x.wav", tmp_path, Share())
    assert (tmp_path / "x" / "stems.png").read_bytes().startswith(b"\x89PNG")
