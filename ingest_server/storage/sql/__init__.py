"""What SQLite and PostgreSQL are asked and told, in the SQL that both speak."""
