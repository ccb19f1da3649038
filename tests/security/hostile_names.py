"""Names that nobody should give to anything: known bad ones, and these changed by chance."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_NAMES: tuple[str, ...] = (
    *(
        "",
        ".",
        "..",
        "...",
        "../..",
        "../c",
        "c/../c",
        "c/",
        "/c",
        "//c",
        "./c",
        "c/.",
        "~",
        "~root",
        "-",
        "--",
        "-c",
        "--help",
    ),
    *(
        "/etc/passwd",
        "/etc",
        "/",
        "/proc/self/environ",
        "/proc/self/fd/0",
        "../secret.csv",
        "../../etc/passwd",
        "..\\c",
        "c\\..\\c",
    ),
    *(
        "\x00",
        "c\x00",
        "c\x00.csv",
        "c\n",
        "\nc",
        "c\r",
        "c\t",
        "c d",
        " c",
        "c ",
        "\x1b[31mc\x1b[0m",
        "\x1b]0;x\x07",
        "\x7f",
        "\x9b31m",
    ),
    *(
        "c" * 127,
        "c" * 128,
        "c" * 129,
        "c" * 255,
        "c" * 256,
        "c" * 5000,
        "c/" * 2000,
        "\u00e9" * 127,
        "\U0001f4a5" * 64,
    ),
    *(
        "C",
        "c.",
        ".c",
        "_c",
        "-c-",
        "c;id",
        "c&id",
        "c|id",
        "$(id)",
        "`id`",
        "c'",
        'c"',
        "c*",
        "c?",
        "[c]",
        "{c}",
        "%s",
        "%n",
        "{0}",
    ),
    *(
        "\u00e9",
        "e\u0301",
        "\u202ec",
        "\ufeffc",
        "c\u200b",
        "\uff43",
        "\u0130",
        "\u00df",
        "\u212a",
        "\ud800",
        "c\udcff",
        "\u2028",
    ),
    *(
        "CON",
        "nul",
        "c:stream",
        "pool.yaml",
        ".genpool",
        ".env",
        "gens",
        "linked.csv",
        "linked",
        "outside",
        "outside/secret.csv",
    ),
    *(
        "d_",
        "e_",
        "v_",
        "d_0",
        "d_" + "0" * 32,
        "d_" + "f" * 32,
        "d_" + "F" * 32,
        "combo_" + "0" * 20,
        "row-0",
        "made",
        "plain",
        "writer",
    ),
    *(
        "draft",
        "essay",
        "combo_id=x",
        "replicate=1",
        "1",
        "0",
        "-1",
        "1e9",
        "True",
        "None",
        "null",
        "a=b=c",
        "=",
        "trash-1",
        "run-1",
    ),
    *(
        "rows.csv",
        "rows.jsonl",
        "pool.yaml/x",
        "rows.csv/",
        "rows.csv/x",
        "concepts",
        "concepts/moat.yaml",
        "templates/../rows.csv",
    ),
    *(
        "{{ 7*7 }}",
        "{% include '/etc/passwd' %}",
        "<script>",
        "&amp;",
        "@file:x",
        "*",
        "**",
        "a,b",
        '"a","b"',
        "=cmd|' /C calc'!A0",
    ),
)


def name(chance: random.Random) -> str:
    """Return a hostile name: a known bad one, two of them, or one changed."""
    found = chance.choice(_NAMES)
    way = chance.randrange(8)
    if way == 0:
        found += chance.choice(("", "/", ".", "_")) + chance.choice(_NAMES)
    elif way == 1 and found:
        at = chance.randrange(len(found))
        found = (
            found[:at]
            + chr(chance.choice((chance.randrange(0x20), chance.randrange(0x80), chance.randrange(0x11000))))
            + found[at + 1 :]
        )
    elif way == 2:
        found = found.swapcase()
    elif way == 3:
        found = unicodedata.normalize(chance.choice(("NFC", "NFD", "NFKC", "NFKD")), found) + chance.choice(
            ("", "\u0301")
        )
    elif way == 4:
        found = found * chance.choice((2, 3, 40))
    elif way == 5:
        found = "".join(
            chance.choice("dev_-./\\ 0123456789abcdef\u00e9\n") for _ in range(chance.choice((1, 3, 10, 34, 130)))
        )
    return found[:20_000]
