"""The documents name what is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_list_of_modules_is_whole() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    modules = {path.stem for path in (ROOT / "src/genpool").glob("*.py")} - {"__init__", "__main__"}
    assert {name for name in modules if f"`{name}`" not in page} == set()


def test_links_between_documents_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+\.md)\)", page.read_text())
        if not (page.parent / target).is_file()
    ]
    assert broken == []
