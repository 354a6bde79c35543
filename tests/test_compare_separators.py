"""The page that compares all separators: its rows, its numbers, and what it refuses."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scratchaudio import dsp, metrics
from scratchaudio.errors import ConfigError
from scratchaudio.io import load, save
from scratchaudio.models import ConvTasNet, NMFSeparator, OpenUnmix, UNet
from scratchaudio.models.nmf_separator import N_BINS

EXAMPLES = Path(__file__).parent.parent / "examples"
SR = 16000
METHODS = [
    "NMF, blind",
    "NMF, semi-supervised",
    "NMF, dictionaries",
    "U-Net",
    "Open-Unmix",
    "Open-Unmix, Wiener EM",
    "Conv-TasNet",
]
KNOWING_NOTHING = ["centre mask", "harmonic, percussive", "REPET-sim"]
ORACLES = ["ideal binary mask", "ideal ratio mask"]


def tiny_models():
    """Untrained, by the names of the checkpoints that ship."""
    rng = np.random.default_rng(0)
    return {
        "nmf": NMFSeparator(rng.random((N_BINS, 3)), rng.random((N_BINS, 4))),
        "unet": UNet(n_channels=2, widths=(2, 3), n_bins=128, sample_rate=SR, rng=rng),
        "open_unmix": OpenUnmix(
            n_hidden=4, n_fft=512, hop_length=256, sample_rate=SR, bandwidth=8000, rng=rng
        ),
        "conv_tasnet": ConvTasNet(
            N=6, L=4, B=3, H=5, Sc=2, X=2, R=1, n_channels=2, n_sources=1, sample_rate=SR, rng=rng
        ),
    }


def make_song():
    """A gliding voice in the middle; strokes on the right: vocals, accompaniment."""
    t = np.arange(round(2.5 * SR)) / SR
    phase = 2 * np.pi * np.cumsum(300 * (1 + 0.2 * np.sin(3 * t))) / SR
    voice = 0.1 * sum(np.sin(h * phase) / h for h in range(1, 12))
    noise = np.random.default_rng(1).standard_normal(len(t))
    band = dsp.pan(0.2 * noise * np.exp(-20 * (t % 0.25)), 0.7)
    return dsp.pan(voice, 0).astype(np.float32), band.astype(np.float32)


@pytest.fixture(scope="module")
def compare():
    """The example as a module, with tiny networks."""
    models = tiny_models()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        module = importlib.reload(importlib.import_module("compare_separators"))
        patch.setattr(module, "load_pretrained", models.__getitem__)
        patch.setattr(module, "PRETRAINED", tuple(models))
        yield module


@pytest.fixture(scope="module")
def made(compare, tmp_path_factory):
    """One run: the page's path, the scores, what was printed."""
    import contextlib
    import io

    from song_data import Song

    folder, printed = tmp_path_factory.mktemp("compare"), io.StringIO()
    vocals, band = make_song()
    save(folder / "song.wav", vocals + band, SR, subtype="FLOAT")
    with contextlib.redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "FILENAME_MUSIC", folder / "song.wav")
        known = Song("made", {"vocals": vocals, "other": band}, SR)
        patch.setattr(compare, "true_song", lambda path: known)
        scores = compare.compare_separators(folder / "new" / "page.html")
    return folder / "new" / "page.html", scores, printed.getvalue()


def test_the_ladder_has_every_method_between_the_mix_and_the_oracles(made):
    _, scores, printed = made
    assert list(scores) == ["mix", *METHODS, *KNOWING_NOTHING, *ORACLES]
    for name, values in scores.items():
        assert all(np.isfinite(value) for value in values.values()), name
        assert f"{name:>24}" in printed
    assert scores["ideal ratio mask"]["SI-SDR"] > scores["mix"]["SI-SDR"] + 5


@pytest.mark.parametrize(
    ("row", "name", "settings"),
    [
        ("NMF, dictionaries", "nmf", {}),
        ("U-Net", "unet", {}),
        ("Open-Unmix", "open_unmix", {"n_iter": 0}),
        ("Open-Unmix, Wiener EM", "open_unmix", {"n_iter": 1}),
        ("Conv-TasNet", "conv_tasnet", {}),
    ],
)
def test_a_row_measures_the_model_of_its_name(made, row, name, settings):
    path, scores, _ = made
    x, sr = load(path.parent.parent / "song.wav")
    vocals, _ = tiny_models()[name].separate(x, sr, **settings)
    expected = metrics.si_sdr(make_song()[0].ravel(), vocals.ravel())
    assert scores[row]["SI-SDR"] == pytest.approx(expected, abs=0.01)


def test_the_page_tells_what_each_costs(made):
    """Seconds a second and the number of parameters, for those that compute and learn."""
    page = made[0].read_text(encoding="utf-8")
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    cells = {}
    for row in rows:
        name, *others = (
            re.sub("<.*?>", "", c) for c in re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row)
        )
        cells[name] = others
    models = tiny_models()
    for row, name in (("U-Net", "unet"), ("Conv-TasNet", "conv_tasnet")):
        n_parameters = sum(p.value.size for p in models[name].parameters())
        assert cells[row][-1] == f"{n_parameters:,}"
        assert 0 <= float(cells[row][-2]) < 100
    assert cells["NMF, dictionaries"][-1] == f"{7 * N_BINS:,}"
    assert cells["NMF, blind"][-1] == "0"
    assert cells["ideal ratio mask"][-2:] == ["", ""]


def test_every_voice_and_every_accompaniment_can_be_heard(made):
    page = made[0].read_text(encoding="utf-8")
    n_sounds = len(["mix", *METHODS, *KNOWING_NOTHING, *ORACLES, "truth"])
    assert page.count("<audio") == 2 * n_sounds
    for name in (*METHODS, *KNOWING_NOTHING, *ORACLES):
        assert page.count(name) >= 5, f"{name}: in the table, two players, two drawings"


def test_a_mask_is_the_voice_s_share_of_each_bin(compare):
    vocals, band = make_song()
    mask = compare.mask_of(0.25 * (vocals + band), vocals + band)
    np.testing.assert_allclose(mask, 0.25, rtol=1e-4)
    assert compare.mask_of(3 * vocals, vocals).max() == 1
    assert compare.mask_of(vocals, 0 * vocals).max() == 1, "no division by nothing"


def test_a_page_is_replaced_only_when_asked(compare, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(ConfigError, match=r"page\.html is already there: --overwrite replaces it"):
        compare.compare_separators(path)
    assert path.read_text() == "mine"


def test_the_command_says_what_is_wrong(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("mine")
    command = [sys.executable, EXAMPLES / "compare_separators.py", "--out", path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == f"error: {path} is already there: --overwrite replaces it\n"
