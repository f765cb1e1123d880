import json
import logging
from pathlib import Path

import pytest

from liteasr.errors import LiteASRError, PlanError
from liteasr.plan import LayerPlan, RankPlan


def chain(name: str = "layers.0.fc1", rank: int | None = 16, form: str = "chain") -> LayerPlan:
    return LayerPlan(
        name=name,
        form=form,  # type: ignore[arg-type]
        rank=rank,
        in_features=64,
        out_features=256,
        reason="keeps more than 0.99",
        explained=0.995,
    )


def plan() -> RankPlan:
    dense = chain("layers.0.fc2", rank=None, form="dense")
    return RankPlan(model="tiny", rule="threshold", options={"mlp": 0.99}, layers=(chain(), dense))


def test_json_round_trip(tmp_path: Path) -> None:
    plan().save(tmp_path / "plan.json")
    assert RankPlan.load(tmp_path / "plan.json") == plan()


def test_parameters_are_counted_per_form() -> None:
    assert plan().parameters == 16 * (64 + 256) + 64 * 256
    assert plan().dense_parameters == 2 * 64 * 256


def test_layers_are_found_by_name() -> None:
    assert plan()["layers.0.fc1"].rank == 16
    assert [layer.name for layer in plan()] == ["layers.0.fc1", "layers.0.fc2"]
    with pytest.raises(PlanError, match=r"no layer 'layers\.9\.fc1'"):
        _ = plan()["layers.9.fc1"]


@pytest.mark.parametrize("rank", [0, -3, 65])
def test_impossible_ranks_are_refused_with_the_limit(rank: int) -> None:
    with pytest.raises(PlanError, match=f"between 1 and 64, got {rank}"):
        chain(rank=rank)


@pytest.mark.parametrize(("form", "rank"), [("dense", 16), ("chain", None), ("tucker", 16)])
def test_forms_and_ranks_must_agree(form: str, rank: int | None) -> None:
    with pytest.raises(PlanError):
        chain(rank=rank, form=form)


def test_heads_keep_their_share_of_the_weights() -> None:
    common = {"rank": 12, "in_features": 64, "out_features": 128, "head_dim": 16}
    query = LayerPlan(name="q", form="heads_out", **common)  # type: ignore[arg-type]
    output = LayerPlan(name="o", form="heads_in", **common)  # type: ignore[arg-type]
    assert query.shape == (64, 96)
    assert output.shape == (48, 128)
    assert query.parameters == output.parameters == 64 * 128 * 12 // 16
    with pytest.raises(PlanError, match="between 1 and 16, got 17"):
        LayerPlan(name="q", form="heads_out", **{**common, "rank": 17})  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="head_dim"):
        LayerPlan(name="q", form="heads_out", **{**common, "head_dim": None})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": []}, "no layers"),
        ({"layers": {"a": 1}}, "not a rank plan"),
        ({"layers": [1]}, "not a rank plan"),
        ({"options": []}, "'options' must be"),
        ({"version": True}, "version"),
    ],
)
def test_what_hands_can_do_to_a_plan_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        RankPlan.from_dict({**plan().to_dict(), **change})


@pytest.mark.parametrize(
    "change",
    [{"rank": 16.5}, {"rank": True}, {"rank": "16"}, {"explained": "most"}, {"in_features": "64"}],
)
def test_values_of_the_wrong_kind_name_the_layer(change: dict[str, object]) -> None:
    value = plan().to_dict()
    value["layers"] = [{**value["layers"][0], **change}]
    with pytest.raises(PlanError, match=r"layers\.0\.fc1"):
        RankPlan.from_dict(value)


def test_layers_named_twice_are_refused() -> None:
    value = plan().to_dict()
    value["layers"] = [value["layers"][0], value["layers"][0]]
    with pytest.raises(PlanError, match=r"layers\.0\.fc1 more than once"):
        RankPlan.from_dict(value)


def test_a_folder_is_not_a_plan(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot read a plan"):
        RankPlan.load(tmp_path)


def test_keys_of_the_future_are_dropped_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    value = plan().to_dict()
    value["sparkle"] = True
    value["layers"][0]["sheen"] = 1
    with caplog.at_level(logging.WARNING):
        assert RankPlan.from_dict(value) == plan()
    assert "sparkle" in caplog.text
    assert "sheen" in caplog.text


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"layers": []}', '{"version": 99, "layers": []}', '{"version": 1}', "\x00"],
)
def test_files_that_are_not_plans_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(PlanError):
        RankPlan.load(tmp_path / "plan.json")


def test_incomplete_layers_are_refused() -> None:
    value = json.loads(json.dumps(plan().to_dict()))
    del value["layers"][0]["in_features"]
    with pytest.raises(PlanError, match="in_features"):
        RankPlan.from_dict(value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="liteasr plan"):
        RankPlan.load(tmp_path / "plan.json")


def test_plan_errors_are_value_errors_in_our_tree() -> None:
    assert issubclass(PlanError, ValueError)
    assert issubclass(PlanError, LiteASRError)
