"""How a check says that it does not apply after all."""


class Unsupported(Exception):
    """Raised by a check when the layer lacks a capability; the message names it."""
