"""Telling others: webhooks, hooks, metrics."""
