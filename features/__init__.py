"""Raw material to rows: corpora, aligners and extractors, each one file and one frozen dataclass."""

from features.extract import extract

__all__ = ["extract"]
