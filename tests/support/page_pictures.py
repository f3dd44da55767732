"""Makes the pictures of docs/page.md anew: ``python -m tests.support.page_pictures docs/figures``.

The fleet in them was never built (`page_fleet`), so they are the same each time.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support import page_fleet
from tests.support.browser import Browser, node_with_packages
from tests.support.page_site import PageSite, serving

_ROWS = "document.querySelectorAll('tbody tr').length"
_COLOURS = (
    "7db9e8:c1=0x1e5799:c2=0x2d5016",
    "f6d365:c1=0xfda085:c2=0x5b247a",
    "d7dde8:c1=0x757f9a:c2=0x3a4a3f",
)
_SMALL = "split[a][b];[a]palettegen=max_colors=192[p];[b][p]paletteuse=dither=none"


def _videos(folder: Path) -> list[bytes]:
    found = []
    for n, colours in enumerate(_COLOURS):
        source = f"gradients=s=640x360:c0=0x{colours}:nb_colors=3:seed={n + 3}:speed=0.02"
        path = folder / f"{n}.mp4"
        options = ["-t", "3", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
        _ffmpeg("-f", "lavfi", "-i", source, *options, path)
        found.append(path.read_bytes())
    return found


def _ffmpeg(*arguments: object) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


class Pictures:
    def __init__(self, browser: Browser, folder: Path) -> None:
        self._browser = browser
        self._folder = folder

    def take(
        self,
        name: str,
        url: str,
        shown: str,
        *,
        width: int = 1280,
        height: int = 860,
        scheme: str = "light",
    ) -> None:
        browser, path = self._browser, self._folder / f"page-{name}.png"
        browser.do("fresh")
        browser.do("viewport", width=width, height=height)
        browser.do("scheme", value=scheme)
        browser.goto(url)
        browser.wait(shown)
        with tempfile.NamedTemporaryFile(suffix=".png") as whole:
            browser.do("screenshot", path=whole.name)
            _ffmpeg("-i", whole.name, "-vf", _SMALL, path)


def main(folder: Path) -> None:
    browser = Browser(node_with_packages())
    pictures = Pictures(browser, folder)
    fleet = page_fleet.rows(1004)
    site = PageSite([one for one in fleet if one["device"] not in page_fleet.NAMES_THAT_BITE[1:]])
    try:
        with tempfile.TemporaryDirectory() as made:
            site.videos = _videos(Path(made))
        with serving(site) as url:
            plotted = "document.querySelector('.plot polygon')"
            pictures.take("fleet", url, f"{_ROWS} > 10")
            pictures.take("fleet-dark", url, f"{_ROWS} > 10", scheme="dark")
            pictures.take("fleet-360", url, f"{_ROWS} > 10", width=360, height=860)
            pictures.take("device", f"{url}#/device/drone-020", plotted, height=1000)
            pictures.take(
                "device-dark", f"{url}#/device/pi-gate-2", plotted, height=1000, scheme="dark"
            )
            pictures.take(
                "recordings",
                f"{url}#/recordings",
                "document.querySelectorAll('.thumb canvas').length > 3",
                height=700,
            )
        with serving(PageSite()) as url:
            pictures.take("first-device", url, "document.querySelector('.first')", height=800)
    finally:
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
