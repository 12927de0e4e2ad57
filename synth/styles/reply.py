"""The JSON that a model replies with: its schema, for constrained decoding, and its parsing.

    {"pairs": [{"instruction": ..., "options": [...], "reasoning": ..., "response": ...}, ...]}

Where answers are chosen beforehand the response comes first, so that the question is written in
sight of it.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.contracts import Pair
from synth.pairs import ParsedPairs, make_pair
from synth.styles.library import Style
from synth.styles.spans import AnswerSpan

# Unbounded: in xgrammar 0.2.8 a string of bounded length may hold no escape, so no line end.
_STRING = {"type": "string"}
_OPTION_COUNTS = (2, 6)
_DECODER = json.JSONDecoder(strict=False)


def reply_schema(style: Style, spans: Sequence[AnswerSpan], language: str) -> dict[str, Any]:
    """JSON schema of a reply.

    Args:
        style: what was asked for.
        spans: the given answers, where `style.answers` is `spans`.
        language: ISO 639-1 code of the text; openers apply to English.
    """
    if spans:
        items = [
            _span_item(span, openers)
            for span, openers in zip(spans, _share_openers(style, spans, language), strict=True)
        ]
        pairs = {"type": "array", "prefixItems": items, "items": False}
        return _object({"pairs": pairs | {"minItems": len(items), "maxItems": len(items)}})
    fewest, most = style.pairs
    pairs = {"type": "array", "items": _item(style), "minItems": fewest, "maxItems": most}
    return _object({"pairs": pairs})


def format_reply(pairs: Sequence[Pair], style: Style) -> str:
    """Pairs as the model is shown them in its example and in earlier turns."""
    items = []
    for pair in pairs:
        if style.answers == "spans":
            items.append({"response": pair.response, "instruction": pair.instruction})
            continue
        item: dict[str, Any] = {"instruction": pair.instruction}
        if pair.options and not style.labels:
            item["options"] = list(pair.options)
        if pair.reasoning:
            item["reasoning"] = pair.reasoning
        items.append(item | {"response": pair.response})
    return json.dumps({"pairs": items}, ensure_ascii=False)


def parse_reply(output: str, style: Style) -> ParsedPairs:
    """Read a reply, also one that breaks off or wraps its JSON in talk. Never raises.

    A pair that the reply breaks off in is dropped as `unfinished_pair`, an object of another shape
    as `not_a_pair`.
    """
    parsed = ParsedPairs()
    for item in _find_items(output, parsed):
        parsed.take(_read_item(item, style))
    if not parsed.pairs and not parsed.dropped:
        parsed.dropped["no_pair_in_reply"] += 1
    return parsed


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _item(style: Style) -> dict[str, Any]:
    fields: dict[str, Any] = {"instruction": _STRING}
    if style.kind in ("multiple_choice", "multiple_choice_cot") and not style.labels:
        fewest, most = _OPTION_COUNTS
        fields["options"] = {
            "type": "array",
            "items": _STRING,
            "minItems": fewest,
            "maxItems": most,
        }
    if style.kind in ("chain_of_thought", "multiple_choice_cot"):
        fields["reasoning"] = _STRING
    fields["response"] = {"enum": list(style.labels)} if style.labels else _STRING
    return _object(fields)


def _share_openers(
    style: Style, spans: Sequence[AnswerSpan], language: str
) -> Iterator[tuple[str, ...]]:
    """Openers for each answer; answers of one kind share them out, so that no question is alike."""
    of_kind = Counter(span.kind for span in spans)
    taken: Counter[str] = Counter()
    for span in spans:
        openers = style.openers.get(span.kind, ()) if language == "en" else ()
        yield openers[taken[span.kind] :: of_kind[span.kind]] or openers
        taken[span.kind] += 1


def _span_item(span: AnswerSpan, openers: Sequence[str]) -> dict[str, Any]:
    # One line without quotes; an English question also begins and ends as questions do.
    pattern = r'^[^"\\\n]+$'
    if openers:
        pattern = rf'^({"|".join(map(re.escape, openers))})( [^ ",;?\\\n]+){{2,}}\?$'
    question = {"type": "string", "pattern": pattern}
    return _object({"response": {"const": span.text}, "instruction": question})


def _find_items(output: str, parsed: ParsedPairs) -> Iterator[dict[str, Any]]:
    """Objects that look like pairs, at whatever depth; counts one that the reply breaks off in."""
    position = output.find("{")
    while position >= 0:
        try:
            value, end = _DECODER.raw_decode(output, position)
        except (ValueError, RecursionError):
            if output.startswith(('{"instruction"', '{"response"'), position):
                parsed.dropped["unfinished_pair"] += 1
            end = position + 1
        else:
            items = value.get("pairs", [value])
            for item in items if isinstance(items, list) else [items]:
                if isinstance(item, dict):
                    yield item
                else:
                    parsed.dropped["not_a_pair"] += 1
        position = output.find("{", end)


def _read_item(item: dict[str, Any], style: Style) -> Pair | str:
    fields = {name: item.get(name, "") for name in ("instruction", "response", "reasoning")}
    options = list(style.labels) or item.get("options", [])
    are_strings = all(isinstance(value, str) for value in fields.values())
    if not are_strings or not isinstance(options, list):
        return "not_a_pair"
    if not all(isinstance(option, str) for option in options):
        return "not_a_pair"
    is_reasoned = style.kind in ("chain_of_thought", "multiple_choice_cot")
    if is_reasoned and not fields["reasoning"].strip():
        return "incomplete_reasoning"
    is_choice = style.kind.startswith("multiple_choice")
    pair = make_pair(
        fields["instruction"],
        fields["response"],
        options if is_choice else [],
        fields["reasoning"] if is_reasoned else "",
    )
    if is_choice and isinstance(pair, Pair) and len(pair.options) < _OPTION_COUNTS[0]:
        return "too_few_options"
    return pair
