"""Files that nobody should write: valid ones changed by chance, and known bad ones."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

POOL = """\
format: genpool.pool/1
id_scheme: genpool/1
salt: ""
pipeline:
  draft: {prefix: d, axes: [template, model, tone]}
  essay: {prefix: e, parent: draft, axes: [template]}
  evaluation: {prefix: v, parent: essay, axes: [template, model], replicates: 2, judges: true}
models:
  writer: {client: scripted, temperature: 0.5, answers: [one, two]}
  other: {client: openai, base_url: "http://127.0.0.1:9/v1", key: A_KEY, model: m, price: {input: 1, output: 2.5}}
  judge: {client: scripted, max_tokens: 50, extra: {min: [1, {a: b}]}, timeout: 5, concurrency: 3}
budget: {pool: 20}
"""

_HEAD = "format: genpool.cohort/1\n"
_DRAFT = (
    "draft:\n  combo: {rows: rows.csv}\n  template: [plain, long]\n  model: [writer, other]\n  tone: [warm, 1.10, no]\n"
)
_BELOW = "essay: {template: [story, same]}\nevaluation: {template: [clarity], model: [judge], replicates: 2}\n"
SPECS = (
    _HEAD + "description: a whole one\n" + _DRAFT + "  replicates: 2\n" + _BELOW,
    _HEAD
    + "draft:\n  combo: {concepts: [moat, tide, loop], size: 2, level: sentence}\n  template: all\n  model: all\n"
    + "  tone: @file:levels.csv\n"
    + _BELOW,
    _HEAD
    + "draft:\n  combo: {concepts: all, size: 1, level: sentence}\n"
    + "  template: [plain]\n  model: [writer]\n  tone: [a]\n",
    _HEAD
    + _DRAFT
    + _BELOW
    + "rules:\n  subsets:\n    - {axis: draft.template, keep: [plain]}\n"
    + "    - {axis: draft.tone, keep: @file:levels.csv}\n",
    _HEAD
    + "draft:\n  combo: {rows: rows.jsonl}\n  template: [plain, long]\n  model: [writer, judge]\n  tone: [warm, cold]\n"
    + "essay: {template: [story, letter]}\nevaluation: {template: [clarity], model: [writer, judge]}\n"
    + "rules:\n  ties:\n    - [draft.model, evaluation.model]\n  pairs:\n"
    + "    - {left: draft.template, right: essay.template, allowed: [[plain, story], [long, letter]], balanced: true}\n"
    + "  tuples:\n    - {axes: [draft.template, draft.tone], allowed: @file:tuples.csv}\n",
    _HEAD + "from: {union: [made], stage: draft}\nessay: {template: [story]}\n",
    _HEAD + "from: {difference: [made, spring], stage: draft}\n",
    _HEAD + "from: @file:ids.csv\nessay: {template: [story]}\n",
    _HEAD + "draft: {combo: [row-0], template: [plain], model: [writer], tone: [warm]}\n",
)

FILES = {
    "rows.csv": 'id,topic\nrow-0,tea\nrow-1,"co,ffee"\n',
    "rows.jsonl": '{"id": "row-7", "topic": "tea"}\n{"id": "row-8", "topic": [1, null]}\n',
    "levels.csv": "tone,draft.tone,draft.template\nwarm,warm,plain\ncold,1.10,long\n",
    "tuples.csv": "draft.template,draft.tone\nplain,warm\nlong,cold\n",
    "ids.csv": "gen_id\nd_0\n",
    "concepts/moat.yaml": "format: genpool.concept/1\nname: Moat\nlevels: {sentence: It is wet., paragraph: Wetter.}\n",
    "concepts/tide.yaml": "format: genpool.concept/1\nname: Tide\nlevels:\n  sentence: |\n    It\n    comes.\n",
    "concepts/loop.yaml": "format: genpool.concept/1\nlevels: {sentence: Again.}\n",
    "templates/draft/plain.j2": "---\nparser: text\nsystem: Be {{ axes.tone }}.\nmax_tokens: 30\n---\n"
    "{% if row is defined %}{{ row.topic }}{% else %}{{ concepts[0].text }}{% endif %} {{ replicate }}\n",
    "templates/draft/long.j2": "---\nmode: llm\n---\nAt length.{% include 'shared/end.j2' %}\n",
    "templates/shared/end.j2": "{% macro m(a) %}{{ a|upper }}{% endmacro %}{{ m('x') }}",
    "templates/essay/story.j2": "{{ draft.text }} as a story\n",
    "templates/essay/letter.j2": "{{ parent }} as a letter\n",
    "templates/essay/same.j2": "---\nmode: copy\n---\n",
    "templates/evaluation/clarity.j2": "---\nformat: genpool.template/1\nparser: json_score\nscale: [0, 9]\n---\n"
    "{{ essay }}?\n",
    "combos.jsonl": '{"combo_id":"row-0","digest":null,"kind":"row","rows":"rows.csv"}\n',
}

TOKENS: tuple[str, ...] = (
    *(
        "&a ",
        "*a",
        "!!python/object/apply:os.system [true]",
        "!x ",
        "<<: *a",
        "? ",
        "- ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "|",
        ">",
    ),
    *(
        "\t",
        "\x00",
        "\x1b[31m",
        "\r",
        "\x85",
        "\u2028",
        "\ufeff",
        "\u202e",
        "\ud7ff",
        "\U0001f4a5",
        "e\u0301",
        "\uff0e\uff0e/",
    ),
    *(
        "---\n",
        "...\n",
        "%YAML 9.9\n---\n",
        "#",
        "'",
        '"',
        "@",
        "`",
        "%",
        "\\x",
        "\n\n  ",
        "0x10",
        "0o7",
        "1_000",
        "~",
        "null",
    ),
    *(
        "1e999",
        "-1e999",
        ".nan",
        ".inf",
        "-.inf",
        "9" * 400,
        "-1",
        "0",
        "2147483647",
        "2147483648",
        "1e-400",
        "1.5",
        "true",
    ),
    *(
        "@file:../../etc/passwd",
        "@file:/etc/passwd",
        "@file:",
        "@file:linked.csv",
        "@file:outside/secret.csv",
        "@file:.",
    ),
    *(
        "@file:rows.csv",
        "@file:pool.yaml",
        "../",
        "/",
        "/dev/zero",
        "/dev/stdin",
        "CON",
        "a" * 300,
        "a/" * 200,
        "{{",
        "{%",
        "%}",
    ),
    *(
        "genpool.cohort/2",
        "genpool.cohort/0",
        "genpool.cohort/99999999999999",
        "all",
        "combo",
        "template_id",
        "replicate",
    ),
)
"""What is put in between."""

VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31 - 1,
        2**31,
        10**19,
        10**400,
        1.5,
        float("nan"),
        float("inf"),
        1e-320,
        "",
        " ",
        "\n",
    ),
    *(
        [],
        {},
        [[]],
        [{}],
        {"a": {"b": ["c"]}},
        [None],
        ["x"] * 300,
        "x" * 5000,
        "\u0301",
        "e\u0301",
        "\u202eabc",
        "1.10",
        "no",
    ),
    *(
        "all",
        "@file:rows.csv",
        "@file:../secret.csv",
        "@file:/etc/passwd",
        "@file:outside/secret.csv",
        "@file:linked.csv",
    ),
    *(
        "../c",
        "c/../c",
        "plain",
        "PLAIN",
        "writer",
        "draft",
        "draft.combo",
        "draft.replicate",
        ["plain", "plain"],
        ["plain", "Plain"],
    ),
    *(
        {"rows": "../secret.csv"},
        {"rows": "rows.csv", "size": 1},
        {"concepts": "all", "size": 2**30, "level": "sentence"},
    ),
    *(
        {"union": ["c"], "stage": "draft"},
        {"difference": [], "stage": "essay"},
        {"union": ["made", "made"], "stage": "nothing"},
    ),
)
"""What is put in the place of something."""


def bombs() -> dict[str, str]:
    """Return specs that grow: when read, when walked or when multiplied."""
    laughs = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    thousand = ", ".join(f"t{n}" for n in range(1000))
    many = "\n".join(f"    - [w{n}, w{n + 1}]" for n in range(2000))
    return {
        "a billion laughs": _HEAD + laughs + "draft: *a11\n",
        "5,000 brackets": _HEAD + "draft: " + "[" * 5000 + "]" * 5000,
        "5,000 open brackets": _HEAD + "draft: " + "[" * 5000,
        "5,000 braces": _HEAD + "draft: " + "{a: " * 5000 + "}" * 5000,
        "5,000 levels of indentation": _HEAD + "\n".join(" " * n + "a:" for n in range(5000)),
        "5,000 lists in lists": _HEAD + "draft: " + "- " * 5000 + "x",
        "a merge key": _HEAD + "x: &x {a: 1}\ndraft: {<<: *x}\n",
        "a set": _HEAD + "draft: !!set {a, b}\n",
        "a binary": _HEAD + "draft: !!binary aGVsbG8=\n",
        "python": _HEAD + "draft: !!python/object/apply:os.system [id]\n",
        "a number of 5,000 digits": _HEAD + f"draft: {{replicates: {'9' * 5000}}}\n",
        "a key of 100,000 characters": _HEAD + f"{'k' * 100_000}: 1\n",
        "100,000 lines": _HEAD + "# a comment\n" * 100_000,
        "keys twice": _HEAD + "draft: {combo: [a], combo: [b], combo: [c]}\ndraft: 1\n",
        "many pairs": _HEAD + _DRAFT + f"rules:\n  ties:\n{many}\n",
        "many documents": (_HEAD + "---\n") * 500,
        "as many combos as can be": _HEAD + "draft: {combo: {concepts: all, size: 2147483647, level: sentence}}\n",
        "many replicates": _HEAD + _DRAFT.replace("draft:", "draft:\n  replicates: 2147483647"),
        "10^9 tones": _HEAD + _DRAFT.replace("[warm, 1.10, no]", f"[{thousand}]") + "  replicates: 1000000\n",
        "not UTF-8": "\udcff\udcfe" + _HEAD,
        "UTF-16": "\ufeff" + "\x00".join(_HEAD),
        "nothing": "",
        "only a byte order mark": "\ufeff",
    }


def huge_product(levels: int = 1000) -> tuple[str, str]:
    """Return a pool.yaml and a spec of levels^4 tasks: 10^12 for a thousand."""
    names = "abcd"
    pool = POOL.replace("[template, model, tone]", f"[template, model, {', '.join(names)}]")
    axes = "".join(f"  {name}: [{', '.join(f'{name}{n}' for n in range(levels))}]\n" for name in names)
    return pool, f"{_HEAD}draft:\n  combo: {{rows: rows.csv}}\n  template: [plain]\n  model: [writer]\n{axes}"


# --- by chance ----------------------------------------------------------------------------------------


def changed(text: str, chance: random.Random) -> bytes:
    """Return a text changed once or a few times: its bytes, its characters or its structure."""
    if chance.random() < 0.5:
        tree = _changed_tree(text, chance)
        if tree is not None:
            return tree.encode("utf-8", "surrogatepass")
    data = text.encode()
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        data = chance.choice(_BYTES)(data, chance)
    return data


def _cut(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(data) + 1)
    return start, min(len(data), start + chance.choice((1, 1, 2, 5, 20, 100)))


def _flipped(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return b"\xff"
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def _without(data: bytes, chance: random.Random) -> bytes:
    start, end = _cut(data, chance)
    return data[:start] + data[end:]


def _twice(data: bytes, chance: random.Random) -> bytes:
    start, end = _cut(data, chance)
    return data[:end] + data[start:end] * chance.choice((1, 1, 2, 50)) + data[end:]


def _with_token(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(TOKENS).encode("utf-8", "surrogatepass") + data[at:]


def _with_bytes(data: bytes, chance: random.Random) -> bytes:
    start, end = _cut(data, chance)
    return data[:start] + chance.randbytes(chance.choice((1, 2, 8))) + data[end:]


def _line_moved(data: bytes, chance: random.Random) -> bytes:
    lines = data.split(b"\n")
    line = lines.pop(chance.randrange(len(lines)))
    lines.insert(chance.randrange(len(lines) + 1), b" " * chance.randrange(5) + line)
    return b"\n".join(lines)


_BYTES = (_flipped, _without, _twice, _with_token, _with_token, _with_bytes, _line_moved)


def _changed_tree(text: str, chance: random.Random) -> str | None:
    """Return YAML with some of its values, keys or levels exchanged; None where it is none."""
    try:
        tree = yaml.safe_load(text.replace("@file:", "FILE:"))
    except yaml.YAMLError:
        return None
    if not isinstance(tree, dict):
        return None
    for _ in range(chance.choice((1, 1, 2, 4))):
        _change(tree, chance)
    try:
        written = (
            yaml.safe_dump(tree, allow_unicode=True, sort_keys=False)
            if chance.random() < 0.7
            else json.dumps(tree, ensure_ascii=chance.random() < 0.5)
        )
    except (ValueError, TypeError, yaml.YAMLError):  # keys that JSON has not, digits beyond what Python writes
        return None
    return written.replace("FILE:", "@file:")


def _change(tree: dict[Any, Any], chance: random.Random) -> None:
    """Change one place of a tree."""
    places: list[tuple[Any, Any]] = []
    waiting: list[Any] = [tree]
    while waiting:
        node = waiting.pop()
        keys: Sequence[Any] = (
            list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        )
        for key in keys:
            places.append((node, key))
            if len(places) < 500:
                waiting.append(node[key])
    if not places:
        return
    node, key = chance.choice(places)
    way = chance.randrange(6)
    if way == 0:
        del node[key]
    elif way == 1 and isinstance(node, dict):
        new = chance.choice([*TOKENS, "draft", "essay", "template", "model", "combo", "rules", "from", "keep", "axes"])
        node[new] = node.pop(key)
    elif way == 2:
        other, where = chance.choice(places)
        node[key] = copy.deepcopy(other[where])
    elif way == 3:
        node[key] = [node[key]]
    elif way == 4:
        deep: Any = node[key]
        for _ in range(chance.choice((5, 40))):
            deep = {"a": deep} if chance.random() < 0.5 else [deep]
        node[key] = deep
    else:
        node[key] = chance.choice(VALUES)
