"""The commands of `ingest-server`: what an operator asks for, and how it is answered."""
