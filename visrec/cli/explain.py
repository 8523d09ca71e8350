"""Commands of this part."""


def register(commands) -> None:
    """Add the commands."""
