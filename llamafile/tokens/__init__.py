"""Text to token ids and back, by the vocabulary that a GGUF file carries."""

from .stream import StreamDecoder
from .tokenizer import Tokenizer

__all__ = ["StreamDecoder", "Tokenizer"]
