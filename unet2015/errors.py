"""The one exception that tells users what to change."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one sentence that names what was wrong, what is allowed and how to fix it;
    the command line prints it and exits with status 2.
    """
