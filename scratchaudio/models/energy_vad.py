"""Two voice detectors that learn nothing: what any network must be better than.

Speech is louder than the pause it stands in. The first baseline compares each frame's level with
one threshold, tuned on recordings like those it will meet. It fails as soon as recordings differ in
loudness or the noise is louder elsewhere. The second measures the level above a noise floor that it
follows itself, and holds a decision a little, since words end softly.

Both give a score in dB for each 10 ms frame, aligned with `vad.VoiceActivityDetector`.
"""

from scipy.ndimage import maximum_filter1d, minimum_filter1d, uniform_filter1d

from scratchaudio import dsp
from scratchaudio.errors import ShapeError, require_signal
from scratchaudio.models.vad import FRAME_RATE, HOP_LENGTH, WIN_LENGTH

FLOOR_SECONDS = 3.0  # speech pauses at least once in so many seconds
SMOOTH_SECONDS = 0.05  # a single quiet frame is not yet the floor
HANGOVER_SECONDS = 0.15


def energy_score(x):
    """Level of each frame: RMS over 25 ms in dB, (N,) at 16 kHz -> (1 + N // 160,)."""
    x = require_signal("x", x)
    if x.ndim != 1:
        raise ShapeError(f"x must be one channel of shape (samples,), got shape {x.shape}")
    rms = dsp.rms(y=x, frame_length=WIN_LENGTH, hop_length=HOP_LENGTH)[0]
    return dsp.amplitude_to_db(rms, top_db=None)


def adaptive_energy_score(x):
    """Level of each frame above the noise floor, in dB: (N,) at 16 kHz -> (1 + N // 160,).

        floor_t = min of the smoothed level over the last 3 s
        score_t = max of (level - floor) over the last 0.15 s      (the hangover)

    References
    ----------
    Martin (2001), Noise power spectral density estimation based on optimal smoothing and minimum
    statistics, IEEE Transactions on Speech and Audio Processing 9(5): the floor, on one band here.
    """
    level = energy_score(x)
    smooth = uniform_filter1d(level, round(SMOOTH_SECONDS * FRAME_RATE))
    floor = _over_the_past(minimum_filter1d, smooth, FLOOR_SECONDS)
    return _over_the_past(maximum_filter1d, level - floor, HANGOVER_SECONDS)


def _over_the_past(filter1d, x, seconds):
    """Minimum or maximum of x over the last `seconds`, the present frame included."""
    size = round(seconds * FRAME_RATE)
    return filter1d(x, size, origin=(size - 1) // 2, mode="nearest")
