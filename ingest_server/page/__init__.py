"""The page in the operator's browser: its files, which lie beside this, and what it asks the server."""
