"""What extractors that run a pretrained network share: loading it, cutting long sound, pooling, words of tokens."""
