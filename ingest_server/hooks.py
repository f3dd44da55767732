"""What an operator's hook file imports: ``from ingest_server.hooks import RefuseUpload``.

These names stay here whatever moves behind them; docs/webhooks.md has an example.
"""

from ingest_server.notify.hooks import Check, Hook, RefuseUpload

__all__ = ["Check", "Hook", "RefuseUpload"]
