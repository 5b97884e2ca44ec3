"""Extractors: one file each; arrays and vectors from clips."""
