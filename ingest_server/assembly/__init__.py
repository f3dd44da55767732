"""What the composition root is made of: the database, who is told, and settings from the configuration."""
