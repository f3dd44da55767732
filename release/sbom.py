"""What a package holds, as a CycloneDX document: from the metadata that lies in it, not from a list beside it."""

from __future__ import annotations

import json
import uuid
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

_SPACE = uuid.UUID("6f7c6a36-6d1c-4a50-8c2f-2c3a54c3f6ad")


def document(lib: Path, name: str, version: str, machine: str) -> str:
    """Return it, for the modules below *lib*; the same for the same content."""
    found = sorted(
        distributions(path=[str(lib)]), key=lambda one: canonicalize_name(one.metadata["Name"])
    )
    components = [_component(one) for one in found]
    serial = uuid.uuid5(_SPACE, json.dumps([name, version, machine, components]))
    return json.dumps(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "serialNumber": f"urn:uuid:{serial}",
            "version": 1,
            "metadata": {
                "component": {
                    "type": "application",
                    "bom-ref": f"{name}@{version}",
                    "name": name,
                    "version": version,
                    "purl": f"pkg:deb/debian/{name}@{version.replace('~', '%7E')}?arch={machine}",
                }
            },
            "components": components,
            "dependencies": [
                {"ref": f"{name}@{version}", "dependsOn": [one["bom-ref"] for one in components]}
            ],
        },
        indent=1,
    )


def _component(one: Distribution) -> dict[str, Any]:
    name = canonicalize_name(one.metadata["Name"])
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": f"pkg:pypi/{name}@{one.version}",
        "name": name,
        "version": one.version,
        "purl": f"pkg:pypi/{name}@{one.version}",
    }
    if "License-Expression" in one.metadata:
        component["licenses"] = [{"expression": one.metadata["License-Expression"]}]
    return component
