"""Readers: one file per corpus."""
