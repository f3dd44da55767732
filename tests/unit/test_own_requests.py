"""The site's pages load their own files only; a build looks for others by this."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def own_requests():
    spec = importlib.util.spec_from_file_location("own_requests", DOCS / "own_requests.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "loads",
    [
        '<script src="https://a.example/x.js"></script>',
        '<script type=module>import x from "https://a.example/x.mjs"</script>',
        "<script>await import('//a.example/x.mjs')</script>",
        '<script>fetch("https://a.example/x")</script>',
        '<link rel="stylesheet" href="//a.example/x.css">',
        '<link rel="preload" as="font" href="HTTPS://a.example/x.woff2">',
        '<link rel="icon" href="https://a.example/x.svg">',
        "<style>@font-face { src: url(https://a.example/x.woff2) }</style>",
        "<style>@import 'https://a.example/x.css';</style>",
        '<p style="background: url(//a.example/x.png)">',
        '<img src="https://a.example/x.png">',
        '<img srcset="x.png 1x, https://a.example/x.png 2x">',
        '<video poster="https://a.example/x.png"></video>',
        '<iframe src="https://a.example/"></iframe>',
        '<svg><image xlink:href="https://a.example/x.png"/></svg>',
    ],
)
def test_what_a_browser_would_fetch_from_elsewhere_is_found(loads, own_requests, tmp_path):
    (tmp_path / "page.html").write_text(loads)

    [(page, address)] = own_requests.in_site(tmp_path)

    assert page == Path("page.html")
    assert "//a.example/x" in address or address == "https://a.example/"


@pytest.mark.parametrize(
    "is_there",
    [
        '<a href="https://a.example/">elsewhere</a>',
        '<link rel="canonical" href="https://a.example/">',
        '<svg xmlns="http://www.w3.org/2000/svg"><use href="#one"/></svg>',
        '<script src="../_static/x.js"></script><img src="data:image/png;base64,//aa">',
        "<p>curl https://a.example/x.js</p>",
        '<script>const where = "https://a.example/"</script>',
    ],
)
def test_a_link_and_a_file_of_the_site_are_none_of_it(is_there, own_requests, tmp_path):
    (tmp_path / "page.html").write_text(is_there)

    assert list(own_requests.in_site(tmp_path)) == []


def test_style_sheets_scripts_and_drawings_are_looked_at_as_pages_are(own_requests, tmp_path):
    (tmp_path / "a.css").write_text('@import url("https://a.example/x.css");')
    (tmp_path / "b.js").write_text('import { x } from "https://a.example/x.mjs"')
    (tmp_path / "c.svg").write_text('<svg><image href="https://a.example/x.png"/></svg>')

    found = [str(path) for path, _ in own_requests.in_site(tmp_path)]

    assert found == ["a.css", "b.js", "c.svg"]
