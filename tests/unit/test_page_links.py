"""A link to a heading leads there on GitHub, too: the site takes forms of its own beside GitHub's."""

import re

import pytest

from tests.support.pages import PAGES, ROOT

LINK = re.compile(r"\]\(([^)\s#:]*)#([^)\s]+)\)")
TITLE = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
WORDS = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings: lower case, hyphens for blanks, no other marks."""
    found: dict[str, int] = {}
    names = set()
    for title in TITLE.findall(FENCE.sub("", text)):
        words = re.sub(r"[^\w\- ]", "", WORDS.sub(r"\1", title).strip().lower())
        name = words.replace(" ", "-")
        before = found.setdefault(name, 0)
        names.add(f"{name}-{before}" if before else name)
        found[name] += 1
    return names


LINKS = sorted(
    {
        (str(page), *link)
        for page in [*PAGES, *(p.relative_to(ROOT) for p in ROOT.glob("changelog.d/*.md"))]
        for link in LINK.findall((ROOT / page).read_text("utf-8"))
    }
)


def test_an_anchor_is_what_github_makes_of_a_heading():
    text = "# What was published: `GET /v1/fleet`\n\n## A, b\n\n```console\n# no heading\n```\n\n## A b\n"

    assert anchors(text) == {"what-was-published-get-v1fleet", "a-b", "a-b-1"}


@pytest.mark.parametrize(("page", "target", "heading"), LINKS)
def test_a_link_leads_to_a_heading(page, target, heading):
    # A release puts the changelog's fragments into the top folder, so their links begin there.
    fragment = page.startswith("changelog.d/") and not page.endswith("README.md")
    here = ROOT if fragment else (ROOT / page).parent
    aim = here / target if target else ROOT / page

    assert heading in anchors(aim.read_text("utf-8")), f"{page} links to {target}#{heading}"
