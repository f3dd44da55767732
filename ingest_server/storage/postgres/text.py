"""How text is kept: compared by its bytes, as in SQLite, so that ids and names are in one order everywhere."""

TEXT = 'TEXT COLLATE "C"'
