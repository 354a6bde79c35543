"""Make talkers sing: words and a tune go in, a sung line comes out.

Talk and song are the same sound but for two things: how long each phone lasts, and how high it is.
So a synthesiser says the words, and both are replaced.

    words --synthesiser--> talk --align--> when each phone is said --+
                             |                                       +--> time map --+
    tune --place the vowels on the notes--> when each phone is sung -+               |
      |                      |                                                       v
      |                      +---- WORLD --> envelope and breath ------- read along the map
      |                                      every 5 ms                              v
      +--glide, vibrato--> F0 ---------------------------------------- WORLD back --> song

WORLD takes a voice apart into what the vocal folds do (F0, and the share of breath in each band)
and what the mouth does (the spectral envelope), and puts it together again. Each part can be
changed without the others: that is why the tune may be anything, why the envelope can be stretched
along frequency (a smaller or larger head), and why breath can be added.

A vowel begins on its beat and carries the length of the note. The consonants between two vowels
keep their natural length and come before the second beat. A diphthong is held on its first sound.

Only flite tells when it says which phone. The other talkers are compared with it: three flite
voices say the same words, and dynamic time warping finds which moment of theirs sounds most like
which moment of the talk. Where the truth is known, it errs by 18 ms (`make_songs.py --check`).

Festival's diphone voices need none of this. They sing by themselves when told each phone, its
length and its pitch.

Legend: x waveform (N,) at 44.1 kHz, T frames of 5 ms, F bins; times in seconds, pitch in semitones
as MIDI counts them (A4 = 69 = 440 Hz).
"""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import make_sounds
import numpy as np
import pyworld
import soundfile as sf
from scipy.interpolate import interp1d
from scipy.ndimage import gaussian_filter1d

from scratchaudio import dsp

SR = 44100  # Hz
FRAME = 0.005  # s, one frame of WORLD
AFTER = 0.1  # s after a line
LEAD = 0.5  # s of silence before the first vowel of a line; consonants and a breath lie in it

GLIDING = {"aw", "ay", "ey", "ow", "oy"}  # diphthongs
VOWELS = {"aa", "ae", "ah", "ao", "ax", "eh", "er", "ih", "iy", "uh", "uw"} | GLIDING
SONORANTS = {"m", "n", "ng", "l", "r", "w", "y"}  # consonants that are sung as well

# Placing phones on notes -------------------------------------------------------------------------
CONSONANT = (0.045, 0.13)  # s: none is shorter or longer, unless the note is short
CONSONANT_SHARE = 0.45  # of a note, at most
LINE_END = 0.03  # s between the end of a line's last note and the silence
BANDWIDTH = {"flite": 8000, "kokoro": 12000}  # Hz
TALK_TEMPO = {"flite": 0.87, "kokoro": 0.85}  # slow talk has clear vowels
ALIGN_SR = 16000
ALIGN_HOP = 160  # 10 ms
ALIGN_VOICES = ("slt", "rms", "awb")

# The sung pitch ----------------------------------------------------------------------------------
VIBRATO_DELAY, VIBRATO_RISE = 0.22, 0.25  # s: a note begins straight
VIBRATO_FROM = 0.42  # s: shorter notes have none
DRIFT = 0.08  # semitones: no singer holds a note exactly
SCOOP = 0.8  # semitones below the first note, where a line begins

# The sung sound ----------------------------------------------------------------------------------
AIR_SLOPE = 2.0  # above the talk's bandwidth the envelope falls as frequency^-2 (in amplitude)
SOFT_DB, SOFT_TILT = 12.0, 5.0  # dB, and dB per octave above 500 Hz, between force 0 and 1
SHIMMER_DB = 0.6
VOWEL_DB, EVEN_OUT_DB = 0.0, 14.0  # the level of all vowels; they are moved by at most so much
LIMIT = 4.5  # times the level of a line: no sample is larger
HEADROOM_DB = 2.0  # what is louder than the vowels by more than this is compressed
BREATH_SECONDS, BREATH_DB = 0.22, -30.0  # a breath is taken before each line


@dataclass(frozen=True)
class Singer:
    """A talker, and how it sings.

    `formants` stretches the envelope: above 1 a child, below 1 a giant. `breath` adds noise to the
    voice, 0 to 1. Vibrato is in semitones and Hz; `glide` is the time from note to note.
    """

    synthesiser: str
    voice: str
    sex: str
    formants: float = 1.0
    breath: float = 0.0
    vibrato: float = 0.3
    rate: float = 5.5
    glide: float = 0.09

    @property
    def name(self):
        """The voice, and the stretch where there is one."""
        stretch = "" if self.formants == 1 else f"_x{round(100 * self.formants)}"
        return self.voice.removesuffix("_diphone") + stretch


@dataclass(frozen=True)
class Line:
    """What is sung in one breath: where it begins, the words, one note a syllable.

    A note is pitch:beats, such as Eb4:.5; without beats it is as long as the one before. With a
    plus, +D4:.5, it goes on with the syllable of the note before. `force` is 0 soft to 1 loud.
    """

    bar: float
    words: str
    tune: str
    force: float = 0.8


@dataclass(frozen=True)
class Phone:
    """A phone and its time."""

    name: str
    start: float
    end: float


# The tune -----------------------------------------------------------------------------------------


def pitch_number(name):
    """Return the MIDI number of a pitch such as F#3 or Bb4."""
    letter, sign, octave = re.fullmatch(r"([A-G])([#b]?)(-?\d)", name).groups()
    return 12 * (int(octave) + 1) + "C D EF G A B".index(letter) + "b #".index(sign or " ") - 1


def read_tune(tune):
    """List the syllables of a tune; each is a list of (pitch, beats)."""
    syllables, beats = [], 1.0
    for token in tune.split():
        name, _, length = token.lstrip("+").partition(":")
        beats = float(length or beats)
        if not token.startswith("+"):
            syllables.append([])
        syllables[-1].append((pitch_number(name), beats))
    return syllables


# Talk, and the times of its phones ---------------------------------------------------------------


@cache
def flite_reading(words, voice):
    """Let flite say the words; return (x, phones) at 16 kHz, without the silence around them."""
    with tempfile.TemporaryDirectory() as folder:
        wav = f"{folder}/talk.wav"
        stretch = f"duration_stretch={1 / TALK_TEMPO['flite']:g}"
        command = ["flite", "-voice", voice, "--setf", stretch, "-psdur", "-t", words, "-o", wav]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        x, _ = sf.read(wav)
    ends = [(name, float(end)) for name, end in (phone.split(":") for phone in told.split())]
    starts = [0.0, *(end for _, end in ends)]
    phones = [Phone(n, s, e) for (n, e), s in zip(ends, starts, strict=False) if n != "pau"]
    first, last = phones[0].start, phones[-1].end
    if any(name == "pau" for name, end in ends if first < end < last):
        raise SystemExit(f"flite pauses within the line {words!r}: leave out the punctuation")
    phones = [Phone(p.name, p.start - first, p.end - first) for p in phones]
    return x[round(first * ALIGN_SR) : round(last * ALIGN_SR)], phones


def trim(x, sr):
    """Cut off the silence around an utterance, 32 dB under its loud frames."""
    frames = x[: len(x) // 100 * 100].reshape(-1, 100)
    level = np.sqrt((frames * frames).mean(axis=1))
    loud = np.flatnonzero(level > 0.025 * np.percentile(level, 95))
    return x[loud[0] * 100 : (loud[-1] + 1) * 100]


def timbre(x):
    """What is compared when talk is aligned: normalised cepstra and their slopes, (T, 28)."""
    C = dsp.mfcc(y=x, sr=ALIGN_SR, n_mfcc=14, n_fft=512, hop_length=ALIGN_HOP, n_mels=30, fmin=80)
    C = (C - C.mean(axis=1, keepdims=True)) / C.std(axis=1, keepdims=True)
    C[0] *= 2  # loudness tells most
    return np.concatenate([C, 2 * np.gradient(C, axis=1)]).T


def warping_path(A, B):
    """Dynamic time warping: the cheapest way to walk through A (T, D) and B (U, D) together.

        S[i, j] = |A[i] - B[j]| + min(S[i-1, j-1], S[i-1, j], S[i, j-1])

    Returns the steps of the path, (i, j) each.
    """
    cost = np.sqrt(((A[:, None] - B[None]) ** 2).sum(axis=2))  # (T, U)
    S = np.full((len(A) + 1, len(B) + 1), np.inf)
    S[0, 0] = 0
    for i in range(len(A)):
        for j in range(len(B)):
            S[i + 1, j + 1] = cost[i, j] + min(S[i, j], S[i, j + 1], S[i + 1, j])
    i, j = len(A), len(B)
    path = [(i - 1, j - 1)]
    while (i, j) != (1, 1):
        i, j = min((i - 1, j - 1), (i - 1, j), (i, j - 1), key=lambda step: S[step])
        path.append((i - 1, j - 1))
    return np.array(path[::-1])


def align(x, sr, words, voices=ALIGN_VOICES):
    """Return the phones of a talk: the median of what several flite voices say about it."""
    target = timbre(dsp.resample(x, sr, ALIGN_SR))
    guesses = []
    for voice in voices:
        reading, phones = flite_reading(words, voice)
        i, j = warping_path(timbre(reading), target).T
        edges = np.array([0.0, *(phone.end for phone in phones)]) * ALIGN_SR / ALIGN_HOP
        guesses.append(np.interp(edges, i, j) * ALIGN_HOP / ALIGN_SR)  # mean over steps alike
    edges = np.maximum.accumulate(np.median(guesses, axis=0))
    names = [phone.name for phone in phones]
    return [Phone(*phone) for phone in zip(names, edges[:-1], edges[1:], strict=True)]


def talk(words, singer):
    """Return (x, phones): the singer says the words, at 44.1 kHz, and when each phone is said."""
    if singer.synthesiser == "flite":
        x, phones = flite_reading(words, singer.voice)
        return dsp.resample(x, ALIGN_SR, SR), phones
    voice = make_sounds.Voice("", singer.synthesiser, singer.voice, singer.sex)
    x, sr = make_sounds.kokoro(words, voice, TALK_TEMPO["kokoro"], None)
    x = trim(x, sr)
    return dsp.resample(x, sr, SR), align(x, sr, words)


# When each phone is sung, and how high ------------------------------------------------------------


def place_phones(phones, starts, end):
    """Put the vowels on the notes.

    Parameters
    ----------
    phones : as said
    starts : when each note begins
    end : when the last note ends

    Returns
    -------
    the phones as sung
    """
    low, high = CONSONANT
    lengths = [np.clip(phone.end - phone.start, low, high) for phone in phones]
    vowels = [i for i, phone in enumerate(phones) if phone.name in VOWELS]
    sung = []
    now = starts[0] - sum(lengths[: vowels[0]])
    for i in range(vowels[0]):
        sung.append(Phone(phones[i].name, now, now := now + lengths[i]))
    stops = [*starts[1:], end]
    for start, stop, vowel, after in zip(
        starts, stops, vowels, [*vowels[1:], len(phones)], strict=True
    ):
        between = range(vowel + 1, after)
        wanted = sum(lengths[i] for i in between)
        squeeze = min(1.0, CONSONANT_SHARE * (stop - start) / max(wanted, 1e-9))
        sung.append(Phone(phones[vowel].name, start, now := stop - squeeze * wanted))
        for i in between:
            sung.append(Phone(phones[i].name, now, now := now + squeeze * lengths[i]))
    return sung


def frame_times(end):
    """Return the times of the frames of a line that ends at `end`."""
    return np.arange(round((end + AFTER) / FRAME)) * FRAME


def sung_pitch(steps, end, singer, rng):
    """Return the pitch of each frame, (T,) semitones.

    The steps of the tune are rounded by the glide, which is over soon after the beat. Long notes
    get vibrato, everything drifts a little, and the line is entered from below.
    """
    t = frame_times(end)
    starts = np.array([start for start, _ in steps])
    note = np.clip(np.searchsorted(starts, t + singer.glide / 4, side="right") - 1, 0, None)
    pitch = np.array([number for _, number in steps], float)[note]
    pitch = gaussian_filter1d(pitch, singer.glide / FRAME / 4, mode="nearest")
    for start, stop in zip(starts, [*starts[1:], end], strict=True):
        if stop - start > VIBRATO_FROM:
            since = t - start - VIBRATO_DELAY
            depth = singer.vibrato * np.clip(since / VIBRATO_RISE, 0, 1) * (t < stop)
            rate = singer.rate * rng.uniform(0.95, 1.05)
            pitch = pitch + depth * np.sin(2 * np.pi * rate * since)
    drift = gaussian_filter1d(rng.standard_normal(len(t)), 0.08 / FRAME, mode="wrap")
    pitch += DRIFT * drift / drift.std()
    return pitch - SCOOP * np.exp(-np.maximum(t - starts[0] + 0.06, 0) / 0.05)


# WORLD: apart and together again -----------------------------------------------------------------


def time_map(said, sung, t):
    """Return the moment of the talk that is heard at each moment t of the song.

    Consonants are read evenly. A vowel is entered and left as fast as in talk; between, the song
    lingers in the vowel's middle (in a diphthong's first part), but never stands still: a frozen
    frame buzzes.
    """
    talk_times, song_times = [said[0].start - 0.05], [sung[0].start - 0.05]
    for a, b in zip(said, sung, strict=True):
        talk_times.append(a.start)
        song_times.append(b.start)
        spare = (b.end - b.start) - (a.end - a.start)
        if a.name in VOWELS and spare > 0:
            hold = (0.25, 0.4) if a.name in GLIDING else (0.3, 0.55)
            for share in hold:
                talk_times.append(a.start + share * (a.end - a.start))
            song_times.append(b.start + talk_times[-2] - a.start)
            song_times.append(b.end - (a.end - talk_times[-1]))
    talk_times += [said[-1].end, said[-1].end + 0.05]
    song_times += [sung[-1].end, sung[-1].end + 0.05]
    return np.interp(t, song_times, talk_times)


def take_apart(x, phones):
    """WORLD's analysis; return (voiced, envelope, breath): (T,), (T, F) power, (T, F) 0 to 1."""
    f0, t = pyworld.harvest(x, SR, f0_floor=60, f0_ceil=500, frame_period=1000 * FRAME)
    sonorous = np.zeros(len(t), bool)
    for phone in phones:
        if phone.name in VOWELS | SONORANTS:
            sonorous |= (t >= phone.start) & (t < phone.end)
    voiced = (f0 > 0) | sonorous
    known = np.flatnonzero(f0)
    f0 = np.where(voiced, np.interp(np.arange(len(t)), known, f0[known]), 0)
    envelope = pyworld.cheaptrick(x, f0, t, SR)
    breath = pyworld.d4c(x, f0, t, SR, threshold=0.0)
    return voiced, envelope, breath


def reshape_envelope(envelope, breath, bandwidth, stretch):
    """Return the logarithm of the envelope, and the breath, for a head of another size.

    Both are stretched along frequency, and the envelope falls evenly above the talk's bandwidth.
    Talk at 16 kHz holds nothing above 8 kHz. A real singer does: without it, a network would learn
    that voices end there.
    """
    F = envelope.shape[1]
    source = np.arange(F) / stretch
    envelope = interp1d(np.arange(F), np.log(envelope), axis=1)(np.minimum(source, F - 1))
    breath = interp1d(np.arange(F), breath, axis=1)(np.minimum(source, F - 1))
    edge = min(F - 1, int(0.92 * bandwidth * stretch / (SR / 2) * (F - 1)))
    top = envelope[:, int(0.85 * edge) : edge].mean(axis=1, keepdims=True)
    above = np.arange(edge, F) / edge
    envelope[:, edge:] = top - 2 * AIR_SLOPE * np.log(above)
    breath[:, edge:] = np.clip(breath[:, edge - 1 : edge], 0.5, 1)
    return envelope, np.clip(breath, 1e-4, 1)


def evening_gain(envelope, phones):
    """Return the gain of each frame in dB that brings every vowel to one level, as a mixer would.

    What then still sticks out, such as a hard consonant, is compressed.
    """
    power = 10 * np.log10(envelope.sum(axis=1))  # (T,)
    middles, levels = [], []
    for phone in phones:
        if phone.name in VOWELS:
            inside = power[round(phone.start / FRAME) : max(round(phone.end / FRAME), 1)]
            middles.append((phone.start + phone.end) / 2 / FRAME)
            levels.append(np.percentile(inside, 75))
    usual = np.median(levels)
    wanted = VOWEL_DB - usual + np.clip(usual - levels, -EVEN_OUT_DB, EVEN_OUT_DB)
    gain = gaussian_filter1d(np.interp(np.arange(len(power)), middles, wanted), 0.03 / FRAME)
    excess = np.maximum(power + gain - VOWEL_DB - HEADROOM_DB, 0)
    return gain - gaussian_filter1d(0.8 * excess, 1)


@lru_cache(maxsize=16)  # the lines of one song: doubling takes sing them again
def voice_print(words, singer):
    """Say a line and take it apart; return (phones, voiced, log envelope, breath)."""
    x, said = talk(words, singer)
    voiced, envelope, breath = take_apart(x, said)
    bandwidth = BANDWIDTH[singer.synthesiser]
    return said, voiced, *reshape_envelope(envelope, breath, bandwidth, singer.formants)


def colour(envelope, breath, phones, force, singer, rng):
    """Even out the vowels of a line, then sing it as loud as `force` says; changes both in place.

    A soft voice is not only less: its overtones fall more steeply and more breath goes with it.
    """
    T, F = envelope.shape
    soft = 1 - force
    octaves = np.log2(np.maximum(np.linspace(0, SR / 2, F), 500) / 500)  # (F,)
    shimmer = gaussian_filter1d(rng.standard_normal(T), 3)
    level = evening_gain(envelope, phones) + SHIMMER_DB * shimmer / shimmer.std() - soft * SOFT_DB
    envelope *= 10 ** ((level[:, None] - soft * SOFT_TILT * octaves) / 10)
    breath **= 1 - 0.6 * np.clip(singer.breath + 0.4 * soft, 0, 1)


def sing_with_world(line, steps, starts, end, singer, rng):
    """Sing a line: talk, read along the time map, at the pitch of the tune."""
    said, voiced, log_envelope, breath = voice_print(line.words, singer)
    check_syllables(line.words, said, starts)
    sung = place_phones(said, starts, end)
    t = frame_times(end)  # (T,)
    moment = np.clip(time_map(said, sung, t) / FRAME, 0, len(voiced) - 1)  # (T,) frames of the talk
    talk_frames = np.arange(len(voiced))
    envelope = np.exp(interp1d(talk_frames, log_envelope, axis=0)(moment))  # (T, F)
    breath = interp1d(talk_frames, breath, axis=0)(moment)  # (T, F)
    pitch = sung_pitch(steps, end, singer, rng)
    f0 = np.where(voiced[np.round(moment).astype(int)], 440 * 2 ** ((pitch - 69) / 12), 0)
    colour(envelope, breath, sung, line.force, singer, rng)
    envelope *= fades(t, sung[0].start, sung[-1].end)[:, None] ** 2
    take_a_breath(envelope, breath, f0, sung)
    return limited(pyworld.synthesize(f0, envelope, breath, SR, 1000 * FRAME)), sung


def limited(x):
    """Round off single peaks far above the level of a line, as a limiter would."""
    limit = LIMIT * dsp.active_level(x)
    return limit * np.tanh(x / limit)


def fades(t, start, end):
    """Return the amplitude of each frame: 0 outside of the line, with short slopes."""
    rise = np.clip((t - start + 0.02) / 0.02, 0, 1)
    return rise * np.clip((end + LINE_END - t) / 0.06, 0, 1) + 1e-5


def take_a_breath(envelope, breath, f0, sung):
    """Draw breath before the line, in place: noise through the mouth of the first vowel."""
    vowel = next(phone for phone in sung if phone.name in VOWELS)
    mouth = envelope[round(vowel.start / FRAME) : round(vowel.end / FRAME)].mean(axis=0)  # (F,)
    stop = round((sung[0].start - 0.04) / FRAME)
    start = max(0, stop - round(BREATH_SECONDS / FRAME))
    shape = np.sin(np.pi * np.linspace(0, 1, stop - start) ** 0.7) ** 2
    envelope[start:stop] = np.outer(shape * 10 ** (BREATH_DB / 10), np.sqrt(mouth * mouth.mean()))
    envelope[start:stop] += 1e-14
    breath[start:stop], f0[start:stop] = 1, 0


def check_syllables(words, phones, notes):
    """Refuse a line with more or fewer notes than syllables."""
    vowels = sum(phone.name in VOWELS for phone in phones)
    if vowels != len(notes):
        spelled = " ".join(phone.name for phone in phones)
        raise SystemExit(f"{words!r} has {vowels} syllables ({spelled}) and {len(notes)} notes")


# Festival sings by itself ------------------------------------------------------------------------


def sing_with_festival(line, steps, starts, end, singer, rng):
    """Sing a line with a diphone voice: each phone with its length and its pitch every 30 ms."""
    _, said = flite_reading(line.words, ALIGN_VOICES[0])
    check_syllables(line.words, said, starts)
    sung = place_phones(said, starts, end - LINE_END)
    pitch = sung_pitch(steps, end, singer, rng)
    segments = [f"(pau {sung[0].start:.4f})"]
    for phone in sung:
        times = np.arange(phone.start, phone.end, 0.03)
        hertz = 440 * 2 ** ((pitch[(times / FRAME).astype(int)] - 69) / 12)
        targets = zip(times - phone.start, hertz, strict=True)
        told = " ".join(f"({time:.3f} {height:.2f})" for time, height in targets)
        segments.append(f"({phone.name} {phone.end - phone.start:.4f} {told})")
    with tempfile.TemporaryDirectory() as folder:
        script, wav = f"{folder}/line.scm", f"{folder}/line.wav"
        Path(script).write_text(
            f"(voice_{singer.voice})\n(Parameter.set 'Int_Method 'DuffInt)\n"
            f"(set! u (utt.synth (Utterance Segments ({' '.join(segments)} (pau 0.1)))))\n"
            f'(utt.save.wave u "{wav}" \'riff)\n'
        )
        x, sr = make_sounds.run_to_wav(["festival", "-b", script], wav)
    return dsp.resample(x, sr, SR) * 10 ** ((line.force - 1) * SOFT_DB / 20), sung


def sing(line, singer, seconds_per_beat, rng):
    """Sing one line.

    Returns
    -------
    (x, truth) : x (N,) with the first vowel LEAD seconds after its start; truth lists for each
        syllable (start, end, pitch) of its vowel's first note, in seconds from the start of x
    """
    steps, starts, now = [], [], LEAD
    for syllable in read_tune(line.tune):
        starts.append(now)
        for pitch, beats in syllable:
            steps.append((now, pitch))
            now += beats * seconds_per_beat
    engine = sing_with_festival if singer.synthesiser == "festival" else sing_with_world
    x, sung = engine(line, steps, starts, now, singer, rng)
    truth = []
    for phone in (phone for phone in sung if phone.name in VOWELS):
        inside = [(s, p) for s, p in steps if phone.start - 1e-6 <= s < phone.end]
        stop = inside[1][0] if len(inside) > 1 else phone.end
        truth.append((phone.start, stop, inside[0][1]))
    return x, truth
