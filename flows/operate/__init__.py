"""Runs on a schedule: what a recipe asks for, what Prefect is given to do it, and what became of it."""
