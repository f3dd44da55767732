"""State and blobs: what is durable. Each engine has a folder of its own."""
