"""docs/api.md: every module of upload_protocol is in the reference, once."""

import pkgutil
import re

import upload_protocol
from tests.support.pages import ROOT


def test_each_module_is_in_the_reference():
    shown = re.findall(
        r"automodule:: upload_protocol\.(\w+)", (ROOT / "docs/api.md").read_text("utf-8")
    )

    assert sorted(shown) == sorted(
        module.name for module in pkgutil.iter_modules(upload_protocol.__path__)
    )
