"""Orchestration: the only room that knows Prefect, and the only one that knows all rooms."""
