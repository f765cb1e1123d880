"""Writing a report: one HTML file that opens without a network, and Markdown with pictures."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from liteasr._optional import require
from liteasr.atomic import write_text
from liteasr.report.contents import Contents
from liteasr.report.sections import Section, sections_of
from liteasr.report.tables import markdown_table
from liteasr.report.texts import MarkedText

__all__ = ["write_report"]

MARKS = {"hit": "{}", "substituted": "**{}**", "inserted": "*+{}*", "deleted": "~~{}~~"}


def write_report(
    contents: Contents, output: str | os.PathLike[str] | None = None, *, texts: int = 12
) -> Path:
    """Write ``report.html``, and beside it ``report.md`` with its pictures in ``pictures/``.

    Args:
        contents: What `read_contents` gave.
        output: The HTML file; in the directory of the results where left out.
        texts: Utterances that are shown with every model's text.

    Raises:
        MissingDependencyError: The extra ``report`` is not installed.
        StorageError: The disk refused.
    """
    page = Path(output) if output is not None else contents.directory / "report.html"
    title, lead = _headline(contents)
    sections = sections_of(contents, texts)
    write_text(page, _html(title, lead, sections))
    for section in sections:
        if section.picture is not None:
            write_text(page.parent / "pictures" / f"{section.key}.svg", section.picture)
    write_text(page.with_suffix(".md"), _markdown(title, lead, sections))
    return page


def _headline(contents: Contents) -> tuple[str, str]:
    if contents.sweep is not None:
        made = len(contents.sweep.rows) - 1
        return (
            f"{contents.sweep.model}: sizes and methods",
            f"{made} reduced models from one calibration, each compared with the original.",
        )
    models = contents.matrix.models if contents.matrix is not None else ()
    if contents.benchmark is not None and not models:
        models = tuple(row.label for row in contents.benchmark.rows)
    return "Speech recognizers compared", ", ".join(models)


def _html(title: str, lead: str, sections: list[Section]) -> str:
    jinja2 = require("jinja2", extra="report")
    source = (files("liteasr.report") / "templates" / "page.html.jinja").read_text("utf-8")
    template = jinja2.Environment(autoescape=True, trim_blocks=True).from_string(source)
    text: str = template.render(title=title, lead=lead, sections=sections)
    return text


def _markdown(title: str, lead: str, sections: list[Section]) -> str:
    blocks = [f"# {title}", lead]
    for section in sections:
        blocks.append(f"## {section.title}")
        if section.note:
            blocks.append(section.note)
        if section.picture is not None:
            blocks.append(f"![{section.title}](pictures/{section.key}.svg)")
        if section.table is not None:
            blocks.append(markdown_table(section.table))
        for passage in section.passages:
            lines = [f"**{passage.id}** ({passage.corpus})", f"- said: {passage.reference}"]
            lines += [f"- {text.model}: {_marked(text)}" for text in passage.texts]
            blocks.append("\n".join(lines))
        blocks.extend(f"- `{name}`: {value}" for name, value in section.facts.items())
    return "\n\n".join(blocks) + "\n"


def _marked(text: MarkedText) -> str:
    return " ".join(MARKS[kind].format(words) for kind, words in text.pieces)
