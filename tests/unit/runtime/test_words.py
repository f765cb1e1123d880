from liteasr.runtime.words import split_into_words, words_of
from tiny_whisper import tokenizer

TOKENS = tokenizer()


def ids(text: str) -> list[int]:
    return TOKENS(text, add_special_tokens=False).input_ids


def test_words_join_to_the_text_and_marks_stay_with_their_word() -> None:
    text = " Hello, my 3 naïve friends!"
    tokens = ids("<|0.00|>") + ids(text) + ids("<|1.00|>")
    words = split_into_words(TOKENS, tokens, "en")
    assert [word for word, _ in words] == [" Hello,", " my", " 3", " naïve", " friends!"]
    assert [i for _, indices in words for i in indices] == list(range(1, len(tokens) - 1))


def test_languages_without_spaces_are_split_by_characters() -> None:
    words = split_into_words(TOKENS, ids("今天好。"), "zh")
    assert [word for word, _ in words] == ["今", "天", "好。"]


def test_money_begins_a_word_and_lone_spaces_are_not_words() -> None:
    assert [word for word, _ in split_into_words(TOKENS, ids(" costs $5"), "en")] == [
        " costs",
        " $5",
    ]
    assert [word for word, _ in split_into_words(TOKENS, ids(" 今天"), "zh")] == [" 今", "天"]


def test_a_character_cut_off_at_the_end_is_kept() -> None:
    tokens = ids(" a é")
    assert split_into_words(TOKENS, tokens[:-1], "en")[-1][1][-1] == len(tokens) - 2


def test_times_are_ordered_and_stay_in_the_recording() -> None:
    tokens = ids(" ab cd")
    times = [0.0, 0.1, 0.2, 0.5, 0.4, 0.3, 9.0]
    words = words_of(TOKENS, tokens, times, [0.5, 0.5, 0.8, 1.0, 1.0, 1.0], language="en",
                     offset_s=10.0, end_s=12.0)  # fmt: skip
    assert [(w.start, w.end) for w in words] == [(10.0, 10.5), (10.5, 12.0)]
    assert abs(words[0].probability - 0.6) < 1e-9
