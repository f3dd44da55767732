"""What `/v1/openapi.json` serves: the native protocol, described for programs."""
