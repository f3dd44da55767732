"""One upload service: bytes in, durable, verified, published."""
