import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from liteasr.errors import CheckpointError, EvaluationError, StorageError
from liteasr.report import read_contents, write_card, write_report
from liteasr.report.tables import Table, markdown_table
from liteasr.report.texts import passages


class Reader(HTMLParser):
    """Collects tags with their attributes, and checks that they nest."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "path", "use"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "path", "use"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_holds_everything_and_asks_for_nothing(results: Path) -> None:
    page = write_report(read_contents(results))
    text = page.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert sum(tag == "svg" for tag, _ in reader.tags) == 5
    links = {"src", "href", "xlink:href"}
    fetched = [
        value
        for _, attributes in reader.tags
        for name, value in attributes.items()
        if name in links and not (value or "").startswith(("#", "data:"))
    ]
    assert fetched == []
    assert "<script" not in text
    assert not re.search(r"@import|url\((?!#)", text)
    anchors = {a["id"] for tag, a in reader.tags if tag == "h2"}
    assert anchors == {"front", "scores", "speeds", "ranks", "spectra", "refinement-2", "texts",
                       "conditions"}  # fmt: skip
    for words in ("joint 0.1: too small", "moonshine: not installed", "10.0 (9.0 - 11.0)",
                  "clip mean (paper)"):  # fmt: skip
        assert words in reader.words


def test_errors_are_marked_and_texts_are_no_markup(results: Path) -> None:
    contents = read_contents(results)
    assert contents.matrix is not None
    found = passages(contents.matrix, 20)
    assert len(found) == 8
    spread = [max(t.errors for t in p.texts) - min(t.errors for t in p.texts) for p in found]
    assert spread[-1] == 0
    pieces = {(passage.id, text.model): text.pieces for passage in found for text in passage.texts}
    assert pieces["talks-0", "paper 0.7"] == (
        ("hit", "the cat sat on"), ("substituted", "a"), ("hit", "mat"),
    )  # fmt: skip
    assert ("deleted", "in june") in pieces["talks-1", "paper 0.7"]
    assert ("inserted", "all") in pieces["talks-1", "refined 0.7"]
    text = write_report(contents).read_text(encoding="utf-8")
    assert "we &lt;b&gt;met&lt;/b&gt; in june" in text
    assert "<b>met</b>" not in text
    assert '<span class="deleted" title="deleted">in june</span>' in text


def test_the_same_results_give_the_same_page(results: Path) -> None:
    contents = read_contents(results)
    first = write_report(contents).read_bytes()
    assert write_report(contents).read_bytes() == first


def test_markdown_has_its_pictures_beside_it(results: Path, tmp_path: Path) -> None:
    page = write_report(read_contents(results), results / "out" / "page.html")
    text = page.with_suffix(".md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[.*\]\((.*)\)", text)
    assert len(pictures) == 5
    assert all((page.parent / picture).is_file() for picture in pictures)
    assert "~~in june~~" in text
    assert markdown_table(Table(headings=("a",), rows=(("x|y",),))).endswith("| x\\|y |")


def test_points_meet_cost_and_quality(results: Path) -> None:
    contents = read_contents(results)
    assert contents.quality == "WER"
    assert [point.label for point in contents.points("ms")] == ["dense", "refined 0.7"]
    size = {point.label: (point.cost, point.quality) for point in contents.points("parameters")}
    assert size["dense"] == (1.0, 0.0)
    assert size["paper 0.7"][1] > size["refined 0.7"][1] > 0


@pytest.mark.parametrize("kept", ["sweep.json", "evaluation.json", "benchmark.json"])
def test_a_part_of_the_results_is_enough(results: Path, kept: str) -> None:
    for name in ("sweep.json", "evaluation.json", "benchmark.json"):
        if name != kept:
            (results / name).unlink()
    contents = read_contents(results)
    assert write_report(contents, texts=0).is_file()
    assert contents.quality == ("WER" if kept == "evaluation.json" else "KL")
    if kept == "sweep.json":
        assert [point.quality for point in contents.points("flops")] == [0.0, 0.2, 0.1]


def test_nothing_to_report_is_said(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="liteasr sweep"):
        read_contents(tmp_path)


def test_a_card_is_read_by_the_hub(results: Path) -> None:
    from huggingface_hub import ModelCard

    contents = read_contents(results)
    path = write_card(results / "checkpoints" / "refined-0.7", contents, "refined 0.7")
    card = ModelCard.load(path)
    assert card.data.library_name == "liteasr"
    assert card.data.base_model == "org/tiny"
    assert card.data.language == ["en"]
    scores = {result.dataset_name: result.metric_value for result in card.data.eval_results}
    assert scores == {"talks": 8.33, "calls": 8.33}
    text = path.read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---")[1])
    assert front["model-index"][0]["name"] == "refined-0.7"
    assert "(70.0%)" in text
    assert "fell from 0.5 to 0.2" in text
    assert "| dense |" in text
    assert "| paper 0.7 |" not in text
    write_card(path.parent, None)
    assert "## Scores" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("after", "said"), [(0.2, "fell from 0.5 to 0.2"), (0.5, "stayed at 0.5")])
def test_a_card_tells_a_gain_before_the_first_step_from_none(
    results: Path, after: float, said: str
) -> None:
    """MLPs learn alone before it."""
    folder = results / "checkpoints" / "refined-0.7"
    path = folder / "liteasr.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["refinement"] |= {"after": after, "best_step": 0}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    assert said in write_card(folder).read_text(encoding="utf-8")


def test_a_card_says_where_positions_are_pooled(results: Path) -> None:
    folder = results / "checkpoints" / "paper-0.7"
    assert "pairs of positions" not in write_card(folder).read_text(encoding="utf-8")
    written = folder / "liteasr.json"
    manifest = json.loads(written.read_text())
    manifest["plan"]["pooled_from"] = 1
    written.write_text(json.dumps(manifest))
    assert "From block 1 on" in write_card(folder).read_text(encoding="utf-8")


def test_someone_elses_readme_stays(results: Path) -> None:
    folder = results / "checkpoints" / "paper-0.7"
    (folder / "README.md").write_text("mine")
    with pytest.raises(StorageError, match="not written by liteasr"):
        write_card(folder)
    assert (folder / "README.md").read_text() == "mine"
    with pytest.raises(CheckpointError):
        write_card(results)


def test_loops_do_not_fill_the_page_nor_the_picture(results: Path) -> None:
    from liteasr.evaluation import read_hypotheses, write_hypotheses

    file = results / "paper 0.7.talks.jsonl"
    first, *rest = read_hypotheses(file)
    loop = replace(first, id="/home/me/talks/a.flac", hypothesis="able to be " * 400)
    for name in ("dense", "paper 0.7", "refined 0.7"):
        path = results / f"{name}.talks.jsonl"
        kept = [replace(one, id=loop.id) if one.id == first.id else one
                for one in read_hypotheses(path)]  # fmt: skip
        write_hypotheses([loop, *rest] if name == "paper 0.7" else kept, path)
    text = write_report(read_contents(results)).read_text(encoding="utf-8")
    assert text.count("able to be") < 60
    assert "in all)" in text
    assert "<strong>a.flac</strong>" in text
    assert "/home/me" not in text
