"""Shards to checkpoints to predictions. Knows the warehouse, never the extractors: the two meet only on disk."""
