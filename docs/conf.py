"""How `make docs` builds the site: the pages as they lie here, and the API reference from the docstrings."""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for upload_protocol, which needs the standard library alone
sys.path.insert(0, str(Path(__file__).parent))

import own_requests  # noqa: E402  # beside this file, which is in no package
from sphinx.util import logging  # noqa: E402

project = "Edge uploader"
author = "The edge-uploader founders"
release = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
include_patterns = ["*.md", "docs/**"]
exclude_patterns = ["docs/prose/**"]
root_doc = "docs/index"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]

# A link to a page or a heading that is not there is a warning, and a warning fails the build.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r".*")]
myst_heading_anchors = 4

# Three dots stand for what an example leaves out; no language has them.
suppress_warnings = ["misc.highlighting_failure"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_theme = "furo"
html_title = "Edge uploader"
html_extra_path = ["site"]
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
copybutton_prompt_text = r"[$#] "
copybutton_prompt_is_regexp = True
copybutton_line_continuation_character = "\\"

_LINK = re.compile(r"\[([^\]]*)\]\(([^)#:]+)\)")
_DECISIONS = "\n```{toctree}\n:glob:\n:hidden:\n\n0*\n```\n"


def _read(_app: Any, page: str, source: list[str]) -> None:
    """Make a page of this folder one of the site: the rest of the folders has no pages to link to."""
    folder = (ROOT / page).parent
    source[0] = _LINK.sub(
        lambda link: link[1] if (folder / link[2]).is_dir() else link[0], source[0]
    )
    if page == "docs/adr/README":
        source[0] += _DECISIONS


def _look(app: Any, fault: Exception | None) -> None:
    """Warn, which fails the build, of each page that would fetch something from elsewhere when it is read."""
    if fault is None:
        for page, address in own_requests.in_site(Path(app.outdir)):
            logging.getLogger(__name__).warning(
                "%s loads %s: the site loads its own files only", page, address
            )


def setup(app: Any) -> None:
    """Be called by Sphinx."""
    app.connect("source-read", _read)
    app.connect("build-finished", _look)
