"""The product room's one exception class."""


class LlamafileError(Exception):
    """What a user can cause and mend; the message reads `THING: what is wrong; what to do`."""
