"""A speed that a page claims is one of those in the tables of docs/performance.md."""

import re

import pytest

from tests.support.pages import ROOT

Table = dict[tuple[str, str], str]


def text(page: str) -> str:
    """Return a page as one line: a sentence is wrapped anywhere, and in an example each line is a comment."""
    return " ".join((ROOT / page).read_text("utf-8").replace("\n#", "\n").split())


def tables(heading: str) -> list[Table]:
    """Return the tables below a heading of docs/performance.md: (first cell of the row, column) -> cell."""
    _, _, rest = (ROOT / "docs/performance.md").read_text("utf-8").partition(f"\n{heading}\n")
    section = re.split(r"^##", rest, maxsplit=1, flags=re.MULTILINE)[0]
    found = []
    for lines in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE):
        head, _, *rows = (
            [cell.strip() for cell in line[1:-1].split("|")] for line in lines.splitlines()
        )
        found.append(
            {(row[0], name): cell for row in rows for name, cell in zip(head, row, strict=True)}
        )
    return found


(INSTALLED,) = tables("### As installed")
(TUNED,) = tables("### Tuned")
FLEET, BROWSER = tables("## A thousand devices that report")
FIRST_VIEW, FROM_CACHE, *_ = BROWSER.values()
CUBIC, BBR = "agent, cubic", "agent, bbr"
U2C, MULTIPART = "copyparty `u2c -j 8 --sz 1`", "rclone to S3, multipart"
DRIVE = "trace-ATT-LTE-driving-2016"


def shares(cell: str) -> list[str]:
    return re.findall(r"\.\d\d", cell)


def percent(cell: str) -> str:
    """Return ``91`` for ``.91``, and ``88 to 91`` for ``.88 to .91``."""
    return " to ".join(share[1:] for share in shares(cell))


def of_a_core(cell: str) -> str:
    return f"{float(cell) * 100:.1f} %"


def better(link: str, *programs: str) -> str:
    return percent(max(INSTALLED[link, program] for program in programs))


README, COMPARISON, BY_HAND = "README.md", "docs/comparison.md", "docs/install-device.md"
CLAIMS = [
    (
        README,
        f"the agent uses {percent(INSTALLED['lte-bad', CUBIC])} % of what a bad LTE link can carry.",
    ),
    (README, f"rsync and curl use {percent(INSTALLED['lte-bad', 'rsync'])} %."),
    (README, f"rsync and curl use {percent(INSTALLED['lte-bad', 'curl'])} %."),
    (
        README,
        f"On a drone that passes by, it is {percent(INSTALLED['flyby', CUBIC])} %"
        f" against {better('flyby', 'rsync', 'curl')} %.",
    ),
    (
        README,
        f"On a satellite link it is {percent(INSTALLED['satellite', CUBIC])} %"
        f" ({percent(INSTALLED['satellite', BBR])} % with BBR)"
        f" against {better('satellite', 'rsync', 'curl')[-1]} %.",
    ),
    (
        README,
        f"also reaches {percent(TUNED['lte-bad', U2C])} % of the LTE link,"
        f" but {percent(TUNED['flyby', U2C])} % and {percent(TUNED['satellite', U2C])} % of the other two.",
    ),
    (
        COMPARISON,
        f"({INSTALLED['lte-good-200', 'rclone']} against {INSTALLED['lte-good-200', CUBIC]})",
    ),
    (COMPARISON, f"8 parts at once it uses {shares(TUNED['lte-bad', MULTIPART])[1]} of `lte-bad`."),
    (COMPARISON, f"reaches {TUNED['lte-bad', U2C]} of `lte-bad`, the same as the agent."),
    (
        COMPARISON,
        f"on `flyby` ({TUNED['flyby', U2C]}) and `satellite` ({TUNED['satellite', U2C]}).",
    ),
    (
        BY_HAND,
        f"the agent uses {percent(INSTALLED['satellite', BBR])} % of the capacity with BBR,"
        f" and {percent(INSTALLED['satellite', CUBIC])} % with cubic.",
    ),
    (
        BY_HAND,
        f"it is {percent(INSTALLED[DRIVE, BBR])} % instead of {percent(INSTALLED[DRIVE, CUBIC])} %.",
    ),
    (
        "config.example.toml",
        f"it fills {percent(INSTALLED['satellite', BBR])} % of a satellite link"
        f" where cubic fills {percent(INSTALLED['satellite', CUBIC])} %",
    ),
    (
        "docs/page.md",
        f"| {FIRST_VIEW} s, from the browser's cache {FROM_CACHE} s |",
    ),
    ("docs/page.md", f"for the reports | {of_a_core(FLEET['1000', 'With reports'])} of a core |"),
    (
        "docs/page.md",
        f"with five viewers | {of_a_core(FLEET['1000', 'And 5 viewers'])} of a core |",
    ),
]


@pytest.mark.parametrize(("page", "claim"), CLAIMS, ids=[claim for _, claim in CLAIMS])
def test_a_claim_is_what_was_measured(page, claim):
    assert claim in text(page)


@pytest.mark.parametrize(("page", "number"), [(README, r"\d+ %"), (COMPARISON, r"(?<!\d)\.\d\d")])
def test_no_speed_is_claimed_that_is_in_no_table(page, number):
    rest, _, _ = text(page).partition("See it work, in a minute")

    for claim in (claim for where, claim in CLAIMS if where == page):
        rest = rest.replace(claim, "")

    assert re.findall(number, rest) == []
