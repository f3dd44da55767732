"""`ingest-server setup`: what makes a machine the server, and what takes it back."""
