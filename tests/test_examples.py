"""The scripts do what their first lines promise, and speak clearly when they cannot."""

import csv
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from scratchaudio.errors import AudioFileError
from scratchaudio.models import load_pretrained, segmentation, vad

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(script, *arguments):
    return subprocess.run(
        [sys.executable, EXAMPLES / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def rows(path):
    with path.open(newline="") as file:
        return [[float(cell) for cell in row] for row in list(csv.reader(file))[1:]]


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """A stereo recording at 44.1 kHz: the bundled sentence between two seconds of faint noise."""
    speech, sr = soundfile.read(EXAMPLES.parent / "sounds" / "speech.wav", dtype="float32")
    at_44100 = np.interp(np.arange(0, len(speech), sr / 44100), np.arange(len(speech)), speech)
    pause = np.zeros(2 * 44100)
    x = np.concatenate([pause, at_44100, pause])
    x = np.stack([x, 0.5 * x], axis=1)
    x += 1e-3 * np.random.default_rng(0).standard_normal(x.shape)
    path = tmp_path_factory.mktemp("talk") / "talk.flac"
    soundfile.write(path, x, 44100)
    return path


def test_detect_voice_writes_five_files_that_agree(talk, tmp_path):
    done = run("detect_voice.py", talk, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "talk.flac" in done.stdout and done.stderr == ""
    duration = soundfile.info(talk).duration

    frames = np.array(rows(tmp_path / "talk.frames.csv"))
    np.testing.assert_allclose(np.diff(frames[:, 0]), 0.01, atol=1e-9)
    assert abs(frames[-1, 0] - duration) < 0.011
    segments = rows(tmp_path / "talk.segments.csv")
    assert segments, "no speech found in a clean sentence"
    assert 1.7 < segments[0][0] < 2.4 and abs(segments[-1][1] - (duration - 2)) < 0.4, segments
    inside = segmentation.segments_to_frames(
        [(start, min(end, (len(frames) - 1) / 100)) for start, end in segments], len(frames)
    )
    assert frames[inside, 1].mean() > 0.8 and frames[~inside, 1].mean() < 0.2

    labels = (tmp_path / "talk.labels.txt").read_text().splitlines()
    assert [f"{start:.3f}\t{end:.3f}\tspeech" for start, end in segments] == labels
    kept, sr = soundfile.read(tmp_path / "talk.speech.wav")
    original, _ = soundfile.read(talk)
    assert sr == 44100 and kept.shape == original.shape
    assert np.abs(kept[: int(1.5 * sr)]).max() == 0
    middle = slice(int(3 * sr), int(3.2 * sr))
    np.testing.assert_allclose(kept[middle], original[middle], atol=1e-4)
    assert (tmp_path / "talk.png").stat().st_size > 10_000


def test_an_unreadable_file_is_one_clear_line_and_the_others_are_done(talk, tmp_path):
    bad = tmp_path / "notes.wav"
    bad.write_text("this is not a sound")
    done = run("detect_voice.py", bad, tmp_path / "gone.wav", talk, "--out", tmp_path / "found")
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 2, done.stderr
    assert lines[0].startswith("error: ") and "notes.wav" in lines[0]
    assert "gone.wav" in lines[1]
    assert (tmp_path / "found" / "talk.segments.csv").exists()


def test_results_are_not_overwritten_unasked(talk, tmp_path):
    (tmp_path / "talk.labels.txt").write_text("mine")
    done = run("detect_voice.py", talk, "--out", tmp_path)
    assert done.returncode == 1 and "talk.labels.txt" in done.stderr, done.stderr
    assert (tmp_path / "talk.labels.txt").read_text() == "mine"
    assert not (tmp_path / "talk.frames.csv").exists()
    assert run("detect_voice.py", talk, "--out", tmp_path, "--overwrite").returncode == 0


def test_impossible_settings_are_one_line(talk, tmp_path):
    done = run("detect_voice.py", talk, "--out", tmp_path, "--onset", "0.2")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "error: thresholds must satisfy 0 <= offset <= onset <= 1, got offset=0.35, onset=0.2"
    )


def test_training_saves_a_checkpoint_that_evaluation_takes(tmp_path):
    """One epoch on two voices, then the page: the path a student walks, in small."""
    voices = {"train": "ab", "validation": "cf", "test": "de"}
    for split, name in ((split, name) for split, names in voices.items() for name in names):
        folder = tmp_path / "sounds" / split
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(ord(name))
        x = 0.01 * rng.standard_normal(16 * 16000 + 1600 * ord(name))
        x[16000 : 8 * 16000] *= 20
        soundfile.write(folder / f"{name}.flac", x, 16000)
        (folder / f"{name}.csv").write_text("start,end\n1.00,8.00\n")
    checkpoint = tmp_path / "out" / "vad.npz"
    sounds = ("--sounds", tmp_path / "sounds")
    done = run(
        "train_vad.py", "--checkpoint", checkpoint, *sounds, "--epochs", 1, "--n-hidden", 4,
        "--batch-size", 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "loss" in done.stdout and "auc" in done.stdout
    page = tmp_path / "out" / "index.html"
    done = run("evaluate_vad.py", "--checkpoint", checkpoint, *sounds, "--out", page)
    assert done.returncode == 0, done.stderr
    assert page.stat().st_size > 100_000
    with page.with_suffix(".csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 3 * 5  # three methods, all levels together and each of four
    assert {row["method"] for row in table} == {"network", "energy", "adaptive energy"}


def test_the_shipped_detector_is_small_and_finds_the_bundled_sentence():
    model = load_pretrained("vad")
    speech, sr = soundfile.read(EXAMPLES.parent / "sounds" / "speech.wav", dtype="float32")
    assert sr == vad.SAMPLE_RATE
    assert model.probabilities(speech).mean() > 0.7
    noise = 0.05 * np.random.default_rng(0).standard_normal(sr * 5).astype(np.float32)
    assert model.probabilities(noise).mean() < 0.3


# The data of the detector -----------------------------------------------------------------------


@pytest.fixture
def voice_data(monkeypatch):
    """The examples' own module, as the scripts import it."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("voice_data")


def bursts(folder, name, sr=16000, segments="start,end\n1.00,3.00\n", seed=0):
    """A clean recording of 6 s of silence with a burst of noise from 1 to 3 s, and its labels."""
    folder.mkdir(parents=True, exist_ok=True)
    x = np.zeros(6 * sr)
    x[sr : 3 * sr] = 0.1 * np.random.default_rng(seed).standard_normal(2 * sr)
    soundfile.write(folder / f"{name}.flac", x, sr)
    (folder / f"{name}.csv").write_text(segments, encoding="utf-8")


def test_training_resumes_to_the_same_bytes(tmp_path):
    """One epoch, stopped by the clock, then resumed: the checkpoint of the uninterrupted run."""
    for split, name in (("train", "a"), ("train", "b"), ("validation", "c")):
        bursts(tmp_path / split, name, seed=ord(name))
    common = ("--sounds", tmp_path, "--epochs", 2, "--n-hidden", 4, "--batch-size", 1)
    whole, parts = tmp_path / "whole.npz", tmp_path / "parts.npz"
    assert run("train_vad.py", "--checkpoint", whole, *common).returncode == 0
    part = run("train_vad.py", "--checkpoint", parts, *common, "--max-seconds", 0.01)
    assert "have passed" in part.stdout, part.stderr
    assert parts.read_bytes() != whole.read_bytes()
    again = run("train_vad.py", "--checkpoint", parts, *common)
    assert again.returncode == 1 and "--resume goes on" in again.stderr
    assert run("train_vad.py", "--checkpoint", parts, *common, "--resume").returncode == 0
    assert parts.read_bytes() == whole.read_bytes()


def test_labels_and_sounds_that_do_not_fit_are_named(voice_data, tmp_path):
    folder = tmp_path / "train"
    cases = (
        ({"segments": "start,end\n1.0,9.5\n"}, r"a\.csv: the segment \(1.0, 9.5\) ends behind"),
        ({"segments": "start,end\n-1.0,2\n"}, r"a\.csv: a segment must have 0 <= start"),
        ({"segments": "start,end\nnan,2\n"}, r"a\.csv: a segment must have 0 <= start"),
        ({"segments": "from,to\n1,2\n"}, r"a\.csv: rows must be start,end in seconds"),
        ({"sr": 8000}, r"a\.flac: must be mono at 16000 Hz, is 8000 Hz"),
    )
    for options, message in cases:
        bursts(folder, "a", **options)
        with pytest.raises(AudioFileError, match=message):
            voice_data.load_split("train", tmp_path)
    (folder / "a.flac").unlink()
    with pytest.raises(AudioFileError, match=r"a\.csv: needs one recording of that name, found"):
        voice_data.load_split("train", tmp_path)
    with pytest.raises(AudioFileError, match="no labelled recordings here"):
        voice_data.load_split("test", tmp_path)
    bursts(folder, "a", segments="\ufeffstart,end\n1.00,3.00\n")  # as spreadsheets write it
    (recording,) = voice_data.load_split("train", tmp_path)
    assert recording.segments == [(1.0, 3.0)]
    assert recording.active.sum() == 2 * 16000 and recording.labels.sum() == 200


def test_an_example_keeps_sound_and_labels_together(voice_data, tmp_path):
    """Where the labels say speech, the varied recording is louder: no change moved one of them."""
    bursts(tmp_path / "train", "a")
    (recording,) = voice_data.load_split("train", tmp_path)
    correlations = []
    for seed in range(30):
        x, labels = voice_data.varied(recording, [recording.samples], np.random.default_rng(seed))
        assert len(labels) == 1 + len(x) // 160 and x.dtype == np.float32
        again, _ = voice_data.varied(recording, [recording.samples], np.random.default_rng(seed))
        np.testing.assert_array_equal(x, again)
        if 0 < labels.mean() < 1:
            level = vad.log_mel_features(x).mean(axis=1)
            correlations.append(np.corrcoef(level, labels)[0, 1])
    assert np.median(correlations) > 0.4, "labels and sound have come apart"


def test_noises_of_the_test_are_never_trained_on(voice_data):
    assert not set(voice_data.TEST_NOISES) & set(voice_data.TRAIN_NOISES)
    assert set(voice_data.VALIDATION_NOISES) <= set(voice_data.TRAIN_NOISES)
