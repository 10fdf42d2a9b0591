"""Parses chat completions of any server: the answer, the reasoning before it, and the finish reason.

`content` is a text, null, or a list of parts. Reasoning is in a part, in a separate field (`reasoning_content`, `reasoning`,
`reasoning_details`, ...), or between marks in the content, often in two of these places. Repeated reasoning counts once.

Finish reasons are those of OpenAI, Anthropic, Gemini, Mistral, Cohere, vLLM and SGLang. These rules are ours: a text that ended in a tool call
has ended (`stop`), since no request offers tools. A text with no reason or an unknown one was cut off (`length`) if it has as many tokens as
were allowed, and has ended (`stop`) otherwise. A request that the server gave up half-way is sent again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from cotexp.methods.reasoning import CLOSE, OPEN

ENDINGS = {
    "stop": "stop stop_sequence stop_token end_turn end_of_turn eos eos_token end_of_sequence complete completed finished done "
    "tool_calls tool_call tool_use function_call",
    "length": "length max_tokens max_completion_tokens max_output_tokens max_new_tokens max_length max_len model_length token_limit "
    "model_context_window_exceeded context_length context_length_exceeded truncated incomplete",
    "filtered": "content_filter content_filtered content_filter_error safety recitation prohibited_content blocklist spii sensitive "
    "guardrail_intervened moderation error_toxic",
    "refused": "refusal refused",
    "fault": "error abort aborted cancel cancelled canceled user_cancel interrupted failed failure timeout time_limit network_error "
    "server_error engine_error internal_error insufficient_system_resource overloaded error_limit malformed_response",
}
"""Kind of ending -> the finish reasons that mean it."""
_ENDING_OF = {word: ending for ending, words in ENDINGS.items() for word in words.split()}

OWN_FIELDS = ("reasoning_content", "reasoning", "reasoning_text", "thinking", "thought", "thinking_blocks", "reasoning_details")
"""Fields of a message that hold reasoning."""
SPOKEN = ("text", "output_text", "value", "content")
"""Fields with the text of a part; a reasoning part has further ones."""
THOUGHT = ("thinking", "reasoning", "reasoning_content", "reasoning_text", *SPOKEN, "summary")

_BEGIN, _END = (rf"(?:<{slash}(?:think|thinking|thought|reasoning)>|\[{slash}THINK\])" for slash in ("", "/"))
_MARKED = re.compile(rf"\s*{_BEGIN}(.*?)(?:{_END}\s*|\Z)", re.DOTALL | re.IGNORECASE)
_ENDED = re.compile(rf"(.*?){_END}\s*", re.DOTALL | re.IGNORECASE)
_MARKS = re.compile(rf"\A\s*{_BEGIN}|{_END}\s*\Z", re.IGNORECASE)

_ANY_MARK = r"(?:<\|[^|\s]*\|>(?:assistant|analysis|commentary|final)?|[<\[◁][^<>\[\]◁▷\s]{1,40}[>\]▷])+"
"""Marks of any model family, gpt-oss's channels included. They count as marks only around a text that is known to be reasoning."""


class Written(NamedTuple):
    """`ending` is a name of ENDINGS, or the server's word if it is unknown ("" for none). `num_dropped` parts have no text."""

    text: str
    thinking: str
    refusal: str
    ending: str
    num_dropped: int = 0

    def joined(self, *, keep_thinking: bool) -> str:
        """The reasoning in the marks of `methods.reasoning`, then the answer."""
        return f"{OPEN}\n{self.thinking}\n{CLOSE}\n\n{self.text}" if keep_thinking and self.thinking else self.text


def written(completion: dict[str, Any]) -> Written | None:
    """The parsed first choice of a completion; None without a choice, or if its content cannot contain a text."""
    choice = _first_choice(completion)
    if choice is None:
        return None
    message = next((choice[name] for name in ("message", "delta") if isinstance(choice.get(name), dict)), None)
    message = {"content": choice.get("text")} if message is None and isinstance(choice.get("text"), str) else message
    if message is None:
        return None
    content = message.get("content")
    parts = [content] if isinstance(content, str | dict) else [] if content is None else content
    if not isinstance(parts, list):
        return None
    thoughts = [said for name in OWN_FIELDS for said in _each_said(message.get(name), THOUGHT)]
    texts: list[str] = []
    refusals, num_dropped = [_said(message.get("refusal"), SPOKEN)], 0
    for part in parts:
        kind, said = _of_part(part)
        {"text": texts, "thinking": thoughts, "refusal": refusals, "none": []}[kind].append(said)
        num_dropped += kind == "none"
    text, thinking = _separated("".join(texts), thoughts)
    return Written(text, thinking, "".join(refusals).strip(), ending(choice.get("finish_reason")), num_dropped)


def ending(reason: Any) -> str:
    """The kind of ending for a server's finish reason: a name of ENDINGS, or the reason itself."""
    word = str(reason or "").strip().rpartition(".")[2].lower().replace("-", "_").removeprefix("finish_reason_")
    return _ENDING_OF.get(word, word)


def has_choice(completion: dict[str, Any]) -> bool:
    """Whether there is a choice with a message, in a known form or not."""
    choice = _first_choice(completion)
    return choice is not None and isinstance(choice.get("message"), dict)


def means_too_many(completion: dict[str, Any]) -> bool:
    """Whether the server gave up for lack of resources."""
    return str((_first_choice(completion) or {}).get("finish_reason")) in ("insufficient_system_resource", "overloaded")


def num_read(completion: dict[str, Any]) -> int | None:
    """Tokens of the prompt, as the server counts them."""
    return _count(completion.get("usage"), "prompt_tokens", "input_tokens")


def num_written(completion: dict[str, Any]) -> int | None:
    """Tokens of answer and reasoning, as the server counts them."""
    return _count(completion.get("usage"), "completion_tokens", "output_tokens")


def num_thought(completion: dict[str, Any]) -> int | None:
    """Tokens of the reasoning, if the server counts them separately. 0 is no count beside a reasoning: vLLM states it if the template opens it."""
    usage = completion.get("usage")
    details = usage.get("completion_tokens_details") or usage.get("output_tokens_details") if isinstance(usage, dict) else None
    count, message = _count(details, "reasoning_tokens"), (_first_choice(completion) or {}).get("message")
    has_thought = isinstance(message, dict) and any(message.get(name) for name in OWN_FIELDS)
    return None if count == 0 and has_thought else count


def _count(counts: Any, *names: str) -> int | None:
    found = (counts.get(name) for name in names) if isinstance(counts, dict) else ()
    whole = (int(each) for each in found if isinstance(each, int | float) and not isinstance(each, bool) and each >= 0 and each == each // 1)
    return next(whole, None)


def _first_choice(completion: dict[str, Any]) -> dict[str, Any] | None:
    choices = completion.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None


# --- parts ------------------------------------------------------------------------------------------------------------


def _of_part(part: Any) -> tuple[str, str]:
    """(kind, text) of one part of a content. Kinds: "text", "thinking", "refusal", and "none" for images, calls and unknown parts."""
    if isinstance(part, str):
        return "text", part
    if not isinstance(part, dict):
        return "none", ""
    kind = str(part.get("type") or "").lower()
    if "refusal" in kind:
        return "refusal", _said(part, ("refusal", *SPOKEN))
    if "think" in kind or "reason" in kind or "thought" in kind or part.get("thought") is True:
        return "thinking", _said(part, THOUGHT)
    if "tool" in kind or "function" in kind:
        return "none", ""
    if said := _said(part, SPOKEN):
        return "text", said
    if thought := _said(part, THOUGHT):
        return "thinking", thought
    return ("text", "") if any(isinstance(part.get(name), str) for name in SPOKEN) else ("none", "")


def _said(value: Any, names: tuple[str, ...]) -> str:
    """The text in `value` at any depth. In an object it is in the first of the fields `names` with a text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_said(each, names) for each in value)
    return next((said for name in names if (said := _said(value.get(name), names))), "") if isinstance(value, dict) else ""


def _each_said(value: Any, names: tuple[str, ...]) -> Iterator[str]:
    yield from (_said(each, names) for each in (value if isinstance(value, list) else [value]))


# --- reasoning ---------------------------------------------------------------------------------------------------------


def _separated(text: str, thoughts: Iterable[str]) -> tuple[str, str]:
    """(answer, reasoning). Reasoning that the text repeats is removed from the answer, unless nothing else is left.

    Without separate reasoning the text stays as the model wrote it, marks included.
    """
    distinct = _each_once(thoughts)
    if not distinct:
        return text, ""
    if any(_plain(each) == _plain(text) for each in distinct):
        return text, "\n\n".join(each for each in distinct if _plain(each) != _plain(text))
    inline = _MARKED.match(text)
    if inline is None and (ended := _ENDED.match(text)) and any(_plain(ended.group(1)) in _plain(each) for each in distinct):
        inline = ended
    if inline:
        return text[inline.end() :], "\n\n".join(_each_once([*distinct, inline.group(1)]))
    for each in distinct:
        words = r"\s+".join(map(re.escape, each.split()))
        if begins := re.match(rf"\s*(?:{_ANY_MARK}\s*{words}\s*{_ANY_MARK}|{words}\s*\n)\s*", text):
            return text[begins.end() :], "\n\n".join(distinct)
    return text, "\n\n".join(distinct)


def _each_once(thoughts: Iterable[str]) -> list[str]:
    """Reasoning texts without marks and white space at their ends. A text that is part of another one is left out."""
    found: list[str] = []
    for each in filter(None, (_MARKS.sub("", thought).strip() for thought in thoughts)):
        if not any(_plain(each) in _plain(other) for other in found):
            found = [other for other in found if _plain(other) not in _plain(each)] + [each]
    return found


def _plain(text: str) -> str:
    return " ".join(text.split())


# --- what arrives -----------------------------------------------------------------------------------------------------


def parsed(answer: Any) -> dict[str, Any] | None:
    """The completion in a response body: an object, JSON under another content type, or a stream of events that was not requested.

    None for anything else, such as a stream that breaks off.
    """
    if not isinstance(answer, str):
        return answer if isinstance(answer, dict) else None
    try:
        whole = json.loads(answer)
    except ValueError:
        return _streamed(answer)
    return whole if isinstance(whole, dict) else None


def _streamed(answer: str) -> dict[str, Any] | None:
    """One completion from the events of a stream."""
    lines = [line.partition(":")[2].strip() for line in answer.splitlines() if line.startswith("data:")]
    try:
        events = [each for line in lines if line and line != "[DONE]" and isinstance(each := json.loads(line), dict)]
    except ValueError:
        return None
    if failed := next((each for each in events if each.get("error")), None):
        return failed
    choices = [choice for each in events if (choice := _first_choice(each)) is not None and choice.get("index", 0) == 0]
    reason = next((each["finish_reason"] for each in reversed(choices) if each.get("finish_reason")), None)
    if not choices or (reason is None and "[DONE]" not in lines):
        return None
    message: dict[str, Any] = {}
    for choice in choices:
        delta = next((choice[name] for name in ("delta", "message") if isinstance(choice.get(name), dict)), {"content": choice.get("text")})
        for name, value in delta.items():
            message[name] = _longer(message.get(name), value)
    head = {name: value for each in events for name, value in each.items() if name != "choices" and value is not None}
    return {**head, "choices": [{"message": message, "finish_reason": reason}]}


def _longer(before: Any, more: Any) -> Any:
    """A streamed field of a message with its next piece. Pieces of the same kind of part are joined."""
    if more is None or before is None:
        return before if more is None else more
    if isinstance(before, str) and isinstance(more, str):
        return before + more
    if not isinstance(before, str | list) or not isinstance(more, str | list):
        return more
    parts: list[Any] = []
    for piece in (*([before] if isinstance(before, str) else before), *([more] if isinstance(more, str) else more)):
        kind, said = _of_part(piece)
        if parts and kind in ("text", "thinking") and _of_part(parts[-1])[0] == kind:
            parts[-1] = {"type": kind, "text": _of_part(parts[-1])[1] + said}
        else:
            parts.append(piece)
    return parts
