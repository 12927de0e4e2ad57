"""Where sentences end, by their signs alone, for any language."""

import re

# A quotation mark or bracket may close a sentence after its full stop.
SENTENCE_END = re.compile(
    r"[.!?\u2026][\"'\u201d\u2019)\]]*(?=\s)|[\u3002\uff01\uff1f][\u201d\u300d\u300f\uff09]*|(?<=\S)\n"
)


def sentences_around(text: str, start: int, end: int, num_before: int = 0) -> str:
    """The sentence that holds a stretch of a text, and some before it.

    Args:
        text: any text.
        start: where the stretch starts.
        end: where it ends.
        num_before: sentences before that one, as far as there are any.
    """
    borders = [match.end() for match in SENTENCE_END.finditer(text, 0, start)]
    after = SENTENCE_END.search(text, end)
    first = borders[-1 - num_before] if len(borders) > num_before else 0
    return text[first : after.end() if after else len(text)].strip()
