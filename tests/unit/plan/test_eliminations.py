"""Which units go first is found once and kept beside the moments."""

from pathlib import Path

import pytest

from liteasr.artefacts import find_spectra, units_file
from liteasr.calibration import Calibration, calibrate
from liteasr.corpus import load_corpus
from liteasr.errors import CalibrationError
from liteasr.lowrank import hidden_units
from liteasr.plan import Eliminations, spectra_of
from liteasr.sources import SpeechModel
from tiny_whisper import tiny_whisper

KEY = "layers.0.fc2"


@pytest.fixture(scope="module")
def speech() -> SpeechModel:
    return tiny_whisper(blocks=1)


@pytest.fixture(scope="module")
def calibration(speech: SpeechModel, recordings: Path) -> Calibration:
    return calibrate(speech, load_corpus(recordings))


def test_they_are_made_once_and_found_again(  # type: ignore[no-untyped-def]
    speech, calibration: Calibration, tmp_path: Path, monkeypatch
) -> None:
    moments = tmp_path / "m.safetensors"
    first = find_spectra(speech, calibration, moments).mlps[KEY].elimination
    kept = tmp_path / "m.units.json"
    assert units_file(moments) == kept
    assert Eliminations.load(kept).mlps == {KEY: first}
    monkeypatch.setattr(hidden_units, "eliminate", None)
    assert find_spectra(speech, calibration, moments).mlps[KEY].elimination == first
    with pytest.raises(TypeError):
        spectra_of(speech, calibration)


def test_those_of_another_calibration_are_made_anew(speech, calibration, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    moments = tmp_path / "m.safetensors"
    made = find_spectra(speech, calibration, moments)
    Eliminations(calibration="another", mlps={}).save(units_file(moments))
    again = find_spectra(speech, calibration, moments)
    assert again.mlps[KEY].elimination == made.mlps[KEY].elimination
    assert (
        Eliminations.load(units_file(moments)).calibration
        == f"{calibration.provenance.task}, weighed"
    )


def test_nothing_is_kept_where_no_units_may_go(speech, calibration, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert find_spectra(speech, calibration, tmp_path / "m.safetensors", units=False).mlps == {}
    assert find_spectra(speech, calibration, None).mlps
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "does not hold eliminations.*delete it"),
        ('{"calibration": "x", "version": 1}', "'mlps' is missing"),
        (
            '{"calibration": "x", "mlps": {"a": {"order": [0]}}, "version": 1}',
            "'losses' is missing",
        ),
        ('{"calibration": "x", "mlps": {}, "version": 2}', "version 2: upgrade"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "u.json").write_text(text)
    with pytest.raises(CalibrationError, match=message):
        Eliminations.load(tmp_path / "u.json")
    with pytest.raises(CalibrationError, match="cannot read"):
        Eliminations.load(tmp_path / "none.json")
