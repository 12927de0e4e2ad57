"""Long texts into passages, cut where a reader would pause."""

_BOUNDARIES = ("\n\n", "\n", ". ", " ")


def split_text(text: str, max_chars: int) -> list[str]:
    """Split `text` into passages of at most `max_chars` characters; 0 keeps it whole.

    A cut falls on the last paragraph end in the window, else line end, sentence end, space, else
    anywhere. A boundary in the window's first half is too early to use. White space around a cut is
    dropped; nothing else is.
    """
    if max_chars <= 0:
        return [text]
    passages = []
    rest = text.strip()
    while len(rest) > max_chars:
        cut = _cut_before(rest, max_chars)
        passages.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    if rest or not passages:
        passages.append(rest)
    return passages


def _cut_before(text: str, max_chars: int) -> int:
    for boundary in _BOUNDARIES:
        found = text.rfind(boundary, max_chars // 2, max_chars)
        if found > 0:
            return found + len(boundary)
    return max_chars
