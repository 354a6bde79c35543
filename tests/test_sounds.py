"""The committed sounds keep what sounds/README.md promises; needs no synthesiser."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

SOUNDS = Path(__file__).parents[1] / "sounds"
SPLITS = ("train", "validation", "test")
SR, FRAME = 16000, 160
FEWEST = {"train": 26, "validation": 4, "test": 6}  # speakers
DEEP_PAUSE_DB = -25  # no frame of a pause is louder, 50 ms and more away from speech
PAUSE_DB = -38  # mean over all frames of the pauses, relative to the mean over the speech


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


VOICES = read_csv(SOUNDS / "vad" / "voices.csv")
FILES = [row["file"] for row in VOICES]


def read_recording(name):
    """Return the waveform, the list of (start, end) in seconds, and the frames' labels."""
    x, sr = sf.read(SOUNDS / "vad" / name)
    assert (sr, x.shape) == (SR, (30 * SR,)), f"{name}: {sr} Hz, shape {x.shape}"
    path = (SOUNDS / "vad" / name).with_suffix(".csv")
    segments = [(float(row["start"]), float(row["end"])) for row in read_csv(path)]
    speech = np.zeros(len(x) // FRAME, bool)
    for start, end in segments:
        speech[round(100 * start) : round(100 * end)] = True
    return x, segments, speech


def frame_levels_db(x, speech):
    """Return each frame's power relative to the mean power of the speech frames, in dB."""
    power = (x.reshape(-1, FRAME) ** 2).mean(axis=1)  # (T,)
    return 10 * np.log10(power / power[speech].mean() + 1e-12)


def test_speech_is_one_clean_sentence():
    x, sr = sf.read(SOUNDS / "speech.wav")
    assert (sr, x.ndim) == (SR, 1)
    assert 5 <= len(x) / sr <= 6
    assert 0.5 <= np.abs(x).max() < 1
    levels = np.sort((x[: len(x) // FRAME * FRAME].reshape(-1, FRAME) ** 2).mean(axis=1))
    assert levels[0] <= 1e-6 * levels[-1], "the pauses of speech.wav are not silent"


def test_all_sounds_stay_small():
    size = sum(path.stat().st_size for path in SOUNDS.rglob("*") if path.is_file())
    assert size < 12e6, f"sounds/ holds {size / 1e6:.2f} MB"


def test_manifest_names_exactly_the_files_that_exist():
    assert len(set(FILES)) == len(FILES)
    for ending in (".ogg", ".csv"):
        there = {
            path.relative_to(SOUNDS / "vad").with_suffix(".ogg").as_posix()
            for split in SPLITS
            for path in (SOUNDS / "vad" / split).glob(f"*{ending}")
        }
        assert there == set(FILES), f"{ending}: {sorted(there ^ set(FILES))}"


def test_every_voice_states_speaker_and_licence():
    for row in VOICES:
        empty = [column for column, value in row.items() if not value]
        assert not empty, f"{row['file']}: no {', '.join(empty)}"
        assert row["file"].startswith(row["split"] + "/")


def test_there_are_enough_voices_on_each_side():
    for split in SPLITS:
        speakers = {row["speaker"] for row in VOICES if row["split"] == split}
        assert len(speakers) >= FEWEST[split], f"{split}: {len(speakers)} speakers"


def test_no_speaker_is_on_two_sides():
    sides = {}
    for row in VOICES:
        sides.setdefault(row["speaker"], set()).add(row["split"])
        # The same voice under another speaker's name would be a leak too.
        sides.setdefault((row["synthesiser"], row["voice"]), set()).add(row["split"])
    torn = {speaker: sorted(side) for speaker, side in sides.items() if len(side) > 1}
    assert not torn


def test_known_humans_are_one_speaker():
    """Flite's slt is Festival's slt, and flite's kal16 is Festival's kal."""
    for human, voices in {"slt": 2, "kal": 2}.items():
        rows = [row for row in VOICES if human in row["voice"]]
        assert {row["speaker"] for row in rows} == {human}
        assert len({row["voice"] for row in rows}) == voices


@pytest.mark.parametrize("name", FILES)
def test_recording_keeps_its_promises(name):
    x, segments, speech = read_recording(name)
    edges = np.array(segments).ravel()
    assert len(segments) >= 4
    assert edges[0] >= 0.2, "a recording begins in silence"
    assert edges[-1] <= 29.75, "a recording ends in silence"
    assert (np.diff(edges) > 0).all(), "segments overlap or are out of order"
    assert np.diff(edges)[0::2].min() >= 0.039, "a segment is shorter than 40 ms"
    assert np.diff(edges)[1::2].min() >= 0.149, "a gap is shorter than 0.15 s"
    assert 0.2 <= speech.mean() <= 0.85, f"speech share {speech.mean():.2f}"
    assert np.abs(x).max() < 1

    levels = frame_levels_db(x, speech)
    assert -35 <= 10 * np.log10((x.reshape(-1, FRAME)[speech] ** 2).mean()) <= -12
    # Not one frame of a pause is loud, beyond 50 ms from the speech; and nearly all are silent.
    deep = np.convolve(speech, np.ones(11), mode="same") == 0
    assert levels[deep].max() <= DEEP_PAUSE_DB, f"a pause reaches {levels[deep].max():.0f} dB"
    assert np.median(levels[~speech]) <= -60
    # The labels follow the sound: speech frames are loud, all other frames are not.
    assert np.median(levels[speech]) >= -20
    pause = (10 ** (levels[~speech] / 10)).mean()
    assert 10 * np.log10(pause) <= PAUSE_DB, f"pauses lie at {10 * np.log10(pause):.0f} dB"


def test_labels_are_exact_to_a_frame():
    """Moved by 50 ms, the labels fit the sound worse: at every file, in both directions."""
    for name in FILES:
        x, _, speech = read_recording(name)
        loud = frame_levels_db(x, speech) > -35
        wrong = [(np.roll(speech, shift) != loud).mean() for shift in (-5, 0, 5)]
        assert wrong[1] < min(wrong[0], wrong[2]), f"{name}: {wrong}"


def test_the_set_as_a_whole():
    shares, lengths, pauses = [], [], []
    for name in FILES:
        _, segments, speech = read_recording(name)
        shares.append(speech.mean())
        edges = np.array(segments).ravel()
        lengths += list(np.diff(edges)[0::2])
        pauses += list(np.diff(edges)[1::2])
    assert 0.45 <= np.mean(shares) <= 0.65
    assert min(lengths) < 0.5 < 3 < max(lengths), "short words and long sentences"
    assert min(pauses) < 0.3 < 5 < max(pauses), "nearly continuous talk and long silences"


def test_readme_lists_every_recording():
    readme = (SOUNDS / "README.md").read_text(encoding="utf-8")
    missing = [row["file"] for row in VOICES if Path(row["file"]).stem not in readme]
    assert not missing
