"""The sections of a report: what there is to say, each with its picture or table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from liteasr.refinement.plot import curve_figure
from liteasr.report.contents import Contents
from liteasr.report.pictures import draw_bars, draw_fronts, draw_ranks, draw_spectra, svg_of
from liteasr.report.tables import Table, benchmark_table, score_table, sweep_table
from liteasr.report.texts import Passage, passages

__all__ = ["Section", "sections_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A heading and what stands below it; what is empty is left out.

    Attributes:
        key: Anchor, and name of the picture's file.
        title: Heading.
        note: How to read it.
        picture: An SVG element.
        table: Cells of text.
        passages: Texts side by side.
        facts: Conditions by name.
    """

    key: str
    title: str
    note: str = ""
    picture: str | None = None
    table: Table | None = None
    passages: tuple[Passage, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def sections_of(contents: Contents, texts: int) -> list[Section]:
    """Every section that the results allow, in order."""
    makers: tuple[Callable[[Contents], list[Section]], ...] = (
        _front,
        _scores,
        _speeds,
        _ranks,
        _spectra,
        _curves,
        lambda given: _texts(given, texts),
        _conditions,
    )
    return [section for make in makers for section in make(contents)]


def _front(contents: Contents) -> list[Section]:
    if contents.sweep is None:
        return []
    points = {cost: contents.points(cost) for cost in ("parameters", "flops", "ms")}
    drawn = {cost: given for cost, given in points.items() if len(given) > 1}
    skipped = "".join(f" {label}: {why}." for label, why in contents.sweep.skipped.items())
    note = (
        "Down and left is better; the gray line joins the models that no other beats in both. "
        "Bars are 95 % bootstrap intervals. KL is that of the decoder's tokens, dense to reduced, "
        "on clips that did not calibrate." + skipped
    )
    return [
        Section(
            key="front",
            title="Size, speed and quality",
            note=note,
            picture=svg_of(draw_fronts(drawn, contents.quality)) if drawn else None,
            table=sweep_table(contents),
        )
    ]


def _scores(contents: Contents) -> list[Section]:
    if contents.matrix is None:
        return []
    note = (
        "Corpus rates: all errors over all reference words. The difference is drawn on the same "
        "utterances for both models: an interval without 0 says that they differ. The clip mean is "
        "the paper's metric, the mean of single clips' rates, and no corpus rate. Silence, bursts "
        "and loops count utterances in which text was made up."
    )
    return [
        Section(
            key="scores",
            title="Error rates by corpus",
            note=note,
            picture=svg_of(draw_bars(contents.matrix)),
            table=score_table(contents.matrix),
        )
    ]


def _speeds(contents: Contents) -> list[Section]:
    if contents.benchmark is None:
        return []
    skipped = "".join(f" {name}: {why}." for name, why in contents.benchmark.skipped.items())
    note = (
        "Medians with quartiles over interleaved rounds; times as fast: the first model's time "
        "over this one's, clip by clip." + (f" Left out:{skipped}" if skipped else "")
    )
    table = benchmark_table(contents.benchmark)
    return [Section(key="speeds", title="Speed and memory", note=note, table=table)]


def _ranks(contents: Contents) -> list[Section]:
    rows = contents.sweep.rows if contents.sweep else ()
    plans = {row.label: row.plan for row in rows if row.plan is not None}
    if not plans:
        return []
    note = (
        "Brightness is the share of a layer's weights that is left; the number is the rank of a "
        "chain, the width of a head or the hidden units of an MLP, a dash a dense layer."
    )
    picture = svg_of(draw_ranks(plans))
    return [Section(key="ranks", title="Ranks by layer", note=note, picture=picture)]


def _spectra(contents: Contents) -> list[Section]:
    if contents.sweep is None or not contents.sweep.spectra:
        return []
    note = "How the variance of each layer's output falls with the component, on calibration audio."
    picture = svg_of(draw_spectra(contents.sweep.spectra))
    return [Section(key="spectra", title="Spectra", note=note, picture=picture)]


def _curves(contents: Contents) -> list[Section]:
    rows = contents.sweep.rows if contents.sweep else ()
    return [
        Section(
            key=f"refinement-{place}",
            title=f"Refinement of {row.label}",
            note="Distance to the original encoder's output, as the decoder reads it.",
            picture=svg_of(curve_figure(row.refinement)),
        )
        for place, row in enumerate(rows)
        if row.refinement is not None
    ]


def _texts(contents: Contents, count: int) -> list[Section]:
    if contents.matrix is None or count < 1:
        return []
    note = (
        "The utterances on which models differ most, after normalization. Orange was heard as "
        "something else, blue was never said, struck out in red was left out."
    )
    chosen = tuple(passages(contents.matrix, count, contents.rules))
    return [Section(key="texts", title="Texts side by side", note=note, passages=chosen)]


def _conditions(contents: Contents) -> list[Section]:
    facts: dict[str, Any] = {}
    if contents.sweep is not None:
        facts |= {**contents.sweep.facts, **contents.sweep.environment}
    elif contents.matrix is not None:
        facts |= contents.matrix.cells[0].report.environment
    if contents.matrix is not None:
        facts["normalizer"] = contents.rules
    if contents.benchmark is not None:
        found = contents.benchmark
        facts |= {**found.machine, **found.versions, **found.audio, **found.method}
    return [Section(key="conditions", title="Conditions", facts=facts)]
