"""The exception for errors that the user can fix."""


class UserError(Exception):
    """Bad input: the message says what was expected, what was found and what to do. Shown without a traceback."""
