"""Which language a Whisper model is asked for: names, codes and refusals."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from liteasr.errors import TranscriptionError

__all__ = ["is_multilingual", "resolve_language", "task_tokens"]


def is_multilingual(generation_config: Any) -> bool:
    """Say whether the model was trained on more than English."""
    known = getattr(generation_config, "is_multilingual", None)
    return bool(getattr(generation_config, "lang_to_id", None)) if known is None else bool(known)


def resolve_language(
    language: str | None, task: str, generation_config: Any, name: str
) -> str | None:
    """Give the code of the language to decode; None asks for detection.

    Args:
        language: A code or an English name in any case, or None.
        task: ``transcribe`` or ``translate``.
        generation_config: The model's, which lists the languages it knows.
        name: The model's name, for the messages.

    Raises:
        TranscriptionError: The model does not know the language, or is English-only and
            asked for another one or for translation.
    """
    known = getattr(generation_config, "lang_to_id", None) or {"<|en|>": 0}
    code = None if language is None else _code(language, known)
    if not is_multilingual(generation_config):
        if code not in (None, "en"):
            raise TranscriptionError(
                f"{name} is English-only and cannot transcribe {language!r}: "
                "use a multilingual model, such as one without .en in its name"
            )
        if task == "translate":
            raise TranscriptionError(
                f"{name} is English-only and cannot do the task 'translate': "
                "use a multilingual model, such as one without .en in its name"
            )
        return "en"
    if code is not None and f"<|{code}|>" not in generation_config.lang_to_id:
        raise TranscriptionError(f"{name} does not know the language {language!r}{_hint(code)}")
    return code


def task_tokens(
    generation_config: Any, language: str, task: str, *, timestamps: bool
) -> tuple[int, ...]:
    """Give the tokens that ask for a task; English-only models take neither language nor task."""
    tokens = [generation_config.decoder_start_token_id]
    if is_multilingual(generation_config):
        tokens.append(generation_config.lang_to_id[f"<|{language}|>"])
        tokens.append(generation_config.task_to_id[task])
    return tuple(tokens if timestamps else [*tokens, generation_config.no_timestamps_token_id])


def _code(language: str, known: Mapping[str, int]) -> str:
    plain = language.strip().lower()
    if f"<|{plain}|>" in known:
        return plain  # transformers, which has the names, takes half a second to import
    return _codes().get(plain, plain)


def _hint(code: str) -> str:
    codes = _codes()
    near = get_close_matches(code, [*codes, *codes.values()], n=3, cutoff=0.5)
    meant = f": did you mean {' or '.join(near)}?" if near else ""
    return f"{meant or ':'} Give a code such as 'de', a name such as 'german', or None to detect it"


def _codes() -> dict[str, str]:
    """Give the code of each English language name that Whisper knows."""
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    codes: dict[str, str] = TO_LANGUAGE_CODE
    return codes
