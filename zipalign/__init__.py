"""The box: a ZIP whose members can be mapped into memory."""


class ZipError(Exception):
    """What a user can cause; its text reads "THING: what is wrong; what to do"."""
