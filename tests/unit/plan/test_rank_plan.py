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
    ["", "[]", '{"layers": []}', '{"version": 2, "layers": []}', '{"version": 1}', "\x00"],
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
