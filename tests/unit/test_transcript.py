import json

import pytest

from liteasr.transcript import FORMATS, Segment, Transcript, Word, write

WORD = Word(start=0.5, end=0.9, word=" Hello", probability=0.75)
TRANSCRIPT = Transcript(
    text="Hello a\tb --> c. Grüße",
    language="en",
    duration_s=3700.5,
    segments=(
        Segment(id=0, start=0.0, end=2.5, text=" Hello a\tb --> c.", tokens=(7, 8), words=(WORD,)),
        Segment(id=1, start=3661.0306, end=3700.5, text=" Grüße", avg_logprob=-0.25),
    ),
    model="tiny",
)


@pytest.mark.parametrize(
    "transcript", [TRANSCRIPT, Transcript(text="", language=None, duration_s=1)]
)
def test_json_round_trip(transcript: Transcript) -> None:
    assert Transcript.from_dict(json.loads(write(transcript, "json"))) == transcript


def test_keys_of_a_later_version_are_dropped() -> None:
    values = TRANSCRIPT.to_dict() | {"mood": "cheerful"}
    values["segments"][0]["words"][0]["speaker"] = 1
    assert Transcript.from_dict(values) == TRANSCRIPT


def test_srt_has_hours_commas_and_numbers() -> None:
    assert write(TRANSCRIPT, "srt") == (
        "1\n00:00:00,000 --> 00:00:02,500\nHello a\tb -> c.\n\n"
        "2\n01:01:01,031 --> 01:01:40,500\nGrüße\n\n"
    )


def test_vtt_has_points_and_hours_only_where_needed() -> None:
    assert write(TRANSCRIPT, "vtt") == (
        "WEBVTT\n\n00:00.000 --> 00:02.500\nHello a\tb -> c.\n\n"
        "01:01:01.031 --> 01:01:40.500\nGrüße\n\n"
    )


def test_tsv_counts_milliseconds_and_keeps_its_tabs() -> None:
    assert write(TRANSCRIPT, "tsv") == (
        "start\tend\ttext\n0\t2500\tHello a b --> c.\n3661031\t3700500\tGrüße\n"
    )


def test_txt_has_one_line_for_each_segment() -> None:
    assert write(TRANSCRIPT, "txt") == "Hello a\tb --> c.\nGrüße\n"


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_an_empty_transcript_can_be_written(format: str) -> None:
    assert "None" not in write(Transcript(text="", language=None, duration_s=0.1), format)


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(ValueError, match=r"json, srt, tsv, txt, vtt, got 'docx'"):
        write(TRANSCRIPT, "docx")
