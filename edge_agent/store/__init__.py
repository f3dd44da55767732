"""What the agent remembers: one SQLite file. Only this room imports sqlite3."""
