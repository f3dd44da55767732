"""What a person asks for: status, check, upload, pause."""
