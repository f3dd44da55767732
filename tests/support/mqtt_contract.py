"""Messages held to their schemas, as whoever reads the topics would hold them."""

import json
from functools import cache
from typing import Any

import jsonschema_rs

from edge_agent.report import contract

_OURS = {name: name for name in ("status", "info", "state", "event", "reported")} | {
    "cmd/ack": "ack"
}
"""Channel -> schema, of what the agent says; what others send may be nonsense on purpose."""


def strict(schema: Any) -> Any:
    """Return *schema* without room for keys that it does not name: ours are all named."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        closed.setdefault("additionalProperties", False)
    return closed


@cache
def validator(name: str) -> Any:
    return jsonschema_rs.Draft202012Validator(strict(contract.schema(name)), validate_formats=True)


def violations(topic: str, payload: bytes, prefix: str = "edgeup") -> list[str]:
    """Return what is wrong with a message of the agent's; with one of another topic nothing is."""
    root, _, rest = topic.partition("/v1/")
    name = _OURS.get(rest.partition("/")[2])
    if root != prefix or name is None or not payload:
        return []
    errors = validator(name).iter_errors(json.loads(payload))
    return [
        f"{topic}: {error.message} at {'/'.join(map(str, error.instance_path))}" for error in errors
    ]
