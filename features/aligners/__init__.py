"""Aligners: one file each; words and phones with times."""
