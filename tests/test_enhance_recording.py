"""Laws of examples/enhance_recording.py: any recording comes out whole, clean and nowhere else.

And of what it shares with separate_song.py: examples/own_recordings.py.
"""

import importlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from scratchaudio import dsp
from scratchaudio.errors import AudioFileError, ConfigError, ShapeError
from scratchaudio.io import info, load, save
from scratchaudio.models import pretrained

ROOT = Path(__file__).parent.parent


class Gain:
    """Stand-in for a model; notes what it is given."""

    def __init__(self, gain=0.5):
        self.gain, self.given = gain, []

    def enhance(self, x, sr):
        self.given.append((x.shape, sr))
        return x * x.dtype.type(self.gain)


@pytest.fixture
def drawing_script(monkeypatch):
    """The example as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.reload(importlib.import_module("enhance_recording"))


@pytest.fixture
def script(drawing_script, monkeypatch):
    """The same with an empty picture, which takes no time."""
    monkeypatch.setattr(drawing_script, "draw", lambda before, after: b"picture")
    return drawing_script


@pytest.fixture
def shared(script):
    """What the examples for one's own recordings share, as a module."""
    return sys.modules["own_recordings"]


@pytest.fixture
def command(script, monkeypatch, capsys):
    """Run the example's command with a stand-in; returns exit code, output and errors."""

    def run(*arguments, model=None):
        monkeypatch.setattr(script, "load_pretrained", lambda name: model or Gain())
        monkeypatch.setattr(sys, "argv", ["enhance_recording.py", *map(str, arguments)])
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


# What comes out -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sr", "C", "N", "subtype", "kept"),
    [
        ("x.wav", 8000, 1, 800, "PCM_16", "x.wav PCM_16"),  # 0.1 s
        ("x.wav", 8000, 1, 1, "PCM_16", "x.wav PCM_16"),
        ("x.wav", 1000, 1, 4567, "PCM_24", "x.wav PCM_24"),
        ("x.WAV", 22050, 2, 30_011, "PCM_U8", "x.wav PCM_16"),
        ("x.wav", 44100, 2, 50_000, "PCM_32", "x.wav PCM_32"),
        ("x.wav", 48000, 6, 30_000, "FLOAT", "x.wav FLOAT"),
        ("x.wav", 96000, 2, 96_001, "PCM_24", "x.wav PCM_24"),
        ("x.wav", 16000, 1, 16_000, "DOUBLE", "x.wav DOUBLE"),
        ("x.wav", 16000, 1, 16_000, "ULAW", "x.wav PCM_16"),
        ("x.flac", 44100, 2, 50_000, "PCM_16", "x.flac PCM_16"),
        ("x.y.flac", 16000, 5, 5000, "PCM_24", "x.y.flac PCM_24"),
        ("x.flac", 16000, 1, 5000, "PCM_S8", "x.flac PCM_16"),
        ("x.aiff", 16000, 2, 5000, "PCM_24", "x.wav PCM_24"),
        ("x.mp3", 44100, 2, 60_000, "MPEG_LAYER_III", "x.wav PCM_16"),
        ("x.ogg", 32000, 1, 60_001, "VORBIS", "x.wav PCM_16"),
    ],
)
def test_rate_channels_length_and_format_stay(
    script, tmp_path, monkeypatch, name, sr, C, N, subtype, kept
):
    """Half a second at a time, so that most of these take several chunks."""
    monkeypatch.setattr(script, "CHUNK", 0.5)
    monkeypatch.setattr(script, "OVERLAP", 0.1)
    path = tmp_path / name
    sf.write(path, tones(C, N, sr).T, sr, subtype=subtype)
    original, out = path.read_bytes(), tmp_path / "out"
    out.mkdir()
    model = Gain(0.5)
    cleaned = script.enhance_file(path, out, model)

    sound, subtype = kept.split(" ")
    assert cleaned.sound == out / sound
    assert files(out) == sorted([sound, Path(sound).stem + ".png"])
    assert info(out / sound)[:3] == (sr, C, N)
    assert info(out / sound).subtype == subtype
    step = {"PCM_S8": 2**-7, "PCM_U8": 2**-7, "PCM_16": 2**-15}.get(subtype, 2**-23)
    x, y = load(path)[0], load(out / sound)[0]
    assert np.abs(y - x / 2).max() <= step / 2 + 2**-25
    assert cleaned.seconds == N / sr
    assert abs(cleaned.peak - np.abs(x).max() / 2) <= 1e-6
    assert N == 1 or cleaned.softer == pytest.approx(20 * np.log10(2), abs=1e-3)
    assert path.read_bytes() == original
    full = (C, sr // 2) if C > 1 else (sr // 2,)
    assert all(rate == sr for _, rate in model.given)
    assert all(shape == full for shape, _ in model.given) or sr // 2 > N


def test_chunks_leave_no_seam_and_are_as_long_as_the_settings_say(script, tmp_path):
    save(tmp_path / "x.wav", tones(2, 75 * 1000, 1000), 1000, subtype="FLOAT")
    model = Gain(1)
    (tmp_path / "out").mkdir()
    script.enhance_file(tmp_path / "x.wav", tmp_path / "out", model)
    assert model.given == [((2, 30_000), 1000)] * 3
    np.testing.assert_array_equal(load(tmp_path / "out" / "x.wav")[0], load(tmp_path / "x.wav")[0])


def test_one_chunk_fades_into_the_next_for_the_overlap_that_is_set(script, tmp_path):
    """The model's gain is 0, then 1: between them lie the two seconds of the cross-fade."""
    save(tmp_path / "x.wav", np.ones(58_000), 1000, subtype="FLOAT")
    (tmp_path / "out").mkdir()

    class Steps(Gain):
        def enhance(self, x, sr):
            self.gain = len(self.given)
            return super().enhance(x, sr)

    script.enhance_file(tmp_path / "x.wav", tmp_path / "out", Steps())
    y = load(tmp_path / "out" / "x.wav")[0]
    np.testing.assert_array_equal(np.flatnonzero((y > 0) & (y < 1))[[0, -1]], [28_000, 29_999])
    assert (np.diff(y) >= 0).all()


@pytest.mark.parametrize("mix", [0.0, 0.25, 1.0])
def test_mix_leaves_a_share_of_the_recording_in(command, tmp_path, mix):
    x = tones()
    save(tmp_path / "x.wav", x, 16000, subtype="FLOAT")
    out = tmp_path / "out"
    code, _, _ = command(tmp_path / "x.wav", "--out", out, "--mix", mix, model=Gain(0.1))
    assert code == 0
    assert np.abs(load(out / "x.wav")[0] - (mix + (1 - mix) * 0.1) * x).max() <= 1e-6


@pytest.mark.parametrize("mix", ["-0.1", "1.5", "nan"])
def test_an_impossible_mix_is_one_line(command, script, tmp_path, mix):
    save(tmp_path / "x.wav", tones(), 16000)
    code, _, _ = command(tmp_path / "x.wav", "--out", tmp_path / "out", "--mix", mix)
    assert code == f"error: --mix must be from 0 to 1, got {float(mix)}"
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="mix must be from 0 to 1"):
        script.enhance_file(tmp_path / "x.wav", tmp_path, Gain(), float(mix))


def test_silence_stays_silence(script, tmp_path):
    save(tmp_path / "x.wav", np.zeros((2, 20_000)), 16000)
    (tmp_path / "out").mkdir()
    cleaned = script.enhance_file(tmp_path / "x.wav", tmp_path / "out", Gain())
    assert not load(tmp_path / "out" / "x.wav")[0].any()
    assert (cleaned.softer, cleaned.peak) == (0, 0)


def test_clipped_full_scale_passes_unchanged(script, tmp_path):
    codes = np.where(np.random.default_rng(0).uniform(size=(9000, 2)) < 0.5, -32768, 32767)
    sf.write(tmp_path / "x.wav", codes.astype(np.int16), 16000)
    (tmp_path / "out").mkdir()
    script.enhance_file(tmp_path / "x.wav", tmp_path / "out", Gain(1))
    np.testing.assert_array_equal(sf.read(tmp_path / "out" / "x.wav", dtype="int16")[0], codes)


@pytest.mark.parametrize(("name", "subtype"), [("x.wav", "PCM_16"), ("x.flac", "PCM_24")])
def test_what_exceeds_full_scale_becomes_floats_and_says_so(
    command, script, monkeypatch, tmp_path, name, subtype
):
    """Found in the second chunk only: what was written before is written again."""
    monkeypatch.setattr(script, "CHUNK", 0.5)
    monkeypatch.setattr(script, "OVERLAP", 0.1)
    x = tones() / 2
    x[1, 12_000] = -0.9
    save(tmp_path / name, x, 16000, subtype=subtype)
    code, said, _ = command(tmp_path / name, "--out", tmp_path / "out", model=Gain(1.5))
    assert code == 0
    assert "32-bit floats, for it reaches 1.35" in said
    assert files(tmp_path / "out") == ["x.png", "x.wav"]
    assert info(tmp_path / "out" / "x.wav").subtype == "FLOAT"
    y = load(tmp_path / "out" / "x.wav")[0]
    np.testing.assert_array_equal(y, load(tmp_path / name)[0] * np.float32(1.5))


def test_floats_stay_floats_beyond_full_scale(script, tmp_path):
    save(tmp_path / "x.wav", 3 * tones(), 16000, subtype="DOUBLE")
    (tmp_path / "out").mkdir()
    model = Gain(1)
    cleaned = script.enhance_file(tmp_path / "x.wav", tmp_path / "out", model)
    assert info(tmp_path / "out" / "x.wav").subtype == "DOUBLE"
    assert cleaned.peak > 1.5
    assert len(model.given) == 1, "nothing to do again"


# What must not happen -----------------------------------------------------------------------------


def test_bad_files_are_one_line_each_and_the_others_are_done(command, tmp_path):
    (tmp_path / "text.wav").write_text("this is no sound")
    (tmp_path / "folder.wav").mkdir()
    save(tmp_path / "cut.flac", tones(), 16000)
    whole = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    save(tmp_path / "a.wav", tones(), 16000)
    save(tmp_path / "z.mp3", tones(), 16000)
    names = ["text.wav", "a.wav", "folder.wav", "cut.flac", "gone.wav", "z.mp3"]
    out = tmp_path / "new" / "out"
    code, said, errors = command(*(tmp_path / name for name in names), "--out", out)
    assert code == 1
    lines = errors.splitlines()
    assert len(lines) == 4
    for line, name, reason in zip(
        lines,
        ["text.wav", "folder.wav", "cut.flac", "gone.wav"],
        ["is not a sound file", "it is a folder", "truncated or damaged", "No such file"],
        strict=True,
    ):
        assert line.startswith("error: ") and name in line and reason in line
    assert [line[:12] for line in said.splitlines()] == ["[2/6] a.wav:", "[6/6] z.mp3:"]
    assert "0:01 cleaned in 0:0" in said and "x real time), pauses 6.0 dB softer -> " in said
    assert files(out) == ["a.png", "a.wav", "z.png", "z.wav"]


def test_two_recordings_of_one_name_do_not_meet(command, tmp_path):
    for name in ("x.wav", "x.flac"):
        save(tmp_path / name, tones(), 16000)
    out = tmp_path / "out"
    code, _, errors = command(tmp_path / "x.wav", tmp_path / "x.flac", "--out", out)
    assert code == 1
    assert "x.flac: another recording here is named x too" in errors
    assert files(out) == ["x.png", "x.wav"]


@pytest.mark.parametrize("there", ["x.wav", "x.png"])
def test_results_are_replaced_only_when_asked(command, tmp_path, there):
    save(tmp_path / "x.wav", tones(), 16000)
    out = tmp_path / "out"
    out.mkdir()
    (out / there).write_text("mine")
    code, _, errors = command(tmp_path / "x.wav", "--out", out)
    assert code == 1
    assert f"{there} already there; --overwrite replaces them" in errors
    assert files(out) == [there] and (out / there).read_text() == "mine"
    code, _, errors = command(tmp_path / "x.wav", "--out", out, "--overwrite")
    assert (code, errors) == (0, "")
    assert files(out) == ["x.png", "x.wav"] and (out / there).read_bytes() != b"mine"


@pytest.mark.parametrize("way", ["same folder", "link to the folder", "link to the file"])
def test_a_recording_is_never_written_over(command, script, tmp_path, way):
    path, out = tmp_path / "x.wav", tmp_path
    save(path, tones(), 16000)
    before = path.read_bytes()
    if way == "link to the folder":
        out = tmp_path / "link"
        out.symlink_to(tmp_path)
    elif way == "link to the file":
        out = tmp_path / "out"
        out.mkdir()
        (out / "x.wav").symlink_to(path)
    code, _, errors = command(path, "--out", out, "--overwrite")
    assert code == 1
    assert "is itself a recording to be cleaned, and recordings are never written over" in errors
    assert path.read_bytes() == before
    assert "x.png" not in files(tmp_path)
    with pytest.raises(AudioFileError, match="is itself a recording"):
        script.enhance_file(path, out, Gain(), overwrite=True)
    assert path.read_bytes() == before


def test_nor_is_another_recording_of_the_same_command(command, tmp_path):
    """x.mp3 would become x.wav, which is the next in the list."""
    for name in ("x.mp3", "x.wav"):
        save(tmp_path / name, tones(), 16000)
    before = (tmp_path / "x.wav").read_bytes()
    command(tmp_path / "x.mp3", tmp_path / "x.wav", "--out", tmp_path, "--overwrite")
    assert (tmp_path / "x.wav").read_bytes() == before
    # x.flac would become x.wav only when it turns out too loud.
    save(tmp_path / "x.flac", tones(), 16000)
    out = ("--out", tmp_path, "--overwrite")
    command(tmp_path / "x.flac", tmp_path / "x.wav", *out, model=Gain(2))
    assert (tmp_path / "x.wav").read_bytes() == before
    assert files(tmp_path) == ["x.flac", "x.mp3", "x.wav"]


class Failing(Gain):
    """Cleans one chunk, then raises, or returns what does not fit."""

    def __init__(self, failure):
        super().__init__()
        self.failure = failure

    def enhance(self, x, sr):
        if not self.given:
            return super().enhance(x, sr)
        if isinstance(self.failure, np.ndarray):
            return self.failure
        raise self.failure


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "stopped: nothing of x.wav was written"),
        (ShapeError("x is odd"), 1, "x.wav: x is odd"),
        (np.zeros((2, 3), np.float32), 1, "process must return the shape of its argument"),
        (np.full((2, 8000), np.nan, np.float32), 1, "what process returned must be finite"),
    ],
)
def test_a_failure_half_way_leaves_no_half_file(
    command, script, monkeypatch, tmp_path, failure, code, message
):
    monkeypatch.setattr(script, "CHUNK", 0.5)
    monkeypatch.setattr(script, "OVERLAP", 0.1)
    save(tmp_path / "x.wav", tones(), 16000)
    out = tmp_path / "out"
    exit, said, errors = command(tmp_path / "x.wav", "--out", out, model=Failing(failure))
    assert (exit, said) == (code, "")
    assert message in errors
    assert files(out) == []


def test_a_picture_that_fails_leaves_no_sound_either(script, monkeypatch, tmp_path):
    def stopped(before, after):
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "draw", stopped)
    save(tmp_path / "x.wav", tones(), 16000)
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        script.enhance_file(tmp_path / "x.wav", tmp_path / "out", Gain())
    assert files(tmp_path / "out") == []


STAND_IN = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
sys.path.insert(0, {examples!r})
import enhance_recording

class StandIn:
    def enhance(self, x, sr):
        {act}
        return x / 2

enhance_recording.load_pretrained = lambda name: StandIn()
try:
    enhance_recording.main()
finally:
    {after}
"""


def run_script(act="pass", after="pass", arguments=()):
    """Start the example as a process of its own."""
    code = STAND_IN.format(examples=str(ROOT / "examples"), act=act, after=after)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to all processes at once")
def test_ctrl_c_stops_it_and_leaves_nothing(tmp_path):
    save(tmp_path / "x.wav", np.zeros(100_000), 1000)
    out = tmp_path / "out"
    process = run_script("time.sleep(60)", arguments=[tmp_path / "x.wav", "--out", out])
    deadline = time.monotonic() + 20
    while not (out.is_dir() and files(out)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert files(out)[0].endswith(".part"), "it has begun to write"
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=20)
    assert (process.returncode, said) == (130, "")
    assert errors == "stopped: nothing of x.wav was written\n"
    assert files(out) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_the_recording(tmp_path):
    """Six minutes at 44.1 kHz in stereo: 400 MiB at most, Python and matplotlib included.

    As float32 the recording would be 121 MiB, the result as much again: 240 MiB more than now.
    """
    second = np.random.default_rng(0).integers(-9000, 9000, (44100, 2), dtype=np.int16)
    with sf.SoundFile(tmp_path / "x.wav", "w", 44100, 2, "PCM_16") as file:
        for _ in range(360):
            file.write(second)
    peak = "print([line for line in open('/proc/self/status') if 'VmHWM' in line][0])"
    process = run_script(after=peak, arguments=[tmp_path / "x.wav", "--out", tmp_path / "out"])
    said, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (0, "")
    assert info(tmp_path / "out" / "x.wav").frames == 360 * 44100
    assert (tmp_path / "out" / "x.png").stat().st_size > 10_000
    assert int(said.split("VmHWM:")[1].split()[0]) <= 400 * 1024, said


def test_a_checkpoint_of_another_kind_is_refused(command, tmp_path):
    save(tmp_path / "x.wav", tones(), 16000)
    vad = pretrained.FOLDER / "vad.npz"
    code, _, _ = command(tmp_path / "x.wav", "--out", tmp_path / "out", "--model", vad)
    assert code == f"error: {vad} holds a VoiceActivityDetector, which does not clean recordings"
    assert not (tmp_path / "out").exists()


# Progress -----------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_progress_line_says_how_far_how_long_and_how_fast(shared, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(shared.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(sys, "stdout", Terminal())
    progress = shared.Progress("[1/2] talk.mp3")
    now[0] += 60
    progress(900, 3600)
    assert sys.stdout.getvalue().rstrip() == ("\r[1/2] talk.mp3: 25%, 3:00 left, 15 x real time")
    shown = len(sys.stdout.getvalue())
    progress.show("")
    assert sys.stdout.getvalue()[shown:] == "\r" + 79 * " " + "\r"
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    progress(900, 3600)
    assert sys.stdout.getvalue() == "", "a file gets no progress"


def test_progress_rises_to_the_end(script, monkeypatch, tmp_path):
    monkeypatch.setattr(script, "CHUNK", 0.5)
    monkeypatch.setattr(script, "OVERLAP", 0.1)
    save(tmp_path / "x.wav", tones(2, 40_000), 16000)
    (tmp_path / "out").mkdir()
    seen = []
    script.enhance_file(
        tmp_path / "x.wav", tmp_path / "out", Gain(), progress=lambda *at: seen.append(at)
    )
    assert len(seen) >= 5
    assert seen == sorted(set(seen)) and seen[-1] == (2.5, 2.5)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3599.6, "1:00:00"), (45296, "12:34:56")],
)
def test_clock(shared, seconds, text):
    assert shared.clock(seconds) == text


# Pictures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sr", "N"), [(8000, 100), (8000, 3001), (16000, 160_000), (96000, 9999)])
@pytest.mark.parametrize("C", [1, 2])
def test_columns_are_mean_spectra_whatever_the_blocks(shared, monkeypatch, sr, N, C):
    monkeypatch.setattr(shared, "COLUMNS", 50)
    x = tones(C, N, sr)
    rng = np.random.default_rng(N)
    columns = shared.Columns(N, sr)
    start = 0
    while start < N:
        n = N if N < 200 else int(rng.integers(1, 5000))
        columns.add(x[..., start : start + n])
        start += n

    n_fft = {8000: 256, 16000: 512, 96000: 2048}[sr]
    whole = np.pad(np.atleast_2d(x), [(0, 0), (0, max(0, n_fft - N))])
    starts = range(0, whole.shape[1] - n_fft + 1, n_fft // 2)
    w = dsp.hann(n_fft)
    power = [
        np.mean([np.abs(np.fft.rfft(channel[s : s + n_fft] * w)) ** 2 for channel in whole], axis=0)
        for s in starts
    ]
    T = min(50, len(power))
    sums = [[p for t, p in enumerate(power) if t * T // len(power) == c] for c in range(T)]
    expected = 10 * np.log10([np.mean(group, axis=0) / (n_fft / 4) ** 2 for group in sums]).T
    assert columns.decibels().shape == expected.shape
    assert np.abs(columns.decibels() - expected)[expected > -80].max() <= 1e-3


def test_a_tone_of_amplitude_1_has_0_db(shared):
    columns = shared.Columns(16000, 16000)
    columns.add(np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000))
    db = columns.decibels()
    assert db.shape[0] == 257
    assert (db.argmax(axis=0) == 32).all()
    assert np.abs(db.max(axis=0)).max() <= 0.01


def test_the_quietest_tenth_is_the_background(shared):
    x = 0.01 * np.random.default_rng(0).standard_normal(160_000)
    x[40_000:] += tones(1, 120_000)
    columns, quiet = shared.Columns(160_000, 16000), shared.Columns(40_000, 16000)
    columns.add(x)
    quiet.add(x[:40_000])
    assert abs(columns.quietest_tenth() - quiet.quietest_tenth()) <= 1


@pytest.mark.parametrize(
    "x",
    [np.zeros(800, np.float32), np.ones(1, np.float32), tones(6, 2000)],
    ids=["silence", "one sample", "six channels"],
)
@pytest.mark.parametrize("sr", [1000, 96000])
def test_anything_can_be_drawn(drawing_script, tmp_path, x, sr):
    save(tmp_path / "x.wav", x, sr)
    (tmp_path / "out").mkdir()
    drawing_script.enhance_file(tmp_path / "x.wav", tmp_path / "out", Gain())
    assert files(tmp_path / "out") == ["x.png", "x.wav"]
    assert (tmp_path / "out" / "x.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_shows_before_after_and_gain_in_fixed_colours(drawing_script, monkeypatch):
    script = drawing_script
    import matplotlib.pyplot as plt

    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    x = tones(1, 32_000)
    before, after = script.Columns(32_000, 16000), script.Columns(32_000, 16000)
    before.add(x)
    after.add(x / 10)
    png = script.draw(before, after)
    monkeypatch.undo()
    plt.close(figures[0])
    assert png.startswith(b"\x89PNG")
    top, middle, bottom = (ax.collections[0] for ax in figures[0].axes[:3])
    np.testing.assert_array_equal(top.get_array(), before.decibels())
    np.testing.assert_array_equal(middle.get_array(), after.decibels())
    np.testing.assert_allclose(bottom.get_array(), -20, atol=1e-3)
    loudest = before.decibels().max()
    assert top.get_clim() == middle.get_clim() == (loudest - 80, loudest)
    assert bottom.get_clim() == (-30, 0)
    left, right = figures[0].axes[0].get_xlim()
    assert abs(left) <= 0.02 and abs(right - 2) <= 0.02  # s
    labels = [ax.child_axes[0].get_ylabel() for ax in figures[0].axes[:3]]
    assert labels == ["level (dB)", "level (dB)", "gain (dB)"]


# What cleans --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """The bundled sentence in stereo, amid noise, a second of it before and after."""
    speech, sr = load(ROOT / "sounds" / "speech.wav")
    x = np.pad(speech, sr) + 0.01 * np.random.default_rng(0).standard_normal(
        (2, len(speech) + 2 * sr)
    )
    path = tmp_path_factory.mktemp("noisy") / "x.wav"
    save(path, x / np.abs(x).max(), sr)
    return path


@pytest.mark.parametrize(
    "method",
    [
        "wiener",
        pytest.param(
            "network",
            marks=pytest.mark.skipif(
                "enhancer" not in pretrained.PRETRAINED, reason="no enhancer ships yet"
            ),
        ),
    ],
)
def test_the_pauses_become_softer_and_the_voice_stays(noisy, tmp_path, method):
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "enhance_recording.py", noisy]
        + ["--out", tmp_path, "--method", method],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert float(done.stdout.split("pauses ")[1].split(" dB softer")[0]) >= 8
    x, sr = load(noisy)
    y, _ = load(tmp_path / "x.wav")
    assert y.shape == x.shape
    voice = slice(sr, -sr)
    assert abs(dsp.amplitude_to_db(np.std(y[:, voice]) / np.std(x[:, voice]))) <= 1.5


@pytest.mark.parametrize("N", [1, 800, 30_000])
@pytest.mark.parametrize("method", ["wiener", "subtraction"])
def test_classical_methods_take_channels_one_by_one(script, method, N):
    x = tones(3, N)
    y = script.Classical(method).enhance(x, 16000)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    for channel, cleaned in zip(x, y, strict=True):
        np.testing.assert_array_equal(cleaned, dsp.denoise(channel, 16000, method=method))
        np.testing.assert_array_equal(script.Classical(method).enhance(channel, 16000), cleaned)


def test_a_model_and_a_method_without_one_contradict_each_other(command, tmp_path):
    save(tmp_path / "x.wav", tones(), 16000)
    out = ("--out", tmp_path / "out")
    code, _, _ = command(tmp_path / "x.wav", *out, "--model", "m.npz", "--method", "wiener")
    assert code == "error: --model is for --method network, not for wiener"
