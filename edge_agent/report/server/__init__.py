"""Telling the server, in reports over HTTP."""
