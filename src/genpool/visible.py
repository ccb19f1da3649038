"""Foreign text made harmless: what a terminal, or the direction of writing, would obey is made visible instead."""

from __future__ import annotations

import unicodedata
from typing import Final

KEPT: Final = "\n\t"
"""What stays as it is."""
_FIRST_PICTURE: Final = 0x2400  # Unicode Control Pictures: a visible sign for each of U+0000..U+001F


def shown(text: str) -> str:
    """Return a text with its control characters shown instead of obeyed.

    Newlines and tabs stay; escapes, other controls, and marks that turn the direction of writing become visible.
    """
    if text.isprintable():
        return text
    return "".join(char if char in KEPT or not acts(char) else picture(char) for char in text)


def acts(char: str) -> bool:
    """Return whether a terminal would act on a character rather than print it."""
    return unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} or (
        unicodedata.bidirectional(char) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    )


def picture(char: str) -> str:
    """Return what stands for a character that acts."""
    code = ord(char)
    return chr(_FIRST_PICTURE + code) if code < 0x20 else f"\\u{code:04x}"
