"""Printing: a long list as one document, without a document of it all in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from genpool.cli.output import print_json, print_json_listing

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize("count", [0, 1, 2, 999, 1000, 1001, 2000, 2500])
def test_a_long_list_is_printed_as_any_document_is(capsys: pytest.CaptureFixture[str], count: int) -> None:
    items = [{"gen_id": f"d_{n}", "score": None, "deep": {"members": [], "text": ']},"é'}} for n in range(count)]
    head, tail = {"format": "genpool.members/1"}, {"unread": ["members", '"members": []'], "members_too": []}
    print_json({**head, "members": items, **tail})
    expected = capsys.readouterr().out
    print_json_listing(head, "members", iter(items), tail)
    assert capsys.readouterr().out == expected


def test_where_an_item_fails_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def items() -> Iterator[object]:
        yield from range(1500)
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        print_json_listing({}, "members", items(), {})
    assert capsys.readouterr().out == ""
