"""The one exception that is the user's to mend."""


class UserError(Exception):
    """Bad input: the message says what was expected, what was found and what to do. Shown without a traceback."""
