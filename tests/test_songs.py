"""The committed songs keep what sounds/README.md promises; needs no synthesiser."""

import csv
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

SONGS = Path(__file__).parents[1] / "sounds" / "songs"
STEMS = ("vocals", "drums", "bass", "other")
SR, FRAME = 44100, 2205  # frames of 50 ms
SILENT_DB = -30  # a frame of the voice is silent this far under its loud frames
SUNG = (0.5, 0.85)  # share of frames
FEWEST = {"demo": 1, "validation": 1, "train": 8}  # songs
FEWEST_SINGERS = 8
DIPHONES = {"kal", "ked"}  # Festival's; all other singers are made with WORLD


def read_manifest():
    with (SONGS / "songs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


MANIFEST = read_manifest()
NAMES = [song["name"] for song in MANIFEST]
by_song = pytest.mark.parametrize("song", MANIFEST, ids=NAMES)


@cache
def read_stem(name, stem):
    path = SONGS / name / f"{stem}.ogg"
    x, sr = sf.read(path, dtype="float32", always_2d=True)
    assert sr == SR, f"{path} has {sr} Hz"
    assert x.shape[1] == 2, f"{path} is not stereo"
    return x


def read_stems(name):
    return {stem: read_stem(name, stem) for stem in STEMS}


def level_db(x):
    return 10 * np.log10(np.square(x, dtype=np.float64).mean() + 1e-12)


def sung_frames(vocals):
    """Which frames of 50 ms hold singing."""
    frames = vocals[: len(vocals) // FRAME * FRAME].reshape(-1, FRAME * 2)
    power = np.square(frames, dtype=np.float64).mean(axis=1)  # (T,)
    return 10 * np.log10(power + 1e-12) > 10 * np.log10(np.percentile(power, 95)) + SILENT_DB


def longest_run(mask):
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return int((edges[1::2] - edges[0::2]).max(initial=0))


def names_in(cell):
    return set(cell.split("; "))


def humans(song):
    """Who sings: another stretch of the formants, af_sky_x115, is the same singer."""
    return {name.split("_x")[0] for name in names_in(song["singer"])}


def test_manifest_names_exactly_the_files_that_exist():
    assert len(set(NAMES)) == len(NAMES), f"a song is listed twice in {SONGS / 'songs.csv'}"
    there = {path.relative_to(SONGS).as_posix() for path in SONGS.rglob("*") if path.is_file()}
    told = {f"{name}/{stem}.ogg" for name in NAMES for stem in STEMS}
    told |= {"songs.csv", "demo.mp3"}
    assert there == told, f"in {SONGS}: {sorted(there ^ told)}"


@by_song
def test_manifest_tells_everything(song):
    empty = [column for column, value in song.items() if not value]
    assert not empty, f"{song['name']}: no {', '.join(empty)} in songs.csv"
    singers, sexes = song["singer"].split("; "), song["sex"].split("; ")
    assert len(singers) == len(sexes) and set(sexes) <= {"f", "m"}, song["name"]


def test_there_are_enough_songs_of_each_split():
    for split, fewest in FEWEST.items():
        names = [song["name"] for song in MANIFEST if song["split"] == split]
        assert len(names) >= fewest, f"{split}: only {names}"
    assert {song["split"] for song in MANIFEST} == set(FEWEST)


@by_song
def test_stems_fit_together(song):
    stems = read_stems(song["name"])
    lengths = {stem: len(x) for stem, x in stems.items()}
    assert len(set(lengths.values())) == 1, f"{song['name']}: {lengths}"
    seconds = lengths["vocals"] / SR
    assert 15 <= seconds <= 30, f"{song['name']} lasts {seconds:.1f} s"
    assert abs(seconds - float(song["seconds"])) < 0.01, f"{song['name']}: songs.csv is wrong"
    # Whole bars: what is read as one must be what was played.
    bars = seconds * float(song["bpm"]) / 60 / int(song["beats"])
    assert abs(bars - round(bars)) < 0.01, f"{song['name']} has {bars:.2f} bars"


@by_song
def test_the_sum_does_not_clip(song):
    stems = read_stems(song["name"])
    peak = float(np.abs(sum(stems.values())).max())
    assert 0.8 < peak < 0.96, f"the mix of {song['name']} peaks at {peak:.3f}"
    for stem, x in stems.items():
        assert np.abs(x).max() < 1, f"{song['name']}/{stem}.ogg clips"


@by_song
def test_every_stem_can_be_heard(song):
    levels = {stem: level_db(x) for stem, x in read_stems(song["name"]).items()}
    loudest = max(levels.values())
    for stem, level in levels.items():
        assert level > loudest - 15, f"{song['name']}/{stem}.ogg lies at {level:.0f} dB"
        assert np.isfinite(read_stem(song["name"], stem)).all()


@by_song
def test_stems_are_different_sounds(song):
    stems = read_stems(song["name"])
    for one, other in combinations(STEMS, 2):
        x, y = stems[one].ravel(), stems[other].ravel()
        alike = abs(float(x @ y)) / np.sqrt(float(x @ x) * float(y @ y))
        assert alike < 0.2, f"{song['name']}: {one} and {other} correlate by {alike:.2f}"


@by_song
def test_the_voice_pauses(song):
    sung = sung_frames(read_stem(song["name"], "vocals"))
    low, high = SUNG
    assert low <= sung.mean() <= high, f"{song['name']}: sung {100 * sung.mean():.0f} % of the time"
    pause = longest_run(~sung) * FRAME / SR
    assert pause >= 1, f"{song['name']}: the longest pause of the voice lasts {pause:.2f} s"


@by_song
def test_the_band_plays_on_when_nobody_sings(song):
    stems = read_stems(song["name"])
    silent = np.repeat(~sung_frames(stems["vocals"]), FRAME)
    band = (stems["drums"] + stems["bass"] + stems["other"])[: len(silent)]
    difference = level_db(band[silent]) - level_db(band[~silent])
    assert difference > -12, f"{song['name']}: {difference:.0f} dB while nobody sings"


@by_song
def test_the_lead_voice_stands_in_the_middle(song):
    vocals = read_stem(song["name"], "vocals")
    middle, side = vocals.sum(axis=1), vocals[:, 0] - vocals[:, 1]
    assert level_db(middle) - level_db(side) > 6, f"{song['name']}: the voice is wide"


def test_singers_of_demo_and_validation_sing_nowhere_else():
    for song in MANIFEST:
        if song["split"] == "train":
            continue
        for other in MANIFEST:
            shared = humans(song) & humans(other)
            assert other is song or not shared, f"{song['name']} and {other['name']}: {shared}"


def test_singers_are_many_and_different():
    sexes = {}
    for song in MANIFEST:
        sexes.update(zip(song["singer"].split("; "), song["sex"].split("; "), strict=True))
    singers = set().union(*(humans(song) for song in MANIFEST))
    assert len(singers) >= FEWEST_SINGERS, sorted(singers)
    assert len(singers - DIPHONES) >= 3, sorted(singers)
    counts = [list(sexes.values()).count(sex) for sex in "fm"]
    assert min(counts) >= 4, f"{counts[0]} female and {counts[1]} male singers"


def test_songs_differ():
    for column in ("bpm", "singer", "instruments"):
        values = [song[column] for song in MANIFEST]
        twice = {value for value in values if values.count(value) > 1}
        assert not twice, f"{column} of two songs: {twice}"
    keys = {song["key"] for song in MANIFEST}
    assert len(keys) >= len(MANIFEST) - 2, f"only {len(keys)} keys: {sorted(keys)}"
    for one, other in combinations(MANIFEST, 2):
        a, b = names_in(one["instruments"]), names_in(other["instruments"])
        assert len(a & b) <= len(a | b) / 2, f"{one['name']} and {other['name']}: {sorted(a & b)}"


def test_the_demo_is_the_song_of_the_reference_figures():
    """The vocals lie 1.9 dB under the rest: then their SI-SDR in the mix is -1.9 dB, too."""
    (demo,) = [song for song in MANIFEST if song["split"] == "demo"]
    stems = read_stems(demo["name"])
    rest = stems["drums"] + stems["bass"] + stems["other"]
    ratio = level_db(stems["vocals"]) - level_db(rest)
    assert abs(ratio + 1.9) < 0.4, f"{demo['name']}: vocals at {ratio:.1f} dB"
    assert (demo["bpm"], demo["key"], demo["singer"]) == ("100", "C", "kal")


def test_demo_mp3_is_the_mix_of_the_demo():
    (demo,) = [song for song in MANIFEST if song["split"] == "demo"]
    mix = sum(read_stems(demo["name"]).values())
    x, sr = sf.read(SONGS / "demo.mp3", dtype="float32")
    assert (sr, x.shape[1]) == (SR, 2)
    assert abs(len(x) - len(mix)) < 0.1 * SR, "demo.mp3 has another length"
    a, b = mix[SR : 9 * SR].mean(axis=1), x[SR : 9 * SR].mean(axis=1)
    spectrum = np.fft.rfft(a) * np.conj(np.fft.rfft(b))  # MP3 may shift the sound
    alike = np.fft.irfft(spectrum).max() / np.sqrt(float(a @ a) * float(b @ b))
    assert alike > 0.95, f"demo.mp3 correlates with the sum of the stems by {alike:.2f}"


def test_songs_stay_small():
    size = sum(path.stat().st_size for path in SONGS.rglob("*") if path.is_file())
    assert size < 7e6, f"{SONGS} holds {size / 1e6:.2f} MB"


@by_song
def test_readme_tells_of_every_song(song):
    """Its row in README.md: song, split, singers, key and tempo, what, voice, mix, IRM, sung."""
    readme = (SONGS.parent / "README.md").read_text(encoding="utf-8")
    rows = [line for line in readme.splitlines() if line.startswith(f"| {song['name']} |")]
    assert len(rows) == 1, f"README.md has {len(rows)} rows of {song['name']}"
    _, split, singers, played, _, voice, _, _, sung = rows[0].strip("| ").split(" | ")
    assert split == song["split"]
    assert set(singers.split(", ")) == names_in(song["singer"])
    assert played.split(", ")[:2] == [song["key"], song["bpm"]]
    stems = read_stems(song["name"])
    ratio = level_db(stems["vocals"]) - level_db(stems["drums"] + stems["bass"] + stems["other"])
    assert abs(ratio - float(voice)) < 0.15, f"{song['name']}: the voice lies at {ratio:.1f} dB"
    share = 100 * sung_frames(stems["vocals"]).mean()
    assert abs(share - float(sung.rstrip(" %"))) < 1.5, f"{song['name']}: {share:.0f} % is sung"
