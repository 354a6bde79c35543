"""The songs as data: what is sung and played, by whom, and where it stands in the room.

Everything was written for this project. A song is read in bars; the notation is made so that a
rhythm can be seen.

    chords    one per bar, "Am F C,G": the comma splits a bar in two
    form      one letter per bar, "..aabba." says which pattern is played; a dot is a rest
    pattern   one sign per sixteenth:
                  .  silence            1 3 5 7  a tone of the chord
                  -  goes on            8 0      the root and the third, an octave higher
                  #  the whole chord        p  its root, fifth and octave
    groove    for each drum one sign per sixteenth: x struck, X struck hard
    tune      notes such as Eb4:.5, see `singing.Line`

Pans run from -1 left to 1 right, levels are in dB. The songs differ in everything that a network
could mistake for the rule: key, tempo, metre, form, singers, instruments, rooms, places, loudness.
Many have an instrument that leads when nobody sings, so that a melody alone is no sign of a voice.
The first is for demonstrations, the second for validation. Their singers are in no other song.
"""

from dataclasses import dataclass, field

from singing import Line, Singer

# General MIDI ------------------------------------------------------------------------------------
PROGRAMS = {
    "grand piano": 0, "bright piano": 1, "electric piano": 4, "chorus electric piano": 5,
    "glockenspiel": 9, "music box": 10, "marimba": 12, "drawbar organ": 16, "rock organ": 18,
    "accordion": 21, "nylon guitar": 24, "steel guitar": 25, "jazz guitar": 26, "clean guitar": 27,
    "overdriven guitar": 29, "distortion guitar": 30, "acoustic bass": 32, "finger bass": 33,
    "picked bass": 34, "fretless bass": 35, "slap bass": 36, "synth bass 1": 38, "synth bass 2": 39,
    "violin": 40, "cello": 42, "slow strings": 49, "synth strings": 50, "trumpet": 56,
    "french horn": 60, "brass section": 61, "tenor sax": 66, "clarinet": 71, "flute": 73,
    "square lead": 80, "saw lead": 81, "warm pad": 89, "polysynth": 90, "sweep pad": 95,
    "crystal": 98, "banjo": 105, "steel drums": 114,
}  # fmt: skip
KITS = {"standard": 0, "room": 8, "power": 16, "electronic": 24, "808": 25, "jazz": 32, "brush": 40}
DRUMS = {
    "kick": 36, "rim": 37, "snare": 38, "clap": 39, "hat": 42, "pedal": 44, "low tom": 45,
    "open": 46, "mid tom": 47, "crash": 49, "high tom": 50, "ride": 51, "tambourine": 54,
    "conga": 62, "low conga": 64, "shaker": 82,
}  # fmt: skip

GROOVES = {
    "rock": {
        "kick":  "X.......x.x.....",
        "snare": "....X.......X...",
        "hat":   "X.x.X.x.X.x.X...",
        "open":  "..............x.",
    },
    "driving": {
        "kick":  "X..x..x.X..x..x.",
        "snare": "....X.......X..x",
        "open":  "x...x...x...x...",
    },
    "half time": {
        "kick":  "X......x..x.....",
        "snare": "........X.......",
        "hat":   "x.x.x.x.x.x.x.x.",
        "ride":  "x.......x.......",
    },
    "dance": {
        "kick":  "X...X...X...X...",
        "clap":  "....X.......X...",
        "open":  "..x...x...x...x.",
        "shaker": "xxXxxxXxxxXxxxXx",
    },
    "synth pop": {
        "kick":  "X.....X...X.....",
        "snare": "....X.......X...",
        "hat":   "x.xxx.xxx.xxx.xx",
        "clap":  "............X...",
    },
    "trap": {
        "kick":  "X......x..X.....",
        "clap":  "........X.......",
        "hat":   "x.x.x.x.x.xxx.xx",
        "open":  "..............x.",
    },
    "shuffle": {
        "kick":  "X.......X.x.....",
        "snare": "....X.......X...",
        "ride":  "X...x.x.X...x.x.",
        "pedal": "....x.......x...",
    },
    "waltz": {
        "kick":  "X...........",
        "snare": "....x...x...",
        "hat":   "....x...x.x.",
    },
    "brushes": {
        "kick":  "X.........x.....",
        "snare": "x.xxX.x.x.xxX.x.",
        "hat":   "....x.......x...",
    },
    "latin": {
        "kick":  "X..x..x.X..x..x.",
        "rim":   "X..X..X...X.X...",
        "conga": "..x...xx..x...xx",
        "low conga": "....X.......X...",
        "shaker": "X.xxX.xxX.xxX.xx",
    },
    "claps": {
        "kick":  "X.....x.X.......",
        "clap":  "....X.......X.X.",
        "tambourine": "x.x.X.x.x.x.X.x.",
    },
    "fill": {
        "kick":  "X.......X.......",
        "snare": "....X...xxX.....",
        "high tom": "...........xX...",
        "mid tom": ".............xX.",
        "low tom": "...............X",
    },
    "cymbal": {"kick": "X...............", "crash": "X..............."},
    "last cymbal": {"kick": "X...............", "crash": "............X..."},
    "count": {"hat": "X...X...X...X..."},
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One instrument.

    `low` is the lowest pitch of its chords (MIDI); `width` 0 makes it mono, 1 keeps the
    synthesiser's own stereo. `hooks` are melodies: (bar, tune) each.
    """

    instrument: str
    form: str = ""
    patterns: dict = field(default_factory=dict)
    low: int = 55
    pan: float = 0.0
    db: float = 0.0
    width: float = 0.0
    velocity: int = 80
    hooks: tuple = ()


@dataclass(frozen=True)
class Drums:
    """A kit, and which groove is played in which bar."""

    kit: str
    form: str
    grooves: dict
    crashes: tuple = ()  # bars


@dataclass(frozen=True)
class Voice:
    """A singer's track. `shift` moves the tune along the scale: 2 sings a third higher.

    `double` adds two more takes at the sides, at this level; `echo` is (beats, level in dB).
    """

    singer: Singer
    lines: tuple
    shift: int = 0
    pan: float = 0.0
    db: float = 0.0
    double: float | None = None
    echo: tuple | None = None


@dataclass(frozen=True)
class Song:
    """A song. Rooms are (reverberation time in s, direct-to-reverberant ratio in dB).

    `levels` are the RMS of vocals, drums, bass and other, in dB.
    """

    name: str
    split: str
    bpm: float
    key: str
    chords: str
    voices: tuple
    drums: Drums
    bass: Part
    other: tuple
    beats: int = 4  # in a bar
    swing: float = 0.5  # where the offbeat eighth lies between two beats
    voice_room: tuple = (1.1, 22.0)
    band_room: tuple | None = (0.5, 18.0)
    levels: tuple = (-20, -23, -23, -23)


# fmt: off
# Demo --------------------------------------------------------------------------------------------
MORNING_TUNE = (
    Line(2, "morning light is on the hill", "C3:1 D3:.5 E3 G3:1 E3:.5 D3 C3:2.75"),
    Line(4, "and the river flowing still", "C3:1 D3:.5 F3 A3:1 G3:.5 F3 D3:2.75"),
    Line(6, "sing with me and take it slow", "E3:1 E3:.5 D3 C3:1 D3:.5 E3 G3:2.75"),
    Line(8, "watch the little numbers grow", "A3:1 G3:.5 F3 E3:1 F3:.5 D3 C3:2.75"),
)
MORNING = Song(
    "morning", "demo", 100, "C", "C G C Am F G C Am F G C",
    voices=(Voice(Singer("festival", "kal_diphone", "m", glide=0.06), MORNING_TUNE),),
    drums=Drums("standard", "rrrrrrrrrre", {"r": "rock", "e": "last cymbal"}, crashes=(2, 6)),
    bass=Part("finger bass", "ababababab.",
              {"a": "1-----1-5---1---", "b": "1-----1-5---8---"},
              low=29, hooks=((10, "C2:3.5"),)),
    other=(
        Part("grand piano", "aaaaaaaaaae",
             {"a": "#---..#-..#---#-", "e": "#-------------.."}, low=53, pan=-0.6),
        Part("steel guitar", "aaaaaaaaaae",
             {"a": "1-5-3-8-5-3-8-5-", "e": "#-------------.."}, low=53, pan=0.6),
    ),
    voice_room=(1.1, 25), band_room=None,
)

# Validation --------------------------------------------------------------------------------------
LANTERN_TUNE = (
    Line(1, "hold the lantern over me", "D4:.5 F#4 A4:1 A4:.5 B4 A4 F#4:1.5", 0.7),
    Line(2.5, "till the road is plain to see", "E4:.5 F#4 G4:1 G4:.5 A4 G4 E4:2"),
    Line(5, "all along we sang one song", "D5:.5 D5 C#5 A4:1 B4:.5 A4 F#4:1.5", 0.9),
    Line(6.5, "we were never gone for long", "B4:.5 A4 G4 F#4 E4:1 E4:.5 D4:2.5"),
)
LANTERN = Song(
    "lantern", "validation", 112, "D", "D A Bm G D A G A D",
    voices=(
        Voice(Singer("kokoro", "bf_emma", "f", vibrato=0.32, rate=5.8), LANTERN_TUNE),
        Voice(Singer("kokoro", "bm_george", "m", vibrato=0.2), LANTERN_TUNE[2:], -9, 0.35, -8),
    ),
    drums=Drums("room", "caabfaabe",
                {"c": "count", "a": "half time", "b": "rock", "f": "fill", "e": "cymbal"}, (1, 5)),
    bass=Part("fretless bass", ".aaaaaaae",
              {"a": "1---..1-5---3-5-", "e": "1---------------"}, low=31),
    other=(
        Part("nylon guitar", "aaaaaaaae",
             {"a": "1-5-8-5-3-5-8-5-", "e": "#---------------"}, low=50, pan=-0.45, db=1),
        Part("electric piano", "..bbbbbbb",
             {"b": "#-----#-..#-..#-"}, low=57, pan=0.5, width=0.4, db=-1),
        Part("slow strings", "....ssssl", {"s": "#---------------", "l": "#---------------"},
             low=62, width=1, db=-5),
        Part("clarinet", hooks=((4, "A5:1 F#5:.5 E5 D5:1 E5:.5 F#5"),), pan=0.1, db=-2),
    ),
    levels=(-20, -24, -23, -22),
)

# Training: folk rock -----------------------------------------------------------------------------
HARBOR_TUNE = (
    Line(1, "all the boats are coming in", "A4:.5 A4 C5 B4 A4 F4 A4:.75"),
    Line(2, "with the evening on the sail", "E4:.5 G4 C5 D5 E5 D5 C5:1.5"),
    Line(3.5, "and the harbor lights begin", "D5:.5 E5 D5 C5 B4 D5 C5:2", 0.95),
    Line(5, "tell the sailors where I wait", "B4:.5 B4 D5 C5 B4 G#4 A4:3.5"),
)
HARBOR = Song(
    "harbor", "train", 92, "Am", "Am F C G F E Am",
    voices=(Voice(Singer("kokoro", "af_heart", "f"), HARBOR_TUNE),),
    drums=Drums("standard", ".aaafae",
                {"a": "rock", "f": "fill", "e": "cymbal"}, crashes=(1, 5)),
    bass=Part("finger bass", ".aaaaae",
              {"a": "1--1--1-5-5-1-3-", "e": "1---------------"}, low=29),
    other=(
        Part("steel guitar", "aaaaaae",
             {"a": "#---#-##.-#-#-##", "e": "#---------------"}, low=50, pan=-0.7),
        Part("drawbar organ", ".aaaaaa", {"a": "#---------------"}, low=57, pan=0.3, db=-4),
        Part("cello", hooks=((0, "A3:2 C4:1 B3"), (3, "G3:1 B3"), (6, "E4:2 C4:1 A3")),
             pan=0.55, db=-1),
    ),
    voice_room=(0.9, 20),
)

# Training: rock ----------------------------------------------------------------------------------
ENGINE_TUNE = (
    Line(1, "start the engine turn the key", "E3:1 G3:.5 G3 A3 G3 A3 B3:2.5", 1),
    Line(3, "nothing here is holding me", "B3:.5 B3 D4:1 B3:.5 A3 G3 A3:2.5", 1),
    Line(5, "louder than the morning train", "E4:1 D4:.5 B3 D4 B3 A3 B3:3", 1),
    Line(7, "over and over", "D4:.5 D4 B3 A3 B3:1.5", 0.9),
    Line(8, "out across the open plain", "C4:.5 D4 E4:1.5 D4:.5 B3 A3 B3:4", 1),
)
ENGINE = Song(
    "engine", "train", 144, "Em", "Em Em C D Em C D G C D Em",
    voices=(
        Voice(Singer("kokoro", "am_fenrir", "m", vibrato=0.15, glide=0.06), ENGINE_TUNE, double=-7),
    ),
    drums=Drums("power", "ddddddfddfe",
                {"d": "driving", "f": "fill", "e": "cymbal"}, crashes=(0, 3, 7)),
    bass=Part("picked bass", "aaaaaaaaaae",
              {"a": "1-1-1-1-1-1-1-1-", "e": "1---------------"}, low=28),
    other=(
        Part("distortion guitar", "abaaaaaaaae",
             {"a": "p-p.p-p.p-p-p-p.", "b": "p---p---p---p---", "e": "p---------------"},
             low=40, pan=-0.85),
        Part("overdriven guitar", "abaaaaaaaae",
             {"a": "p-p.p-p.p-p-p-p.", "b": "p---p---p---p---", "e": "p---------------"},
             low=45, pan=0.85),
        Part("distortion guitar", pan=0.1, db=-3,
             hooks=((2, "B4:.5 D5 E5:1 D5:.5 B4 A4:1"), (10.25, "G5:.5 F#5 D5 B4 A4:.5 B4"))),
    ),
    voice_room=(0.6, 24), band_room=(0.3, 21), levels=(-19, -21, -23, -20),
)

# Training: synthesiser pop -----------------------------------------------------------------------
NEON_TUNE = (
    Line(1, "neon on the river", "C#5:.5 C#5 A4 B4 C#5:.75 E5:.75", 0.9),
    Line(2, "running into blue", "E5:.5 D5 C#5 B4 C#5:1.25", 0.9),
    Line(4, "all the city windows", "F#5:.75 E5 C#5:.5 B4 C#5 A4:.75", 1),
    Line(5.125, "shining back at you", "A4:.5 B4 C#5 D5 C#5:.5 +B4:.5 +A4:1.5", 1),
    Line(6.5, "only for a minute", "F#4:.5 A4 C#5 B4 A4 B4:1", 0.7),
    Line(7.5, "shining back at you", "C#5:.5 D5 E5 D5 C#5:2.25", 0.8),
)
NEON = Song(
    "neon", "train", 120, "F#m", "F#m D A E F#m D A E F#m",
    voices=(
        Voice(Singer("kokoro", "af_bella", "f", vibrato=0.25, rate=6.0),
              NEON_TUNE, echo=(0.75, -11), double=-9),
    ),
    drums=Drums("electronic", "sssssssse", {"s": "synth pop", "e": "cymbal"}, crashes=(4,)),
    bass=Part("synth bass 1", "aaaaaaaae",
              {"a": "1.8.1.8.1.8.1.8.", "e": "1-------........"}, low=30),
    other=(
        Part("sweep pad", "aaaaaaaaa", {"a": "#---------------"}, low=57, width=1, db=-1),
        Part("polysynth", "aaaaaaaa.", {"a": "1.5.8.5.3.5.8.0."}, low=66, pan=-0.5, db=-3),
        Part("saw lead", hooks=((0, "F#4:.75 A4 C#5:.5 B4:2"), (3, "E5:.5 B4 G#4 B4 E5:1"),
                                (8, "C#5:.75 E5 A5:.5 G#5:1")), pan=0.35, db=-3),
    ),
    voice_room=(1.6, 19), levels=(-20, -22, -22, -22),
)

# Training: a waltz -------------------------------------------------------------------------------
ORCHARD_TUNE = (
    Line(2, "apples in the orchard", "B4:2 A4:1 G4 A4 B4 D5:2.25", 0.7),
    Line(5, "are falling one by one", "D4:1 E4:2 G4:1 A4:1 G4:1 B4:2.5", 0.7),
    Line(9, "lay them in a row", "C5:1 B4 G4 E4 G4:1.5", 0.8),
    Line(11, "the summertime is done", "D4:1 D5:2 C5:1 A4:1 F#4:1 G4:3", 0.8),
)
ORCHARD = Song(
    "orchard", "train", 156, "G", "G C G D G C G,D G Em C G D C,D G G",
    voices=(
        Voice(Singer("flite", "slt", "f", vibrato=0.35), ORCHARD_TUNE),
        Voice(Singer("flite", "awb", "m", vibrato=0.2), ORCHARD_TUNE[2:], -9, -0.3, -6),
    ),
    drums=Drums("brush", "..wwwwwwwwwwwwe", {"w": "waltz", "e": "cymbal"}),
    bass=Part("acoustic bass", "aabaabaababaabe",
              {"a": "1---....5---", "b": "1---5---3---", "e": "1-----------"}, low=31),
    other=(
        Part("accordion", "aaaaaaaaaaaaaae",
             {"a": "....#-..#-..", "e": "#-----------"}, low=57, pan=-0.4),
        Part("banjo", "..aaaaaaaaaaaa.", {"a": "1-3-5-8-5-3-"}, low=55, pan=0.6, db=-2),
        Part("violin", hooks=((0, "D5:1.5 E5:.5 D5:1 B4 C5 E5"), (7, "G5:1 F#5 E5 D5:2 B4:1"),
                              (13, "A4:1 B4 C5 B4:3")), pan=0.2, db=-2),
    ),
    beats=3, voice_room=(0.7, 21), levels=(-20, -26, -22, -20),
)

# Training: blues, swung --------------------------------------------------------------------------
CELLAR_TUNE = (
    Line(1, "down in the cellar", "Db4:.5 +C4:.25 Bb3:.25 Bb3:.5 G3:.75 Bb3:1.5", 0.8),
    Line(2.125, "where the music stays", "F3:.5 Ab3 Bb3:.75 Ab3:.25 F3:1.5", 0.8),
    Line(4, "down in the cellar", "Eb4:.75 Db4:.25 Db4:.5 Bb3:.75 Db4:1.25", 0.95),
    Line(5, "for a thousand days", "C4:.5 C4 Eb4:1 C4:.5 Bb3:1 +Ab3:.5 +F3:1", 0.9),
    Line(6.5, "I will sing it low", "D4:.5 F4 D4 Bb3 G3:.5 +F3:1.5", 1),
)
CELLAR = Song(
    "cellar", "train", 104, "Bb", "Bb7 Eb7 Bb7 Bb7 Eb7 F7 Bb7 Bb7",
    voices=(
        Voice(Singer("kokoro", "am_michael", "m", formants=0.95, vibrato=0.4, rate=5.1),
              CELLAR_TUNE),
    ),
    drums=Drums("jazz", "ssssssse", {"s": "shuffle", "e": "cymbal"}),
    bass=Part("acoustic bass", "wwwwwwwe",
              {"w": "1---3---5---7---", "e": "1---------------"}, low=34),
    other=(
        Part("jazz guitar", "aaaaaaae",
             {"a": "....#-......#-..", "e": "#---------------"}, low=53, pan=-0.5),
        Part("rock organ", "..aaaaa.", {"a": "#-----......#---"}, low=58, pan=0.4, db=-4),
        Part("tenor sax", hooks=((0, "F4:.5 Ab4 Bb4:1.5 Ab4:.5 F4:1"),
                                 (3, "Bb4:.5 Db5 D5:1 Bb4:.5 Ab4 F4:1"),
                                 (7.25, "F4:.5 G4 Ab4 Bb4:1.5")), pan=0.15),
    ),
    swing=0.64, voice_room=(0.5, 22), levels=(-20, -25, -22, -22),
)

# Training: slow, electronic ----------------------------------------------------------------------
SATELLITE_TUNE = (
    Line(0.75, "slow satellite", "G4:.5 Eb4:.5 D4:.25 C4:1.75", 0.4),
    Line(1.75, "turn around tonight", "G4:.5 Bb4:.25 Ab4:.5 G4:.25 Eb4:1", 0.45),
    Line(3, "you are a little silver", "Eb4:.25 F4 G4 Bb4:.5 Ab4:.25 G4 F4:.5", 0.5),
    Line(3.6875, "silver in the night", "F4:.25 G4 F4 Eb4:.5 C4:1.75", 0.4),
    Line(4.75, "slow satellite good night", "G4:.5 Eb4:.5 D4:.25 C4:.5 Eb4 C4:1", 0.4),
)
SATELLITE = Song(
    "satellite", "train", 76, "Cm", "Cm Ab Eb Bb Cm Ab",
    voices=(
        Voice(Singer("kokoro", "af_sky", "f", breath=0.5, vibrato=0.2),
              SATELLITE_TUNE, double=-5, echo=(0.5, -14)),
    ),
    drums=Drums("808", ".ttttt", {"t": "trap"}),
    bass=Part("synth bass 2", ".aaaaa", {"a": "1------1--1-----"}, low=24),
    other=(
        Part("warm pad", "aaaaaa", {"a": "#---------------"}, low=55, width=1, db=-2),
        Part("music box", "aaaaaa", {"a": "5...8.0...8.5..."}, low=72, pan=-0.4, width=0.5),
        Part("crystal", ".a.a.a", {"a": "..5...3...8....."}, low=72, pan=0.6, db=-5),
    ),
    voice_room=(2.2, 18), levels=(-21, -24, -22, -24),
)

# Training: a child and a funk band ---------------------------------------------------------------
KITE_TUNE = (
    Line(1, "pull the string and let it go", "E5:.5 E5 G#5 F#5 E5 C#5 B4:.5", 0.9),
    Line(2, "up above the yellow corn", "G#4:.5 B4 C#5 E5 C#5 B4 C#5:2", 0.9),
    Line(4, "higher than the swallows know", "E5:.5 E5 F#5 G#5 A5 G#5 F#5:.5", 1),
    Line(5, "red as any sunny morn", "F#5:.5 E5 D#5 C#5 B4 C#5 B4:2", 0.9),
    Line(7, "higher than the swallows know", "B4:.5 B4 C#5 E5 F#5 E5 G#5:1.5", 0.8),
    Line(8.5, "let it go", "F#5:.5 E5 E5:2.5", 0.8),
)
KITE = Song(
    "kite", "train", 132, "E", "E B C#m A E B A E A B",
    voices=(
        Voice(Singer("kokoro", "af_sarah", "f", formants=1.16, vibrato=0.1, glide=0.06), KITE_TUNE),
    ),
    drums=Drums("room", "caaaaaaafe",
                {"c": "count", "a": "claps", "f": "fill", "e": "cymbal"}),
    bass=Part("slap bass", ".aaaaaaaae",
              {"a": "1..1.1..8.1.5.3.", "e": "1-------........"}, low=28),
    other=(
        Part("clean guitar", "aaaaaaaaae",
             {"a": "..#...#...#..#..", "e": "#---------------"}, low=56, pan=0.55),
        Part("marimba", ".aaaaaaaa.", {"a": "1.3.5.8.5.3.1.5."}, low=64, pan=-0.6),
        Part("glockenspiel", hooks=((0, "E6:.5 B5 G#5 B5 E6:1 F#6"), (3, "A5:.5 C#6 E6 C#6 A5:1"),
                                    (6.25, "E6:1 C#6:.5 A5 E6:.5")), pan=0.0, db=-4),
        Part("brass section", "....a.a.ae", {"a": "#-....#-........", "e": "#-------........"},
             low=58, pan=-0.15, width=0.6, db=-2),
    ),
    voice_room=(0.4, 21), band_room=(0.35, 17), levels=(-21, -23, -22, -22),
)

# Training: a ballad for a bass -------------------------------------------------------------------
GRANITE_TUNE = (
    Line(0.5, "deep below the mountain", "D3:.5 F3 A3 G3 F3:.75 D3:1", 0.6),
    Line(1.75, "where the water sings", "D3:.5 F3:.25 Bb3:.75 A3:.25 F3:1.25", 0.7),
    Line(2.875, "granite and a fountain", "C4:.75 A3:.25 G3:.5 A3:.25 Bb3:.75 A3:.75", 0.9),
    Line(4, "and the weight of things", "A2:.25 D3:.25 F3:.5 E3:.25 D3:1.25", 0.6),
)
GRANITE = Song(
    "granite", "train", 66, "Dm", "Dm Bb F C Dm",
    voices=(
        Voice(Singer("kokoro", "am_onyx", "m", formants=0.92, vibrato=0.45, rate=4.9, glide=0.13),
              GRANITE_TUNE),
    ),
    drums=Drums("room", ".hhhe", {"h": "half time", "e": "cymbal"}, crashes=(2,)),
    bass=Part("fretless bass", ".aaae",
              {"a": "1-------5---1---", "e": "1---------------"}, low=26),
    other=(
        Part("grand piano", "aaaae", {"a": "1-5-8-0-8-5-3-5-", "e": "#---------------"},
             low=50, width=0.8),
        Part("slow strings", ".aaaa", {"a": "#---------------"}, low=53, width=1, db=-1),
        Part("french horn", hooks=((0, "A3:1 D4"), (2, "F4:1.5 E4:.5 C4:1")), pan=-0.3, db=-3),
    ),
    voice_room=(2.2, 17), band_room=(2.0, 13), levels=(-21, -25, -22, -21),
)

# Training: latin ---------------------------------------------------------------------------------
CARNIVAL_TUNE = (
    Line(1, "everybody in the street", "E3:.5 A3 A3 C#4 B3 A3 C#4:.5", 0.9),
    Line(2, "dancing in a summer heat", "B3:.5 B3 D4 C#4 B3 G#3 B3:2", 0.9),
    Line(4, "everybody take a chance", "F#4:.5 E4 D4 C#4 D4 F#4 E4:.5", 1),
    Line(5, "never miss a chance to dance", "E4:.5 D4 C#4 B3 C#4 D4 C#4:1.5", 1),
    Line(6.5, "chance to dance", "A3:.5 C#4 B3:3.5", 0.9),
)
CARNIVAL = Song(
    "carnival", "train", 108, "A", "A D E A D E F#m E",
    voices=(
        Voice(Singer("flite", "rms", "m", vibrato=0.25, formants=1.04), CARNIVAL_TUNE),
        Voice(Singer("festival", "ked_diphone", "m"), CARNIVAL_TUNE[2:], -2, -0.45, -6),
    ),
    drums=Drums("standard", "aaaaaaae", {"a": "latin", "e": "cymbal"}, crashes=(1,)),
    bass=Part("slap bass", "aaaaaaae",
              {"a": "1..1--5-..1-3-5-", "e": "1---............"}, low=33),
    other=(
        Part("nylon guitar", "aaaaaaae",
             {"a": "#.##.##.#.##.#.#", "e": "#---............"}, low=57, pan=0.65),
        Part("brass section", "a..a..aa", {"a": "#-.#-.#---....#-"}, low=61, width=0.7),
        Part("steel drums", ".a.a.aa.", {"a": "1.3.5.3.8.5.3.5."}, low=64, pan=-0.5, db=-3),
        Part("trumpet", pan=-0.1, db=-2,
             hooks=((0, "E5:.5 C#5 A4 C#5 E5:1.5"), (3, "C#5:.5 E5 A5:1 G#5:.5 F#5 E5:1"),
                    (7.25, "F#5:.5 A5 G#5 F#5 E5:1"))),
    ),
    voice_room=(0.5, 23), levels=(-20, -22, -22, -21),
)

# Training: a quiet ballad ------------------------------------------------------------------------
WINDOW_TUNE = (
    Line(0.5, "rain upon my window", "A4:.75 C5:.25 A4:.5 G4 F4:.75 +E4:.25 C4:.75", 0.4),
    Line(1.625, "like a quiet drum", "D4:.5 F4:.25 A4:.5 C5:.25 A4:1.25", 0.45),
    Line(2.75, "stay another minute", "E4:.5 G4:.25 Bb4:.5 A4:.5 G4:.5 C5:.75", 0.7),
    Line(3.75, "till the taxis come", "D5:.25 C5 A4:.5 G4:.25 F4:1.75", 0.5),
)
WINDOW = Song(
    "window", "train", 72, "F", "Fmaj7 Dm7 Gm7 C7 Fmaj7",
    voices=(
        Voice(Singer("kokoro", "bf_isabella", "f", vibrato=0.4, rate=5.3, breath=0.25, glide=0.12),
              WINDOW_TUNE),
    ),
    drums=Drums("brush", ".bbbe", {"b": "brushes", "e": "cymbal"}),
    bass=Part("acoustic bass", "aaaae",
              {"a": "1-----5-8---5---", "e": "1---------------"}, low=29),
    other=(
        Part("chorus electric piano", "aaaae",
             {"a": "#-------#-----#-", "e": "#---------------"}, low=55, pan=-0.25, width=0.7),
        Part("nylon guitar", ".aaa.", {"a": "1-5-3-7-5-3-7-5-"}, low=52, pan=0.5, db=-2),
        Part("flute", hooks=((0, "C5:.5 E5:1 D5:.25 C5"), (2.375, "D5:.5 F5 G5:.5"),
                             (4.375, "A5:.5 G5 F5:1.5")), pan=0.0, db=-4),
    ),
    voice_room=(1.4, 18), band_room=(0.9, 16), levels=(-20, -26, -22, -20),
)

# Training: house ---------------------------------------------------------------------------------
TUNNEL_TUNE = (
    Line(1, "there is a light ahead of us", "Bb4:.5 Bb4 Db5:.75 Bb4:.5 Ab4 Bb4 Bb4 F4:.5", 0.9),
    Line(2.25, "moving in the dark", "F4:.5 Ab4 Bb4 Db5 C5:2", 0.9),
    Line(4, "follow me", "F4:.75 Ab4 Bb4:1.75", 0.7),
    Line(5, "there is a light ahead of us", "Db5:.5 Db5 F5:.75 Db5:.5 C5 Db5 Db5 Bb4:.5", 1),
    Line(6.25, "only just a spark", "Bb4:.5 C5 Db5 Eb5 Db5:.5 +C5:.5 +Ab4:2.5", 1),
)
TUNNEL = Song(
    "tunnel", "train", 126, "Bbm", "Bbm Gb Db Ab Bbm Gb Db Ab Bbm",
    voices=(
        Voice(Singer("kokoro", "af_kore", "f", vibrato=0.2), TUNNEL_TUNE, echo=(1.0, -13)),
        Voice(Singer("kokoro", "am_puck", "m", vibrato=0.2), TUNNEL_TUNE[3:], -7, 0.3, -4),
    ),
    drums=Drums("electronic", "dddddddde", {"d": "dance", "e": "cymbal"}, crashes=(4,)),
    bass=Part("synth bass 2", "aaaaaaaae",
              {"a": "..1-..1-..1-..8-", "e": "1-------........"}, low=30),
    other=(
        Part("bright piano", "aaaaaaaae",
             {"a": "#-.#-.#-.#-.#-#-", "e": "#---------------"}, low=60, width=0.8),
        Part("synth strings", "....aaaaa", {"a": "#---------------"}, low=65, width=1, db=-4),
        Part("square lead", hooks=((0, "Bb4:.75 Db5 F5:.5 Eb5:2"), (3, "Eb5:.5 C5 Ab4 C5 Eb5:1.5"),
                                   (8, "Ab4:.5 C5 Eb5 F5 Eb5:1.5")), pan=-0.35, db=-4),
    ),
    voice_room=(1.2, 20), band_room=(0.6, 20), levels=(-21, -21, -23, -23),
)

SONGS = [
    MORNING, LANTERN, HARBOR, ENGINE, NEON, ORCHARD, CELLAR,
    SATELLITE, KITE, GRANITE, CARNIVAL, WINDOW, TUNNEL,
]
# fmt: on
