"""GGUF files: reading in place, and writing."""
