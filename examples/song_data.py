"""The songs and their true stems. Shared by the examples that learn to separate, and that do it.

No mix is stored: it is the sum of the stems, sample by sample. Of the 13 songs, 11 are there to
learn from; "lantern" is for choosing settings, and "morning" is the song of the demo. Nobody who
sings in these two sings in another.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from scratchaudio.errors import AudioFileError, ConfigError
from scratchaudio.io import load

SONGS = Path(__file__).resolve().parent.parent / "sounds" / "songs"
STEMS = ("vocals", "drums", "bass", "other")
SPLITS = ("train", "validation", "demo")


@dataclass(frozen=True)
class Song:
    """A song with its truth: stems {name: (2, N)} at sampling rate sr."""

    name: str
    stems: dict
    sr: int

    @property
    def mix(self):
        """(2, N) the song as one hears it."""
        return sum(self.stems.values())

    @property
    def vocals(self):
        """(2, N)."""
        return self.stems["vocals"]

    @property
    def accompaniment(self):
        """(2, N) all that is not sung."""
        return self.mix - self.vocals


def load_song(name, songs=SONGS):
    """Read the four stems of a song."""
    read = {stem: load(songs / name / f"{stem}.ogg") for stem in STEMS}
    stems = {stem: x for stem, (x, _) in read.items()}
    shapes, rates = {x.shape for x in stems.values()}, {sr for _, sr in read.values()}
    if len(shapes) > 1 or len(rates) > 1:
        raise AudioFileError(
            f"the stems in {songs / name} must have one length and rate, got {shapes} and {rates}"
        )
    return Song(name, stems, rates.pop())


def load_split(split, songs=SONGS):
    """Read the songs of "train", "validation" or "demo", one after the other."""
    if split not in SPLITS:
        raise ConfigError(f"split must be one of {SPLITS}, got {split!r}")
    if not (songs / "songs.csv").is_file():
        raise AudioFileError(f"no songs.csv in {songs}, the list of its songs")
    with (songs / "songs.csv").open(newline="", encoding="utf-8") as file:
        names = [song["name"] for song in csv.DictReader(file) if song["split"] == split]
    for name in names:
        yield load_song(name, songs)


def true_song(path, songs=SONGS):
    """The song whose mix this file is, `songs/demo.mp3`; None for any other."""
    return load_song("morning", songs) if Path(path).resolve() == songs / "demo.mp3" else None
