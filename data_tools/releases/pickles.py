"""What is said of pickles that are not what they should be."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_tools.releases.release import ReleaseError
from mme2e_jax.pickles.plain_pickle import Refused


@contextmanager
def reading(path: Path, what: str, expected: str) -> Iterator[None]:
    """Turns what reading a pickle raises into an error that a user can act on.

    Args:
      path: of the file.
      what: that should be in it.
      expected: the kinds of values that this is made of.

    Raises:
      ReleaseError: if the pickle asks for anything else, is damaged, or is none.
    """
    try:
        yield
    except Refused as error:
        raise ReleaseError(
            f"{path} asks for {error}, which no {what} needs. Nothing of it was run. Expected {expected}; get the file "
            "from its authors again."
        ) from error
    except (ValueError, LookupError, TypeError, OverflowError, EOFError) as error:
        raise ReleaseError(
            f"{path} is damaged or no pickle: {error or type(error).__name__}. Copy it once more."
        ) from error
