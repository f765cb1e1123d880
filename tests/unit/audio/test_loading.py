import io
import logging
from pathlib import Path

import av
import numpy as np
import pytest

from liteasr.audio import duration_s, is_silent, load_audio
from liteasr.errors import AudioError
from tiny_audio import write_wav

TONE_HZ = 440.0
FORMATS = {  # file name: (codec, sample rate, layout, sample format)
    "u8.wav": ("pcm_u8", 16_000, "mono", "u8"),
    "s16.wav": ("pcm_s16le", 44_100, "stereo", "s16"),
    "s24.wav": ("pcm_s24le", 48_000, "mono", "s32"),
    "f32.wav": ("pcm_f32le", 8_000, "mono", "flt"),
    "a.flac": ("flac", 22_050, "stereo", "s16"),
    "a.mp3": ("libmp3lame", 44_100, "stereo", "fltp"),
    "a.m4a": ("aac", 44_100, "mono", "fltp"),
    "a.ogg": ("vorbis", 44_100, "stereo", "fltp"),
    "a.opus": ("libopus", 48_000, "mono", "s16"),
    "a.webm": ("libopus", 48_000, "stereo", "s16"),
    "a.mp4": ("aac", 48_000, "stereo", "fltp"),
    "a.aiff": ("pcm_s16be", 44_100, "stereo", "s16"),
    "a.caf": ("pcm_s16be", 44_100, "mono", "s16"),
    "a.g722": ("g722", 16_000, "mono", "s16"),
    "a.3gp": ("aac", 44_100, "mono", "fltp"),
}


def tone(seconds: float, rate_hz: int) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * TONE_HZ * np.arange(int(seconds * rate_hz)) / rate_hz)


def encode(
    path: Path, seconds: float, *, with_video: bool = False, with_audio: bool = True
) -> Path:
    codec, rate_hz, layout, kind = FORMATS.get(path.name, FORMATS["a.mp4"])
    channels = 2 if layout == "stereo" else 1
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=5) if with_video else None
        if video is not None:
            video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        loose = {"strict": "experimental"}  # the built-in Vorbis encoder is marked so
        audio = (
            container.add_stream(codec, rate=rate_hz, layout=layout, options=loose)
            if with_audio
            else None
        )
        if video is not None:
            for _ in range(int(seconds * 5)):
                picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), "u1"), format="rgb24")
                container.mux(video.encode(picture))
            container.mux(video.encode(None))
        if audio is not None:
            samples = np.tile(tone(seconds, rate_hz).astype(np.float32), (channels, 1))
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
            frame.sample_rate = rate_hz
            resampler = av.AudioResampler(format=kind, layout=layout, rate=rate_hz)
            fifo = av.AudioFifo()
            for ready in [*resampler.resample(frame), *resampler.resample(None)]:
                fifo.write(ready)
            size = audio.codec_context.frame_size or 1024
            while (chunk := fifo.read(size, partial=True)) is not None:
                container.mux(audio.encode(chunk))
            container.mux(audio.encode(None))
    return path


def pitch_hz(waveform: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(np.fft.rfftfreq(len(waveform), 1 / 16_000)[spectrum.argmax()])


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_keeps_pitch_length_and_level(tmp_path: Path, name: str) -> None:
    waveform = load_audio(encode(tmp_path / name, 2.0))
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert duration_s(waveform) == pytest.approx(2.0, abs=0.06)  # codecs pad by a frame
    assert pitch_hz(waveform) == pytest.approx(TONE_HZ, abs=1.0)
    assert np.abs(waveform[4000:-4000]).max() == pytest.approx(0.5, abs=0.05)


def test_the_audio_track_of_a_video_is_used(tmp_path: Path) -> None:
    waveform = load_audio(encode(tmp_path / "film.mp4", 2.0, with_video=True))
    assert pitch_hz(waveform) == pytest.approx(TONE_HZ, abs=1.0)


def test_path_text_bytes_and_open_file_agree(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.flac", 1.0)
    expected = load_audio(path)
    with path.open("rb") as file:
        opened = load_audio(file)
    for other in (load_audio(str(path)), load_audio(path.read_bytes()), opened):
        np.testing.assert_array_equal(other, expected)


def test_16_khz_wav_is_read_to_the_sample(tmp_path: Path, rng: np.random.Generator) -> None:
    samples = rng.uniform(-0.9, 0.9, 12_345).astype(np.float32)
    found = load_audio(write_wav(tmp_path / "a.wav", samples))
    np.testing.assert_allclose(found, samples, atol=2 / 32767)


def test_stereo_is_the_mean_of_its_channels(tmp_path: Path) -> None:
    left, right = tone(1.0, 16_000), np.zeros(16_000)
    path = tmp_path / "s.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=16_000, layout="stereo")
        both = np.stack([left, right], axis=1).astype(np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(both, format="flt", layout="stereo")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    np.testing.assert_allclose(load_audio(path), left / 2, atol=1e-4)


def test_missing_folders_and_garbage_are_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"none\.wav does not exist"):
        load_audio(tmp_path / "none.wav")
    with pytest.raises(AudioError, match="is a folder"):
        load_audio(tmp_path)
    (tmp_path / "text.wav").write_text("this is not audio")
    with pytest.raises(AudioError, match=r"text\.wav cannot be decoded"):
        load_audio(tmp_path / "text.wav")
    with pytest.raises(AudioError, match="audio of 3 bytes"):
        load_audio(b"abc")
    with pytest.raises(AudioError, match="audio stream"):
        load_audio(io.BytesIO(b""))


def test_video_without_sound_says_so(tmp_path: Path) -> None:
    path = encode(tmp_path / "mute.mp4", 1.0, with_video=True, with_audio=False)
    with pytest.raises(AudioError, match=r"mute\.mp4 has no audio track"):
        load_audio(path)


def test_no_samples_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="0 samples"):
        load_audio(write_wav(tmp_path / "a.wav", np.zeros(0)))


@pytest.mark.parametrize("name", ["a.flac", "a.m4a"])
def test_a_file_cut_short_is_an_error(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, 4.0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match=r"cut short|damaged|decoded"):
        load_audio(path)


def test_a_damaged_start_is_skipped_with_a_warning(tmp_path: Path, caplog) -> None:  # type: ignore[no-untyped-def]
    path = encode(tmp_path / "a.mp3", 8.0)
    content = path.read_bytes()
    path.write_bytes(content[:2000] + bytes(600) + content[2600:])
    with caplog.at_level(logging.WARNING, logger="liteasr"):
        waveform = load_audio(path)
    assert duration_s(waveform) == pytest.approx(8.0, abs=0.3)
    assert pitch_hz(waveform) == pytest.approx(TONE_HZ, abs=1.0)


def test_damage_everywhere_is_an_error(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 6.0)
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 200
    noise = np.random.default_rng(0).integers(0, 256, size=8000, dtype=np.uint8).tobytes()
    content[start : start + len(noise)] = noise
    path.write_bytes(bytes(content))
    with pytest.raises(AudioError, match=r"a\.mp4"):
        load_audio(path)


def test_nan_samples_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "nan.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.full((1, 1600), np.nan, dtype=np.float32), format="flt", layout="mono"
        )
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError, match="NaN or infinite"):
        load_audio(path)


def test_silence_is_recognized() -> None:
    assert is_silent(np.zeros(100, dtype=np.float32))
    assert is_silent(np.full(100, 5e-5, dtype=np.float32))
    assert not is_silent(np.full(100, 1e-3, dtype=np.float32))
