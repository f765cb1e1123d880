import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from liteasr.artefacts import latency_file
from liteasr.calibration import Calibration
from liteasr.checkpoint import load, load_model
from liteasr.corpus import load_corpus, write_manifest
from liteasr.plan import LayerPlan, RankPlan, measure_latency
from tiny_latency import made_up

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def labelled(recordings: Path, tmp_path: Path) -> Path:
    corpus = load_corpus(recordings)
    lines = [json.dumps({"audio": str(u.audio), "text": "a b", "language": "en"}) for u in corpus]
    (tmp_path / "test.jsonl").write_text("\n".join(lines[:2]))
    return tmp_path / "test.jsonl"


def test_calibrate_plan_compress_transcribe_evaluate(  # type: ignore[no-untyped-def]
    run: Run, model: Path, recordings: Path, labelled: Path, tmp_path: Path
) -> None:
    moments, plan, lite = tmp_path / "m.safetensors", tmp_path / "plan.json", tmp_path / "lite"
    code, out, err = run("calibrate", model, "--audio", recordings, "-o", moments)
    assert code == 0
    assert "6 utterances" in out
    assert "Calibrating" in err

    code, out, _ = run("plan", model, "-m", moments, "--thresholds", "0.97:0.9", "-o", plan)
    assert code == 0
    assert "layers.0.self_attn.q_proj" in out
    assert RankPlan.load(plan).options["attention"] == 0.97

    code, out, err = run("compress", model, "-m", moments, "--plan", plan, "-o", lite)
    assert code == 0, err
    assert "layers reduced" in out
    assert (lite / "liteasr.json").is_file()

    clip = recordings / "clip-0.wav"
    code, out, err = run("transcribe", clip, "--model", lite, "--language", "en", "-f", "srt")
    assert code == 0, err

    kept = tmp_path / "hypotheses"
    code, out, err = run("evaluate", model, lite, "--corpus", labelled, "--hypotheses", kept)
    assert code == 0, err
    assert "WER" in out
    assert "clip mean (paper)" in out
    assert (kept / "lite.jsonl").is_file()


def test_machines_get_json_and_quiet_is_silent(  # type: ignore[no-untyped-def]
    run: Run, model: Path, recordings: Path, labelled: Path, tmp_path: Path
) -> None:
    moments, lite = tmp_path / "m.safetensors", tmp_path / "lite"
    for arguments in (
        ("calibrate", model, "--audio", recordings, "-o", moments, "--samples", "6"),
        ("plan", model, "-m", moments, "--preset", "fast"),
        (
            "compress",
            model,
            "-m",
            moments,
            "--audio",
            recordings,
            "--samples",
            "6",
            "-o",
            lite,
            "--layout",
            "lite-whisper",
        ),
        ("transcribe", recordings / "clip-0.wav", "--model", lite, "--language", "de"),
        ("evaluate", lite, "--corpus", labelled, "--samples", "1"),
        ("models",),
    ):
        code, out, err = run(*arguments, "--json", "-q")
        assert (code, err) == (0, ""), arguments
        json.loads(out)


def test_quiet_does_not_hide_warnings(
    run: Run, model: Path, recordings: Path, tmp_path: Path
) -> None:
    clip = recordings / "clip-0.wav"
    code, out, err = run("calibrate", model, "--audio", clip, "-o", tmp_path / "m", "-q", "--json")
    assert code == 0
    assert "add audio until there are at least 640 frames" in " ".join(err.split())
    assert "Calibrating" not in err
    assert json.loads(out)["utterances"] == 1


def test_a_budget_probes_once_and_keeps_the_result(
    run: Run, model: Path, recordings: Path, tmp_path: Path
) -> None:
    moments, lite = tmp_path / "m.safetensors", tmp_path / "lite"
    code, out, err = run(
        "compress", model, "--audio", recordings, "-m", moments, "--keep", 0.75, "-o", lite
    )
    assert code == 0, err
    assert "Probing" in err
    assert (tmp_path / "m.sensitivity.json").is_file()
    code, out, err = run("plan", model, "-m", moments, "--keep", 0.8, "--json")
    assert code == 0, err
    assert "Probing" not in err
    assert RankPlan.from_dict(json.loads(out)).rule == "budget"


def test_hidden_units_go_unless_they_must_not(
    run: Run, model: Path, recordings: Path, tmp_path: Path
) -> None:
    asked = ("--audio", recordings, "--keep", 0.6)
    forms = {}
    for option in ("--units", "--no-units"):
        moments, lite = tmp_path / f"m{option}.safetensors", tmp_path / f"lite{option}"
        assert run("calibrate", model, "--audio", recordings, "-o", moments, option)[0] == 0
        code, _, err = run("compress", model, "-m", moments, *asked, option, "-o", lite)
        assert code == 0, err
        forms[option] = {layer.form for layer in load(lite).plan}
        assert bool(Calibration.load(moments).hidden) == (option == "--units")
        assert (tmp_path / f"m{option}.units.json").is_file() == (option == "--units")
        assert "plans cannot remove units" not in err
    assert {"units_out", "units_in"} <= forms["--units"]
    assert not {"units_out", "units_in"} & forms["--no-units"]
    code, _, err = run("plan", model, "-m", tmp_path / "m--no-units.safetensors", "--keep", 0.8)
    assert code == 0, err
    assert " ".join(err.split()).count("calibrate again with them (--units)") == 1


def test_a_speed_up_is_planned_by_kept_latencies(
    run: Run, model: Path, recordings: Path, tmp_path: Path
) -> None:
    moments, lite = tmp_path / "m.safetensors", tmp_path / "lite"
    measure_latency(load_model(model), stopwatch=made_up).save(latency_file(moments))
    code, out, err = run(
        "compress", model, "--audio", recordings, "-m", moments, "--speedup", 1.2, "-o", lite,
        "--json",
    )  # fmt: skip
    assert code == 0, err
    assert "Measuring" not in err
    assert "encoder 400.0 ms -> " in err
    found = json.loads(out)["latency"]
    assert found["expected_ms"] <= found["dense_ms"] / 1.2
    code, out, err = run("plan", model, "-m", moments, "--speedup", 1.2, "--json")
    assert code == 0, err
    assert "ms expected" in err
    assert json.loads(out)["options"]["latency"] == found
    code, out, err = run("plan", model, "-m", moments, "--speedup", 9)
    assert code == 1
    assert "the largest speed-up is 1." in err


def test_transcripts_go_to_files(run: Run, model: Path, recordings: Path, tmp_path: Path) -> None:
    clip = recordings / "clip-1.wav"
    code, out, err = run(
        "transcribe", clip, "--model", model, "--language", "en", "-f", "all", "-o", tmp_path / "o"
    )
    assert code == 0, err
    assert out == ""
    endings = {path.suffix for path in (tmp_path / "o").iterdir()}
    assert endings == {".txt", ".srt", ".vtt", ".tsv", ".json"}


@pytest.mark.parametrize("machine", [(), ("--json",)])
def test_one_bad_recording_does_not_cost_the_others(
    run: Run, model: Path, recordings: Path, tmp_path: Path, machine: tuple[str, ...]
) -> None:
    good = [recordings / "clip-0.wav", recordings / "clip-1.wav"]
    bad = [tmp_path / "[none].wav", tmp_path / "broken.wav"]
    bad[1].write_bytes(b"RIFF")
    given = (good[0], bad[0], bad[1], good[1])
    one_word = ("--model", model, "--language", "en", "-q")
    code, out, err = run("transcribe", *given, *one_word, *machine)
    assert code == 1
    assert [line.split()[1] for line in err.splitlines()] == [str(path) for path in bad]
    _, alone, _ = run("transcribe", *good, *one_word, *machine)
    assert out == alone
    if machine:
        assert [item["audio"] for item in json.loads(out)] == [str(path) for path in good]


def test_outputs_of_one_name_are_refused_before_the_work(
    run: Run, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "out"
    for arguments, finding in (
        (("transcribe", "a/talk.mp3", "b/talk.mp3", "-o", kept), "talk.txt"),
        (("transcribe", "talk.mp3", "talk.wav", "-o", kept, "-f", "srt"), "talk.srt"),
        (("evaluate", "a/lite", "lite", "--corpus", labelled, "--hypotheses", kept), "lite.jsonl"),
        (("evaluate", ".", tmp_path, "--corpus", labelled, "--hypotheses", kept), tmp_path.name),
    ):
        code, _, err = run(*arguments)
        assert code == 2, err
        assert finding in err
        assert not kept.exists()


def test_hypotheses_of_the_current_directory_have_its_name(
    run: Run, model: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model)
    code, _, err = run("evaluate", ".", "--corpus", labelled, "--hypotheses", tmp_path / "kept")
    assert code == 0, err
    assert [path.name for path in (tmp_path / "kept").glob("*l")] == [f"{model.name}.jsonl"]


def test_models_lists_names_and_architectures(run: Run) -> None:
    code, out, _ = run("models")
    assert code == 0
    out = " ".join(out.split())  # lines break where the terminal ends
    assert "whisper-base" in out
    assert "architectures: data2vec-audio, hubert, moonshine, parakeet_ctc" in out
    assert "wav2vec2, wavlm, whisper" in out


@pytest.mark.parametrize(
    "command",
    [
        "",
        "calibrate",
        "plan",
        "compress",
        "refine",
        "transcribe",
        "evaluate",
        "sweep",
        "benchmark",
        "report",
    ],
)
def test_help_explains_with_an_example(run: Run, command: str) -> None:
    code, out, _ = run(*([command] if command else []), "--help")
    assert code == 0
    assert "liteasr" in out
    assert "Example" in out or not command


def test_version(run: Run) -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("liteasr 0.")


def test_wrong_usage_exits_with_2(run: Run, model: Path, tmp_path: Path) -> None:
    lite = tmp_path / "lite"
    for arguments, message in (
        (("compress", model, "-o", lite), "--audio"),
        (("compress", model, "-o", lite, "-m", "m", "--plan", "p", "--preset", "fast"), "not both"),
        (("plan", model, "--preset", "sparkle"), "acc, plain, fast"),
        (
            ("plan", model, "--preset", "fast", "--thresholds", "0.9:0.9"),
            "not preset and thresholds",
        ),
        (("plan", model, "--keep", "0.5"), "give --audio"),
        (("plan", model), "give --audio"),
        (("plan", model, "--speedup", "0.5"), "speedup must be at least 1"),
        (("plan", model, "--speedup", "2", "--keep", "0.5"), "not keep and speedup"),
        (("compress", model, "-o", lite, "-m", "m", "--refine"), "--refine trains on audio"),
        (("compress", model, "-o", lite, "-m", "m", "--keep", "0.5"), "give --audio"),
        (("plan", model, "--keep", "1.5"), "keep must be in"),
        (("plan", model, "--thresholds", "0.9"), "0.99:0.999"),
        (("transcribe", "a.wav", "-f", "docx"), "docx"),
        (("transcribe", "a.wav", "-f", "all"), "--output-dir"),
        (("transcribe", "a.wav", "--task", "sing"), "sing"),
        (("sparkle",), "sparkle"),
    ):
        code, _, err = run(*arguments)
        assert code == 2, arguments
        assert message in err


def test_our_errors_exit_with_1_and_one_line(run: Run, model: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    for arguments, message in (
        (("transcribe", tmp_path / "none.wav", "--model", model), "does not exist"),
        (("transcribe", broken, "--model", model), "cannot be decoded"),
        (("transcribe", broken, "--model", "no-such-model"), "no-such-model"),
        (("calibrate", model, "--audio", empty), "holds no audio"),
        (("plan", model, "-m", tmp_path / "none", "--preset", "acc"), "liteasr calibrate"),
        (("evaluate", model, "--corpus", tmp_path / "none.jsonl"), "does not exist"),
    ):
        code, out, err = run(*arguments)
        assert (code, out) == (1, ""), (arguments, err)
        assert message in err
        assert "Traceback" not in err


def test_a_plan_that_the_layout_cannot_hold_is_refused_before_the_work(
    run: Run, model: Path, recordings: Path, tmp_path: Path
) -> None:
    by_head = dict(form="heads_out", rank=8, head_dim=16, in_features=64, out_features=64)
    layer = LayerPlan(name="layers.0.self_attn.q_proj", **by_head)  # type: ignore[arg-type]
    RankPlan(model="tiny", rule="test", layers=(layer,)).save(tmp_path / "plan.json")
    options = ("--plan", tmp_path / "plan.json", "--layout", "lite-whisper", "-o", tmp_path / "x")
    code, _, err = run("compress", model, "--audio", recordings, *options)
    assert code == 1
    assert "knows only chains" in err
    assert "Calibrating" not in err


def test_messages_are_not_markup(run: Run, tmp_path: Path) -> None:
    odd = tmp_path / "[red]:smile:none\\"
    code, _, err = run("plan", "whisper-base", "-m", odd, "--preset", "acc")
    assert code == 1
    assert err.startswith(f"error: no moments at {odd}: ")


def test_an_existing_checkpoint_is_refused_before_the_work(
    run: Run, model: Path, recordings: Path, tmp_path: Path
) -> None:
    (tmp_path / "lite").mkdir()
    (tmp_path / "lite" / "file").write_text("keep me")
    code, _, err = run("compress", model, "--audio", recordings, "-o", tmp_path / "lite")
    assert code == 1
    assert "exists already" in err
    assert "Calibrating" not in err


def test_compressed_models_are_refused_before_the_work(
    run: Run, model: Path, recordings: Path, tmp_path: Path
) -> None:
    lite = tmp_path / "lite"
    assert run("compress", model, "--audio", recordings, "--preset", "fast", "-o", lite)[0] == 0
    for command, output in (("compress", tmp_path / "again"), ("calibrate", tmp_path / "m")):
        code, _, err = run(command, lite, "--audio", recordings, "-o", output)
        assert code == 1
        assert "lite is compressed already" in err
        assert "Calibrating" not in err


def test_places_that_cannot_be_written_are_refused_before_the_work(
    run: Run, model: Path, recordings: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("keep me")
    bad = tmp_path / "file" / "out"
    for arguments in (
        ("calibrate", model, "--audio", recordings, "-o", bad),
        ("calibrate", model, "--audio", recordings, "-o", tmp_path),
        ("compress", model, "--audio", recordings, "-o", bad),
        ("compress", model, "--audio", recordings, "-o", bad, "--overwrite"),
        ("compress", model, "--audio", recordings, "-o", tmp_path / "lite", "-m", bad),
    ):
        code, _, err = run(*arguments)
        assert code == 1, arguments
        assert "cannot write" in err or "is a folder" in err
        assert "Calibrating" not in err


def test_a_file_in_the_place_of_the_checkpoint_is_refused(
    run: Run, model: Path, recordings: Path, tmp_path: Path
) -> None:
    (tmp_path / "lite").write_text("keep me")
    code, _, err = run("compress", model, "--audio", recordings, "-o", tmp_path / "lite")
    assert code == 1
    assert "exists already" in err


@pytest.mark.parametrize(("stop", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_calibration_keeps_the_work(  # type: ignore[no-untyped-def]
    run: Run,
    model: Path,
    recordings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: signal.Signals,
    expected: int,
) -> None:
    from liteasr.calibration.places import Places

    real, calls = Places.run, []

    def interrupted(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 4:
            signal.raise_signal(stop)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Places, "run", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    moments = tmp_path / "m.safetensors"
    # a process started in the background ignores SIGINT
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    code, _, err = run("calibrate", model, "--audio", recordings, "-o", moments)
    signal.signal(signal.SIGINT, inherited)
    assert code == expected
    assert signal.getsignal(signal.SIGTERM) is before
    assert "3 of 6 utterances" in err
    assert (tmp_path / "m.safetensors.partial").is_file()
    code, out, _ = run("calibrate", model, "--audio", recordings, "-o", moments)
    assert code == 0
    assert "6 utterances" in out
    assert not (tmp_path / "m.safetensors.partial").exists()


def test_a_checkpoint_stopped_while_it_is_written_is_not_there(
    run: Run, model: Path, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminated(weights: object, folder: Path, **_: object) -> None:
        (Path(folder) / "model.safetensors").write_bytes(b"half")
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("huggingface_hub.save_torch_state_dict", terminated)
    code, _, _ = run("compress", model, "--audio", recordings, "-o", tmp_path / "lite")
    assert code == 143
    assert list(tmp_path.iterdir()) == []


def test_threads_are_set(run: Run, model: Path, recordings: Path, tmp_path: Path) -> None:
    import torch

    before = torch.get_num_threads()
    run("calibrate", model, "--audio", recordings, "-o", tmp_path / "m", "--threads", 1, "-q")
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)


def test_manifests_are_written_for_the_next_step(recordings: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path / "part.jsonl", load_corpus(recordings).sample(2))
    assert len(load_corpus(tmp_path / "part.jsonl")) == 2


def test_positions_are_pooled_from_a_block_on(
    run: Run, model: Path, recordings: Path, tmp_path: Path
) -> None:
    moments, plan, lite = tmp_path / "m.safetensors", tmp_path / "plan.json", tmp_path / "lite"
    pooled = ("--pool-from", 1, "-q")
    code, _, err = run("calibrate", model, "--audio", recordings, "-o", moments, *pooled)
    assert code == 0, err
    code, _, err = run(
        "plan", model, "-m", moments, "--audio", recordings, "--keep", 0.8, "-o", plan, *pooled
    )
    assert code == 0, err
    assert json.loads(plan.read_text())["pooled_from"] == 1
    code, _, err = run("compress", model, "-m", moments, "--plan", plan, "-o", lite, "-q")
    assert code == 0, err
    assert load(lite).plan.pooled_from == 1
    refused = (
        (("--plan", plan), "a plan says where positions are pooled"),
        (("--layout", "lite-whisper", "--keep", 0.8), "does not know pooled positions"),
    )
    for options, message in refused:
        code, _, err = run(
            "compress", model, "-m", moments, "-o", tmp_path / "x", *pooled, *options
        )
        assert code == 2
        assert message in err
