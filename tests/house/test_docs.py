"""The documentation is true: its links resolve and the commands it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", flags=re.MULTILINE)
FENCE = re.compile(r"^(```|~~~).*?^\1", flags=re.MULTILINE | re.DOTALL)


def make_targets(repository: Path) -> set[str]:
    """Return the targets that ``make help`` lists."""
    text = (repository / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):.*## ", text, flags=re.MULTILINE))


def anchors(markdown: str) -> set[str]:
    """Return the anchors that a Markdown page's headings get on the usual code hosts."""
    plain = FENCE.sub("", markdown)
    return {
        re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")
        for heading in HEADING.findall(plain)
    }


@pytest.fixture(scope="module")
def pages(tracked_files: list[Path]) -> list[Path]:
    """Every Markdown page that git tracks."""
    return [path for path in tracked_files if path.suffix == ".md"]


def test_every_make_target_is_documented(repository: Path) -> None:
    """The manual for contributors names each target of the Makefile."""
    manual = (repository / "docs" / "development.md").read_text(encoding="utf-8")
    silent = {t for t in make_targets(repository) if not re.search(rf"`make {t}\b(?!-)", manual)}
    assert not silent


def test_documented_make_targets_exist(repository: Path, pages: list[Path]) -> None:
    """No page tells the reader to make something that the Makefile does not know."""
    known = make_targets(repository)
    unknown = {
        f"{page.relative_to(repository)}: make {target}"
        for page in pages
        for target in re.findall(
            r"(?:`|^\$ ?|^ {4})make ([a-z][a-z-]*)", page.read_text("utf-8"), flags=re.MULTILINE
        )
        if target not in known
    }
    assert not unknown


def test_links_resolve(repository: Path, pages: list[Path]) -> None:
    """Links between pages lead to files and headings that are there."""
    broken = []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for target in LINK.findall(FENCE.sub("", text)):
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            name, _, anchor = target.partition("#")
            path = (page.parent / name).resolve() if name else page
            missing = not path.exists() or (
                bool(anchor)
                and path.suffix == ".md"
                and anchor not in anchors(path.read_text(encoding="utf-8"))
            )
            if missing:
                broken.append(f"{page.relative_to(repository)} → {target}")
    assert not broken
