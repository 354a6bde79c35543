"""Noise made from random numbers: every kind a function (n, sr, rng) -> (n,) samples.

A detector that has only heard one noise knows only that one. Here are many, and each draws its own
tilt, rates and pitches, so that two seeds of one kind sound different. Four ways of making lead to
all of them:

    shape    White noise has equal power at every frequency: random numbers serve as its spectrum
             as well as they serve as its samples. So draw the spectrum, multiply it by the
             amplitude wanted at each frequency and transform back. Power 1/f^a needs amplitude
             f^(-a/2): the level falls by 3 a dB per octave. a = 0, 1, 2 is white, pink, brown.
    swell    Multiply by an envelope that moves slowly: wind, traffic, anything that pulses.
    strike   Convolve a row of impulses at random times with the sound of one stroke, a sum of
             modes that ring and die: clicks, rain, steps, dishes.
    play     Read one period of a wave from a table again and again, as fast as the pitch asks:
             hum, engines, alarms, instruments.

Every noise has zero mean and an RMS of 1 over its n samples, so that a gain is a level and
`mix_at_snr` sets the rest; peaks far above 1 are normal. The same seed gives the same noise.

Legend: n samples asked for, sr sampling rate in Hz, f frequencies in Hz, t times in s.
"""

import math

import numpy as np
from scipy import fft
from scipy.signal import oaconvolve

from scratchaudio.dsp.level import active_level
from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer, require_signal

# Shaped spectra -------------------------------------------------------------------------------


def white(n, sr, rng=None):
    """White noise: independent samples, equal power at every frequency; hiss.

    Parameters
    ----------
    n : number of samples, at least 2
    sr : sampling rate, Hz, at least 4000
    rng : seed or Generator

    Returns
    -------
    (n,) float32, zero mean, RMS 1

    Examples
    --------
    >>> x = white(16000, 16000, rng=0)
    >>> x.shape, round(float(x.std()), 3)
    ((16000,), 1.0)
    """
    rng = _generator(n, sr, rng)
    return _unit(rng.standard_normal(n, dtype=np.float32))


def pink(n, sr, rng=None):
    """Pink noise: power 1/f, equal in every octave, -3 dB per octave; a waterfall.

    Level below 20 Hz, where nothing is heard and 1/f would grow without end. Arguments and result
    as for `white`.
    """
    rng = _generator(n, sr, rng)
    return _unit(_shaped(n, sr, _tilt(1), rng))


def brown(n, sr, rng=None):
    """Brown noise: power 1/f^2, -6 dB per octave, the running sum of white noise; a far rumble.

    Level below 20 Hz: a true running sum wanders off, and most of its power would be inaudible.
    Arguments and result as for `white`.
    """
    rng = _generator(n, sr, rng)
    return _unit(_shaped(n, sr, _tilt(2), rng))


def resonant(n, sr, rng=None):
    """Noise through two to five resonances: a ventilator, a pipe, a machine behind a wall.

    The amplitude is a sum of peaks 1 / sqrt(1 + ((f - centre) / width)^2) over a tilted ground.
    Arguments and result as for `white`.
    """
    rng = _generator(n, sr, rng)
    return _unit(_shaped(n, sr, _peaks(sr, rng), rng))


# Swelling noise -------------------------------------------------------------------------------


def modulated(n, sr, rng=None):
    """Coloured noise whose loudness pulses, regularly or not, at 0.5 to 12 Hz.

    The rhythm of speech, syllables at 3 to 8 Hz, without its pitch and formants: what a detector
    that only watches the loudness takes for speech. Arguments and result as for `white`.
    """
    rng = _generator(n, sr, rng)
    rate = _log_uniform(0.5, 12, rng)
    regular = 0.5 - 0.5 * np.cos(2 * np.pi * rate * np.arange(n) / sr + rng.uniform(0, 6))
    irregular = _slow(n, sr, 2 * rate, rng)
    share = rng.uniform()
    swell = (share * regular + (1 - share) * irregular) ** rng.uniform(1, 3)
    floor = rng.uniform(0, 0.3)
    return _unit((floor + (1 - floor) * swell) * _any_colour(n, sr, rng))


def wind(n, sr, rng=None):
    """Wind: low rumble in slow gusts, and a brighter hiss that only the strong gusts have.

    Arguments and result as for `white`.
    """
    rng = _generator(n, sr, rng)
    gust = _slow(n, sr, _log_uniform(0.2, 1.5, rng), rng)
    rumble = _shaped(n, sr, _tilt(rng.uniform(2, 4), corner=_log_uniform(30, 200, rng)), rng)
    hiss = _shaped(n, sr, _peaks(sr, rng), rng)
    hiss *= rng.uniform(0.05, 0.4) * _rms(rumble) / _rms(hiss)
    return _unit((0.1 + gust) * rumble + 2 * gust**3 * hiss)


def traffic(n, sr, rng=None):
    """Traffic: vehicles pass one by one, each a swell with its own colour, over a far rumble.

    One that passes at distance d with speed v at time t0 is heard with amplitude
    1 / distance = 1 / sqrt(d^2 + v^2 (t - t0)^2). Arguments and result as for `white`.
    """
    rng = _generator(n, sr, rng)
    t = np.arange(n, dtype=np.float32) / sr
    x = 0.1 * _unit(_shaped(n, sr, _tilt(2, corner=60), rng))
    lanes = [_unit(_any_colour(n, sr, rng)) for _ in range(3)]
    for start in _times(n, sr, _log_uniform(0.1, 0.5, rng), rng):
        width = _log_uniform(0.3, 3, rng)  # d / v, s
        swell = rng.uniform(0.2, 1) / np.sqrt(1 + np.square((t - start / sr) / width))
        x += swell * lanes[rng.integers(len(lanes))]
    return _unit(x)


# Strokes --------------------------------------------------------------------------------------


def clicks(n, sr, rng=None):
    """Clicks: short bursts of noise that die within milliseconds; keys, sparks, a scratched disc.

    Arguments and result as for `white`.
    """
    rng = _generator(n, sr, rng)
    rate = _log_uniform(0.5, 20, rng)
    x = np.zeros(n, np.float32)
    for _ in range(3):
        decay = _log_uniform(0.0005, 0.02, rng)
        stroke = _any_colour(int(6 * decay * sr) + 2, sr, rng)
        stroke *= np.exp(-np.arange(len(stroke), dtype=np.float32) / (decay * sr))
        x += _struck(n, _times(n, sr, rate / 3, rng), stroke / _rms(stroke), rng)
    return _unit(x + _ground(x, n, sr, rng))


def impacts(n, sr, rng=None):
    """Impacts: steps, doors, dishes; bodies that ring with a few modes after each blow.

    Arguments and result as for `white`.
    """
    rng = _generator(n, sr, rng)
    rate = _log_uniform(0.5, 4, rng)
    size, ring = _log_uniform(80, 2500, rng), _log_uniform(0.01, 0.3, rng)  # one material
    x = np.zeros(n, np.float32)
    for _ in range(3):
        stroke = _modes(sr, size * rng.uniform(0.7, 1.4), ring * rng.uniform(0.5, 1.5), rng)
        x += _struck(n, _times(n, sr, rate / 3, rng), stroke, rng)
    return _unit(x + _ground(x, n, sr, rng))


def rain(n, sr, rng=None):
    """Rain: hundreds of drops a second, each a tiny stroke, over the hiss of those far away.

    Arguments and result as for `white`.
    """
    rng = _generator(n, sr, rng)
    rate = _log_uniform(50, 2000, rng)
    x = np.zeros(n, np.float32)
    for _ in range(3):
        drop = _modes(sr, _log_uniform(800, 5000, rng), _log_uniform(0.0005, 0.004, rng), rng)
        x += _struck(n, _times(n, sr, rate / 3, rng), drop, rng)
    hiss = _unit(_shaped(n, sr, _tilt(rng.uniform(0, 1)), rng))
    return _unit(x + rng.uniform(0.2, 1) * _rms(x) * hiss + _ground(x, n, sr, rng))


# Periodic waves -------------------------------------------------------------------------------


def hum(n, sr, rng=None):
    """Mains hum: 50 or 60 Hz and its harmonics, drifting by up to 0.1 %, over a weak hiss.

    Rectifiers double the frequency, so that even harmonics may be the stronger ones. Arguments and
    result as for `white`.
    """
    rng = _generator(n, sr, rng)
    mains = rng.choice([50.0, 60.0])
    drift = 1 + 1e-3 * (2 * _slow(n, sr, 0.5, rng) - 1)
    table = _wavetable(int(rng.integers(4, 30)), rng.uniform(0.3, 1.5), rng)
    hiss = _shaped(n, sr, _tilt(1), rng)
    hiss *= _log_uniform(0.003, 0.1, rng) / _rms(hiss)
    return _unit(_played(table, mains * drift, sr) + hiss)


def engine(n, sr, rng=None):
    """An engine: a wave rich in harmonics whose pitch follows the speed, and noise at each firing.

    Arguments and result as for `white`.
    """
    rng = _generator(n, sr, rng)
    speed = _log_uniform(20, 120, rng) * 2 ** _slow(n, sr, _log_uniform(0.1, 1, rng), rng)  # Hz
    table = _wavetable(int(0.2 * sr / speed.max()), rng.uniform(0.5, 1.5), rng)
    tone = _played(table, speed, sr)
    noise = _unit(_any_colour(n, sr, rng))
    return _unit(tone + rng.uniform(0.2, 1) * (0.3 + np.abs(tone)) * noise)


def alarm(n, sr, rng=None):
    """Beeps and sirens: a tone that is switched, jumps between two pitches, or glides.

    Arguments and result as for `white`.
    """
    rng = _generator(n, sr, rng)
    pitch = _log_uniform(400, min(3000, 0.1 * sr), rng)
    phase = np.arange(n) / sr * _log_uniform(0.5, 8, rng) % 1  # place within one repetition
    glide = np.abs(2 * phase - 1) if rng.uniform() < 0.5 else (phase < 0.5)
    octaves = rng.uniform(0, 1.2) if rng.uniform() < 0.6 else 0.0
    tone = _played(_wavetable(int(rng.integers(1, 5)), 1, rng), pitch * 2 ** (octaves * glide), sr)
    on = phase < (1.0 if octaves else rng.uniform(0.2, 0.8))
    pauses = _slow(n, sr, 0.5, rng) > rng.uniform(0, 0.6)
    x = tone * on * pauses
    return _unit(x + _ground(x, n, sr, rng))


def birds(n, sr, rng=None):
    """Birds: phrases of short chirps, tones that sweep up or down between 1.5 and 7 kHz.

    Arguments and result as for `white`.
    """
    rng = _generator(n, sr, rng)
    x = np.zeros(n, np.float32)
    for start in _times(n, sr, _log_uniform(0.3, 2, rng), rng):
        length = int(sr * _log_uniform(0.03, 0.25, rng))
        low, high = np.sort(rng.uniform(0.09, 0.44, 2)) * min(sr, 16000)
        sweep = np.linspace(low, high, length)[:: rng.choice([-1, 1])]
        chirp = rng.uniform(0.2, 1) * np.sin(2 * np.pi * np.cumsum(sweep) / sr) * np.hanning(length)
        step = int(length * rng.uniform(1, 3))
        for repeat in range(rng.integers(1, 8)):
            _add(x, chirp, start + repeat * step)
    return _unit(x + _ground(x, n, sr, rng))


def tones(n, sr, rng=None):
    """Tones: whistles, drills, drones, bells; one to six of them, each on its own way.

    A tone is held, and may waver or glide over up to two octaves; or it is struck or blown at
    random times, at one to five pitches. Arguments and result as for `white`.
    """
    rng = _generator(n, sr, rng)
    x = np.zeros(n, np.float32)
    for _ in range(rng.integers(1, 7)):
        make = _held_tone if rng.uniform() < 0.5 else _notes
        tone = make(n, sr, rng)
        x += rng.uniform(0.1, 1) / (_rms(tone) or 1.0) * tone
    return _unit(x + _ground(x, n, sr, rng))


def _held_tone(n, sr, rng):
    """Hold one tone whose pitch and loudness wander."""
    octaves = rng.choice([0, rng.uniform(0, 0.1), rng.uniform(0, 2)])
    path = 2 ** (octaves * _slow(n, sr, _log_uniform(0.05, 5, rng), rng))
    pitch = _log_uniform(80, 0.3 * min(sr, 16000), rng) * path / path.max()  # Hz, (n,)
    n_harmonics = int(min(_log_uniform(1, 20, rng), 0.45 * sr / pitch.max()))
    tone = _played(_wavetable(n_harmonics, rng.uniform(0, 2), rng), pitch, sr)
    floor = rng.uniform()
    return (floor + (1 - floor) * _slow(n, sr, _log_uniform(0.1, 8, rng), rng)) * tone


def _notes(n, sr, rng):
    """Strike or blow one to five notes of one instrument at random times."""
    length = _log_uniform(0.05, 1.5, rng)  # s
    n_samples = int(3 * length * sr)
    struck = rng.uniform() < 0.5
    envelope = _decay(n_samples, length, sr) if struck else np.hanning(n_samples)
    tilt, n_harmonics = rng.uniform(0, 2), _log_uniform(1, 20, rng)
    sounds = []
    for _ in range(rng.integers(1, 6)):
        pitch = _log_uniform(80, 0.3 * min(sr, 16000), rng)
        table = _wavetable(int(min(n_harmonics, 0.45 * sr / pitch)), tilt, rng)
        sounds.append(envelope * _note(table, pitch, n_samples, sr))
    x = np.zeros(n, np.float32)
    for start in _times(n, sr, _log_uniform(0.3, 6, rng), rng):
        _add(x, rng.uniform(0.3, 1) * sounds[rng.integers(len(sounds))], start)
    return x


def music(n, sr, rng=None):
    """Something like music: chords, a bass, broken chords above, drums; tempo and key drawn.

    Pitches are 440 * 2^(k/12) Hz for whole k, so the harmonics are as steady as those of
    instruments and not gliding as those of a voice. Arguments and result as for `white`.
    """
    rng = _generator(n, sr, rng)
    beat = 60 / rng.uniform(60, 160)  # s
    key = 55 * 2 ** (rng.integers(12) / 12)  # Hz
    chords = np.array([[0, 4, 7], [9, 12, 16], [5, 9, 12], [7, 11, 14], [2, 5, 9], [4, 7, 11]])
    progression = chords[rng.permutation(len(chords))[:4]]
    pad, bass, lead = (_wavetable(k, rng.uniform(0.7, 2), rng) for k in (8, 12, 6))
    pad_gain, bass_gain, lead_gain, drum_gain = rng.uniform(0.1, 1, 4)
    drums = [
        _modes(sr, _log_uniform(45, 80, rng), 0.1, rng),  # bass drum
        _modes(sr, _log_uniform(150, 300, rng), 0.06, rng),  # snare
    ]
    ring = _log_uniform(0.1, 0.6, rng)  # how long the plucked notes sound, s

    x = np.zeros(n, np.float32)
    half = int(sr * beat / 2)
    for step, start in enumerate(range(0, n, half)):
        chord = progression[step // 8 % len(progression)]
        if step % 8 == 0:
            for note in chord:
                tone = _note(pad, 4 * key * 2 ** (note / 12), 8 * half, sr)
                _add(x, pad_gain * np.hanning(8 * half) * tone, start)
        if step % 2 == 0:
            tone = _note(bass, key * 2 ** (chord[0] % 12 / 12), 2 * half, sr)
            _add(x, bass_gain * _decay(2 * half, beat / 2, sr) * tone, start)
            _add(x, 4 * drum_gain * drums[step // 2 % 2], start)
        if rng.uniform() < 0.7:
            octave = rng.choice([4, 8])
            length = int(3 * ring * sr)
            tone = _note(lead, octave * key * 2 ** (rng.choice(chord) / 12), length, sr)
            _add(x, lead_gain * _decay(length, ring, sr) * tone, start)
    return _unit(x + _ground(x, n, sr, rng))


# Voices ---------------------------------------------------------------------------------------


def babble(n, sr, voices, rng=None):
    """Babble: four to eight people talking at once, in pieces cut from recordings of voices.

    Each talker speaks pieces of 1 to 4 s of one recording, drawn anew each time and joined with
    fades of 10 ms, so that no sentence is heard twice in the same company. All are brought to one
    active level and then moved nearer or farther by up to 6 dB. With fewer recordings than
    talkers, one voice speaks for several.

    Parameters
    ----------
    n : number of samples, at least 2
    sr : sampling rate of the voices and of the result, Hz, at least 4000
    voices : sequence of (N,) waveforms at sr, each at least 0.1 s and not silent
    rng : seed or Generator

    Returns
    -------
    (n,) float32, zero mean, RMS 1
    """
    rng = _generator(n, sr, rng)
    if len(voices) == 0:
        raise ShapeError("voices must hold at least one waveform, got none")
    for index, voice in enumerate(voices):
        require_signal(f"voices[{index}]", voice)
        if np.ndim(voice) != 1 or len(voice) < sr // 10:
            raise ShapeError(
                f"voices[{index}] must be one channel of at least 0.1 s ({sr // 10} samples), "
                f"got shape {np.shape(voice)}"
            )
    talkers = np.resize(rng.permutation(len(voices)), rng.integers(4, 9))
    x = np.zeros(n, np.float32)
    for talker in talkers:
        gain = 10 ** (rng.uniform(-6, 6) / 20)
        x += gain * _pieces(n, sr, np.asarray(voices[talker]), rng)
    return _unit(x + _ground(x, n, sr, rng))


def _pieces(n, sr, voice, rng):
    """Speak random pieces of one voice, end to end, at an active level of 1."""
    level = active_level(voice)
    x = np.zeros(n, np.float32)
    start = -int(rng.integers(sr))  # the first piece is already under way
    while start < n:
        length = min(len(voice), int(sr * rng.uniform(1, 4)))
        begin = rng.integers(len(voice) - length + 1)
        ramp = np.minimum(1, np.arange(length) / (0.01 * sr))
        _add(x, voice[begin : begin + length] / level * ramp * ramp[::-1], start)
        start += length
    return x


# Every kind that needs no voices.
NOISES = {
    "white": white,
    "pink": pink,
    "brown": brown,
    "resonant": resonant,
    "modulated": modulated,
    "wind": wind,
    "traffic": traffic,
    "clicks": clicks,
    "impacts": impacts,
    "rain": rain,
    "hum": hum,
    "engine": engine,
    "alarm": alarm,
    "birds": birds,
    "tones": tones,
    "music": music,
}

# What they are made of ------------------------------------------------------------------------


def _generator(n, sr, rng):
    """Check the size and return the random generator."""
    require_positive_integer("n", n)
    require_positive_integer("sr", sr)
    if n < 2:
        raise ConfigError("n must be at least 2: one sample cannot have zero mean and RMS 1")
    if sr < 4000:
        raise ConfigError(f"sr must be at least 4000 Hz for these noises, got {sr}")
    return np.random.default_rng(rng)


def _unit(x):
    """Bring x to zero mean and an RMS of 1."""
    x = x - x.mean(dtype=np.float64)
    return (x / _rms(x)).astype(np.float32)


def _rms(x):
    return math.sqrt(np.square(x, dtype=np.float64).mean())


def _log_uniform(low, high, rng):
    """Draw a frequency or a time: equally often from every octave."""
    return low * (high / low) ** rng.uniform()


def _shaped(n, sr, amplitude, rng):
    """Draw Gaussian noise whose spectrum has the given amplitude, a function of f in Hz."""
    size = fft.next_fast_len(n, real=True)
    f = np.arange(1, size // 2 + 1, dtype=np.float32) * (sr / size)
    spectrum = np.zeros(size // 2 + 1, np.complex64)  # nothing at 0 Hz
    spectrum[1:] = rng.standard_normal(2 * len(f), dtype=np.float32).view(np.complex64)
    spectrum[1:] *= amplitude(f)
    return fft.irfft(spectrum, size)[:n]


def _tilt(exponent, corner=20.0):
    """Amplitude of power 1/f^exponent: -3 * exponent dB per octave, level below the corner."""
    return lambda f: np.maximum(f / corner, 1) ** (-exponent / 2)


def _peaks(sr, rng):
    """Amplitude with two to five resonances at random places over a tilted ground."""
    ground = _tilt(rng.uniform(0, 2), corner=200)
    centres = [_log_uniform(80, 0.4 * sr, rng) for _ in range(rng.integers(2, 6))]
    widths = [centre * _log_uniform(0.01, 0.3, rng) for centre in centres]
    gains = rng.uniform(1, 10, len(centres))
    height = _log_uniform(0.02, 0.5, rng)

    def amplitude(f):
        a = height * ground(f)
        for centre, width, gain in zip(centres, widths, gains, strict=True):
            a += gain * ground(centre) / np.sqrt(1 + np.square((f - centre) / width))
        return a

    return amplitude


def _any_colour(n, sr, rng):
    """Draw noise of a random tilt, one time in two with resonances."""
    if rng.uniform() < 0.5:
        return _shaped(n, sr, _peaks(sr, rng), rng)
    return _shaped(n, sr, _tilt(rng.uniform(0, 2.5), corner=_log_uniform(50, 1000, rng)), rng)


def _slow(n, sr, rate, rng):
    """Draw a curve between 0 and 1 that takes a new direction `rate` times a second."""
    position = np.arange(n, dtype=np.float32) * (rate / sr)
    values = rng.uniform(size=int(position[-1]) + 2)
    return np.interp(position, np.arange(len(values)), values).astype(np.float32)


def _times(n, sr, rate, rng):
    """Draw when things happen, in samples: at random, `rate` times a second, at least once."""
    return rng.integers(n, size=max(1, rng.poisson(rate * n / sr)))


def _struck(n, times, stroke, rng):
    """Sound the stroke at each time, with random strength."""
    impulses = np.bincount(times, rng.exponential(size=len(times)), minlength=n)
    return oaconvolve(impulses.astype(np.float32), stroke.astype(np.float32))[:n]


def _modes(sr, lowest, ring, rng):
    """One stroke: eight inharmonic modes above `lowest` Hz; the higher, the sooner they die."""
    t = np.arange(int(5 * ring * sr) + 2) / sr
    ratios = np.cumsum(np.concatenate([[1], rng.uniform(0.2, 1.5, 7)]))
    ratios = ratios[lowest * ratios < 0.45 * sr]  # (modes,)
    modes = np.sin(2 * np.pi * lowest * ratios[:, None] * t + rng.uniform(0, 6, (len(ratios), 1)))
    modes *= np.exp(-(ratios[:, None] ** 0.5) * t / ring)
    return rng.uniform(0.1, 1, len(ratios)) @ modes


def _decay(n, ring, sr):
    """Die away exponentially, after an attack of 5 ms so that nothing clicks."""
    t = np.arange(n) / sr
    return np.minimum(t / 0.005, 1) * np.exp(-t / ring)


def _wavetable(n_harmonics, tilt, rng, size=2**15):
    """One period of a wave with RMS 1: random harmonics that fall with k^-tilt."""
    k = np.arange(1, max(n_harmonics, 1) + 1)
    spectrum = np.zeros(size // 2 + 1, complex)
    phases = np.exp(2j * np.pi * rng.uniform(size=len(k)))
    spectrum[k] = rng.uniform(0.1, 1, len(k)) / k**tilt * phases
    return _unit(fft.irfft(spectrum, size))


def _played(table, pitch, sr):
    """Read the table at a pitch (n,) in Hz that may change from sample to sample."""
    periods = np.cumsum(pitch / sr, dtype=np.float64)
    return table[(periods * len(table)).astype(np.int64) % len(table)]


def _note(table, pitch, n, sr):
    """Read the table for n samples at a constant pitch in Hz."""
    return table[(np.arange(n) * (pitch / sr * len(table))).astype(np.int64) % len(table)]


def _add(x, piece, start):
    """Add a piece to x from sample `start` on; what lies outside x is not heard."""
    first, last = max(start, 0), min(start + len(piece), len(x))
    if first < last:
        x[first:last] += piece[first - start : last - start]


def _ground(x, n, sr, rng):
    """Draw the hiss that every recording has below its events, -70 to -40 dB of their peak."""
    hiss = _shaped(n, sr, _tilt(rng.uniform(0, 1.5)), rng)
    peak = float(np.abs(x).max()) or 1.0
    return 10 ** (rng.uniform(-70, -40) / 20) * peak / (_rms(hiss) or 1.0) * hiss
