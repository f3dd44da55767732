"""Thin dialects in front of the upload service."""
