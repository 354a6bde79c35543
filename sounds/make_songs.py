"""Make short stereo songs with true stems: what separation learns from, and is tested on.

    songs/NAME/vocals.ogg, drums.ogg, bass.ogg, other.ogg      the stems, 44.1 kHz stereo
    songs/songs.csv                                            who sings and plays in which song
    songs/demo.mp3                                             the demo song, mixed, to listen to

A separator is told only the mix and asked for the voice. To teach it, and to judge it, each stem
must be known by itself; recordings of real songs seldom come that way, so these are made:

    scores.py: chords, patterns --MIDI--> fluidsynth --place, room--> drums, bass, other --+
               words, tunes --singing.py--> voices --double, echo, place, room--> vocals --+
                                                                                           |
        each stem at its level, all at one gain --Vorbis--> four files --decode, add--> the mix

The mix is the sum of the *decoded* stems. No mix is stored: coding is not additive, so a mix coded
by itself would differ from that sum. One gain for all four stems makes the sum peak at 0.9.

Only this script needs the synthesisers; README.md beside it lists the packages. Run

    python sounds/make_songs.py                 add --overwrite to replace files that exist

Legend: x mono waveform (N,), y stereo waveform (N, 2), both at 44.1 kHz; beats count from 0.
"""

import argparse
import csv
import re
import tempfile
import zlib
from pathlib import Path

import make_sounds
import mido
import numpy as np
import pyworld
import soundfile as sf
from scores import DRUMS, GROOVES, KITS, PROGRAMS, SONGS
from singing import (
    ALIGN_SR,
    ALIGN_VOICES,
    LEAD,
    SR,
    Line,
    align,
    flite_reading,
    pitch_number,
    read_tune,
    sing,
)

from scratchaudio import dsp, metrics

HERE = Path(__file__).parent
SEED = 11
STEMS = ("vocals", "drums", "bass", "other")
SOUNDFONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
COMPRESSION = {"demo": 0.85, "validation": 0.95, "train": 1.0}  # Vorbis, from 0 large to 1 small
MP3_COMPRESSION = 0.75
PEAK, PEAK_TOLERANCE = 0.9, 0.03  # of the mix; coding moves peaks a little
FADE = 0.35  # s at the end of a song
MANIFEST = ["name", "split", "bpm", "beats", "key", "singer", "sex", "instruments", "seconds"]
MANIFEST += ["licence"]

# Playing -----------------------------------------------------------------------------------------
TICKS = 480  # per beat
TIMING = 0.005  # s: no player is exact
LOUDNESS = 7  # and none strikes alike; MIDI velocity
STRUM = 0.011  # s between the strings of a plucked chord
CRASH = 49  # MIDI

# Chords: semitones above the root ----------------------------------------------------------------
QUALITIES = {
    "": (0, 4, 7), "m": (0, 3, 7), "7": (0, 4, 7, 10), "m7": (0, 3, 7, 10), "maj7": (0, 4, 7, 11),
}  # fmt: skip
SCALES = {"": (0, 2, 4, 5, 7, 9, 11), "m": (0, 2, 3, 5, 7, 8, 10)}

# Voices ------------------------------------------------------------------------------------------
TAKES = ((-0.6, 0.018), (0.6, 0.026))  # where the doubling takes stand, and how late they are
ECHOES = 3


# Notes: (beat, beats, pitch, velocity) each ------------------------------------------------------


def read_chord(name):
    """Return (pitch class of the root, semitones of the other tones) of a chord such as F#m."""
    root, quality = re.fullmatch(r"([A-G][#b]?)(.*)", name).groups()
    return pitch_number(f"{root}0") % 12, QUALITIES[quality]


def pitches(sign, chord, low):
    """List the pitches of one sign of a pattern: see `scores`."""
    root, tones = read_chord(chord)
    base = low + (root - low) % 12  # the first such pitch from low on
    if sign == "#":
        return sorted(low + (root + tone - low) % 12 for tone in tones)
    if sign == "p":
        return [base, base + 7, base + 12]
    tone = {"1": 0, "3": tones[1], "5": 7, "7": (*tones, 12)[3], "8": 12, "0": 12 + tones[1]}[sign]
    return [base + tone]


def beat_of(step, swing):
    """Return where a sixteenth lies within its bar; swing makes the offbeat eighths late."""
    whole, part = divmod(step, 4)
    return whole + np.interp(part / 4, [0, 0.5, 1], [0, swing, 1])


def bar_chord(song, bar, step):
    """Return the chord that sounds at one sixteenth of a bar."""
    chords = song.chords.split()[bar].split(",")
    return chords[step * len(chords) // (4 * song.beats)]


def pattern_notes(part, song):
    """List the notes of an instrument's patterns."""
    notes = []
    for bar, letter in enumerate(part.form):
        if letter == ".":
            continue
        pattern = part.patterns[letter]
        if len(pattern) != 4 * song.beats:
            raise SystemExit(f"{song.name}, {part.instrument}: pattern {letter} has a wrong length")
        for struck in re.finditer(r"[^.-]-*", pattern):
            start, end = (beat_of(step, song.swing) for step in struck.span())
            chord = bar_chord(song, bar, struck.start())
            for pitch in pitches(struck.group()[0], chord, part.low):
                beat = bar * song.beats + start
                notes.append((beat, 0.95 * (end - start), pitch, part.velocity))
    return notes


def hook_notes(part, song):
    """List the notes of an instrument's melodies."""
    notes = []
    for bar, tune in part.hooks:
        beat = bar * song.beats
        for ((pitch, beats),) in read_tune(tune):
            notes.append((beat, 0.93 * beats, pitch, part.velocity + 10))
            beat += beats
    return notes


def drum_notes(drums, song):
    """List the strokes of the drums."""
    notes = [(bar * song.beats, 2, CRASH, 95) for bar in drums.crashes]
    for bar, letter in enumerate(drums.form):
        for drum, pattern in GROOVES[drums.grooves[letter]].items() if letter != "." else ():
            for step, sign in enumerate(pattern[: 4 * song.beats]):
                if sign != ".":
                    beat = bar * song.beats + beat_of(step, song.swing)
                    notes.append((beat, 0.25, DRUMS[drum], 108 if sign == "X" else 76))
    return notes


def by_hand(notes, song, rng, strum=0.0):
    """Make notes uneven: a little early or late, louder or softer; a strum takes its time."""
    played, before, string = [], None, 0
    for beat, beats, pitch, velocity in notes:
        string = string + 1 if beat == before else 0
        before = beat
        late = TIMING * rng.standard_normal() + strum * string
        velocity = int(np.clip(velocity + rng.integers(-LOUDNESS, LOUDNESS + 1), 1, 127))
        played.append((max(0.0, beat + late * song.bpm / 60), beats, pitch, velocity))
    return played


# Playing: notes -> stereo waveform ----------------------------------------------------------------


def write_midi(path, notes, song, program, channel):
    """Write notes as a MIDI file of one track."""
    events = []
    for beat, beats, pitch, velocity in notes:
        events.append((round(beat * TICKS), 1, pitch, velocity))
        events.append((round((beat + beats) * TICKS), 0, pitch, 0))
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(song.bpm))])
    track.append(mido.Message("program_change", channel=channel, program=program))
    now = 0
    for tick, on, pitch, velocity in sorted(events):  # a note ends before the same one begins
        kind = "note_on" if on else "note_off"
        message = mido.Message(kind, channel=channel, note=pitch, velocity=velocity)
        track.append(message.copy(time=tick - now))
        now = tick
    mido.MidiFile(ticks_per_beat=TICKS, tracks=[track]).save(path)


def play(notes, song, program, channel=0):
    """Play notes with fluidsynth, without its reverb and chorus; return y (N, 2)."""
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = f"{folder}/part.mid", f"{folder}/part.wav"
        write_midi(midi, notes, song, program, channel)
        command = ["fluidsynth", "-ni", "-q", "-R", "0", "-C", "0", "-g", "0.5", "-r", str(SR)]
        y, _ = make_sounds.run_to_wav([*command, "-F", wav, SOUNDFONT, midi], wav)
    return fit(y, song)


def fit(y, song):
    """Cut or pad to the length of the song."""
    N = song_length(song)
    return np.pad(y[:N], [(0, max(0, N - len(y)))] + [(0, 0)] * (y.ndim - 1))


def song_length(song):
    """Return the number of samples of a song."""
    return round(len(song.chords.split()) * song.beats * 60 / song.bpm * SR)


def place(y, pan, width=0.0):
    """Put a sound between left and right at constant power; `width` keeps some of its stereo."""
    y = y if y.ndim == 2 else np.stack([y, y], axis=1)
    middle, side = y.mean(axis=1), width * (y[:, 0] - y[:, 1]) / 2
    angle = (pan + 1) * np.pi / 4
    return np.stack([(middle + side) * np.cos(angle), (middle - side) * np.sin(angle)], axis=1)


def in_room(x, room, rng):
    """Return what a room answers to x, (N, 2): other walls for either ear."""
    rt60, drr_db = room
    answers = [dsp.room_impulse_response(rt60, SR, rng, drr_db=drr_db) for _ in range(2)]
    for h in answers:
        h[0] = 0  # the direct sound is placed by itself
    return np.stack([dsp.reverberate(x, h) for h in answers], axis=1)


def active_rms(y):
    """Return the RMS of a sound over the time in which it sounds."""
    active = dsp.active_mask(y.mean(axis=1) if y.ndim == 2 else y, frame_length=2048)
    return np.sqrt((y[active] ** 2).mean())


def gain_of(db):
    """Return the factor of a level in dB."""
    return 10 ** (db / 20)


# Stems -------------------------------------------------------------------------------------------


def make_part(part, song, rng):
    """Play one instrument, and put it in its place."""
    strum = STRUM if "guitar" in part.instrument and "distortion" not in part.instrument else 0.0
    notes = sorted(pattern_notes(part, song) + hook_notes(part, song))
    y = play(by_hand(notes, song, rng, strum), song, PROGRAMS[part.instrument])
    y = place(y, part.pan, part.width)
    return y * gain_of(part.db) / active_rms(y)


def make_drums(song, rng):
    """Play the drums; they keep the synthesiser's stereo."""
    notes = by_hand(drum_notes(song.drums, song), song, rng)
    y = play(notes, song, KITS[song.drums.kit], channel=9)
    return place(y, 0.0, 1.0)


def make_other(song, rng):
    """Play all further instruments together, in one room."""
    y = sum(make_part(part, song, rng) for part in song.other)
    if song.band_room is None:
        return y
    return y + in_room(y.mean(axis=1), song.band_room, rng)


def transposed(line, shift, key):
    """Move a line along the scale of its key."""
    root, minor = re.fullmatch(r"([A-G][#b]?)(m?)", key).groups()
    tonic = pitch_number(f"{root}0") % 12
    scale = [12 * octave + tonic + tone for octave in range(-1, 11) for tone in SCALES[minor]]

    def move(note):
        plus, name, rest = re.fullmatch(r"(\+?)([A-G][#b]?-?\d)(.*)", note).groups()
        nearest = int(np.argmin(np.abs(np.array(scale) - pitch_number(name))))
        pitch = scale[nearest + shift]
        letters = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]
        return f"{plus}{letters[pitch % 12]}{pitch // 12 - 1}{rest}"

    tune = " ".join(move(note) for note in line.tune.split()) if shift else line.tune
    return Line(line.bar, line.words, tune, line.force)


def sing_track(voice, song, rng):
    """Sing all lines of a voice; return x and, for each line, its sound and its truth."""
    x, sung = np.zeros(song_length(song) + SR), []
    for line in voice.lines:
        line = transposed(line, voice.shift, song.key)
        sound, truth = sing(line, voice.singer, 60 / song.bpm, rng)
        start = round((line.bar * song.beats * 60 / song.bpm - LEAD) * SR)
        if start < 0:
            raise SystemExit(f"{song.name}: {line.words!r} begins too early to draw breath")
        if start + len(sound) > len(x):
            raise SystemExit(f"{song.name}: {line.words!r} ends after the song")
        x[start : start + len(sound)] += sound
        sung.append((sound, truth))
    return fit(x, song), sung


def delayed(x, seconds):
    """Return x later."""
    n = round(seconds * SR)
    return np.pad(x, (n, 0))[: len(x)]


def make_voice(voice, song, rng):
    """Sing one voice, double it, let it echo, and put it in its place and room."""
    x, sung = sing_track(voice, song, rng)
    y, sent = place(x, voice.pan), x
    if voice.double is not None:
        for pan, late in TAKES:
            take, _ = sing_track(voice, song, rng)
            y += place(delayed(take, late), pan) * gain_of(voice.double)
    if voice.echo is not None:
        beats, db = voice.echo
        for k in range(1, ECHOES + 1):
            echo = delayed(x, k * beats * 60 / song.bpm) * gain_of(k * db)
            y += place(echo, 0.7 * (-1) ** k)
            sent = sent + echo
    y += in_room(sent, song.voice_room, rng) * np.sqrt(0.5)
    return y * gain_of(voice.db) / active_rms(x), sung


def make_stems(song):
    """Make the four stems; return them, (N, 2) each at its level, and what was sung."""
    rng = np.random.default_rng([SEED, zlib.crc32(song.name.encode())])
    voices = [make_voice(voice, song, rng) for voice in song.voices]
    stems = {
        "vocals": sum(y for y, _ in voices),
        "drums": make_drums(song, rng),
        "bass": make_part(song.bass, song, rng),
        "other": make_other(song, rng),
    }
    fade = np.clip((song_length(song) - np.arange(song_length(song))) / (FADE * SR), 0, 1)
    for (stem, y), db in zip(stems.items(), song.levels, strict=True):
        y = y * fade[:, None]
        stems[stem] = y * gain_of(db) / np.sqrt((y**2).mean())
    return stems, [line for _, sung in voices for line in sung]


# Files -------------------------------------------------------------------------------------------


def write_stems(folder, stems, compression):
    """Write the stems at the gain that brings the sum of what is read back to the peak."""
    gain = 1.0
    for _ in range(10):
        for stem, y in stems.items():
            sf.write(folder / f"{stem}.ogg", gain * y, SR, format="OGG", subtype="VORBIS",
                     compression_level=compression)  # fmt: skip
        decoded = {stem: sf.read(folder / f"{stem}.ogg")[0] for stem in stems}
        peak = np.abs(sum(decoded.values())).max()
        if abs(peak - PEAK) < PEAK_TOLERANCE:
            return decoded
        gain *= PEAK / peak
    raise SystemExit(f"{folder}: no gain brings the peak to {PEAK}, coding moves it too much")


def cents_off(sung):
    """Measure every sung note by Harvest: the distance in cents in the middle of its vowel."""
    off = []
    for x, truth in sung:
        f0, t = pyworld.harvest(x, SR, f0_floor=55, f0_ceil=1000)
        for start, end, pitch in truth:
            middle = (t > start + 0.3 * (end - start)) & (t < start + 0.8 * (end - start))
            heard = f0[middle & (f0 > 0)]
            pitch_heard = 69 + 12 * np.log2(np.median(heard) / 440) if len(heard) else np.inf
            off.append(100 * (pitch_heard - pitch))
    return np.array(off)


def bounds_db(stems):
    """Return the SI-SDR of the vocals in the mix and behind the ideal ratio mask.

    A separator should lie between the two.
    """
    vocals, mix = stems["vocals"].T, sum(stems.values()).T  # (2, N)
    V, X = (dsp.stft(x, n_fft=2048, hop_length=512) for x in (vocals, mix))
    mask = dsp.ideal_ratio_mask(V, X - V, power=1)
    best = dsp.istft(mask * X, hop_length=512, length=mix.shape[1])
    return [metrics.si_sdr(vocals.ravel(), x.ravel()) for x in (mix, best)]


def make_song(song, folder):
    """Write one song."""
    stems, sung = make_stems(song)
    (folder / song.name).mkdir(parents=True, exist_ok=True)
    decoded = write_stems(folder / song.name, stems, COMPRESSION[song.split])
    if song.split == "demo":
        sf.write(folder / "demo.mp3", sum(decoded.values()), SR, format="MP3",
                 bitrate_mode="CONSTANT", compression_level=MP3_COMPRESSION)  # fmt: skip
    sizes = [(folder / song.name / f"{stem}.ogg").stat().st_size / 1e3 for stem in STEMS]
    off = np.abs(cents_off(sung))
    mix_db, mask_db = bounds_db(decoded)
    print(
        f"{song.name:10} {song_length(song) / SR:5.2f} s  "
        f"{' '.join(f'{stem} {size:.0f}' for stem, size in zip(STEMS, sizes, strict=True))} kB  "
        f"{len(off)} notes, {100 * (off < 50).mean():.0f} % within 50 cents  "
        f"vocals {mix_db:.1f} dB in the mix, {mask_db:.1f} dB behind the ideal ratio mask",
        flush=True,
    )


def write_manifest(path):
    """Write who sings and plays in which song."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(MANIFEST)
        for song in SONGS:
            singers = [voice.singer for voice in song.voices]
            parts = [part.instrument for part in (song.bass, *song.other)]
            licences = {make_sounds.LICENCES[singer.synthesiser]: 0 for singer in singers}
            writer.writerow([
                song.name, song.split, song.bpm, song.beats, song.key,
                "; ".join(singer.name for singer in singers),
                "; ".join(singer.sex for singer in singers),
                "; ".join(dict.fromkeys([f"{song.drums.kit} kit", *parts])),
                f"{song_length(song) / SR:.2f}",
                "; ".join([f"voices {', '.join(licences)}", "instruments MIT (FluidR3)"]),
            ])  # fmt: skip


def check_alignment():
    """Print how far the alignment is off for the flite voices, whose phone times are known."""
    for voice in ALIGN_VOICES:
        others = [other for other in ALIGN_VOICES if other != voice]
        errors = []
        for line in (line for song in SONGS for line in song.voices[0].lines):
            x, phones = flite_reading(line.words, voice)
            found = align(x, ALIGN_SR, line.words, others)
            errors += [a.end - b.end for a, b in zip(found, phones, strict=True)]
        off = 1000 * np.abs(errors)
        mean, most = off.mean(), np.percentile(off, 95)
        print(f"{voice}: phones end {mean:.0f} ms off on average, 95 % within {most:.0f} ms")


def main():
    """Make what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", metavar="NAME", help="make one song, such as morning")
    parser.add_argument("--out", type=Path, default=HERE / "songs")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--check", action="store_true", help="only try the alignment of phones")
    args = parser.parse_args()
    if args.check:
        return check_alignment()

    wanted = [song for song in SONGS if args.only in (None, song.name)]
    if not wanted:
        raise SystemExit(f"no song is called {args.only}; the first is {SONGS[0].name}")
    if not make_sounds.KOKORO_VOICES.is_dir():
        raise SystemExit(
            f"no folder {make_sounds.KOKORO_VOICES}: README.md says how to get Kokoro's voices"
        )
    targets = [args.out / song.name / f"{stem}.ogg" for song in wanted for stem in STEMS]
    existing = [path for path in targets if path.exists()]
    if existing and not args.overwrite:
        raise SystemExit(f"{len(existing)} files exist, such as {existing[0]}; add --overwrite")
    args.out.mkdir(parents=True, exist_ok=True)
    write_manifest(args.out / "songs.csv")
    for song in wanted:
        make_song(song, args.out)


if __name__ == "__main__":
    main()
