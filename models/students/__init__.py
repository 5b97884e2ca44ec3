"""One student per file: a frozen dataclass that a checkpoint is fitted from. Nothing here imports torch to be read."""
