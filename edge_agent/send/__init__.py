"""Getting one recording to the server, over lanes."""
