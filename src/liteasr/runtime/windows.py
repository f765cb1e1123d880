"""How decoded tokens with times become segments, and where the next window starts."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["FRAMES_PER_SECOND", "Span", "split_at_timestamps"]

FRAMES_PER_SECOND = 100
FRAMES_PER_STEP = 2  # a timestamp token counts 20 ms, a mel frame 10 ms


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Some tokens of a window and when they were said.

    Attributes:
        start_frame: Mel frames of 10 ms from the start of the window.
        end_frame: Mel frames from the start of the window.
        first: Index of the span's first token in the window.
        tokens: The tokens, timestamp tokens included.
    """

    start_frame: int
    end_frame: int
    first: int
    tokens: tuple[int, ...]


def split_at_timestamps(
    tokens: Sequence[int], *, timestamp_begin: int, frames: int
) -> tuple[list[Span], int]:
    """Cut a window's tokens at its pairs of timestamps.

    A pair ends one segment and starts the next. What follows the last pair was cut off by the
    window's end and is decoded again by the next window, which starts at that pair; a single
    timestamp at the end says instead that nothing follows it.

    Args:
        tokens: The decoded tokens without the prompt and the end token.
        timestamp_begin: Id of the token ``<|0.00|>``; every id from there on is a time.
        frames: Mel frames of the window that hold audio.

    Returns:
        The spans, and the frames after which the next window starts, at least 1.

    Source: ``transcribe`` of openai/whisper.
    """
    is_time = [token >= timestamp_begin for token in tokens]
    cuts = [i for i in range(1, len(tokens)) if is_time[i - 1] and is_time[i]]
    if not cuts:
        return [_whole(tokens, timestamp_begin, frames)], frames
    ends_in_single = is_time[-2:] == [False, True]
    if ends_in_single:
        cuts.append(len(tokens))
    spans = []
    first = 0
    for cut in cuts:
        part = tuple(tokens[first:cut])
        begin, end = ((part[i] - timestamp_begin) * FRAMES_PER_STEP for i in (0, -1))
        spans.append(Span(start_frame=begin, end_frame=end, first=first, tokens=part))
        first = cut
    advance = frames if ends_in_single else spans[-1].end_frame
    # a pair at 0.00 would start the same window for ever
    return spans, advance if 0 < advance <= frames else frames


def _whole(tokens: Sequence[int], timestamp_begin: int, frames: int) -> Span:
    times = [token - timestamp_begin for token in tokens if token > timestamp_begin]
    end = times[-1] * FRAMES_PER_STEP if times else frames
    return Span(start_frame=0, end_frame=end, first=0, tokens=tuple(tokens))
