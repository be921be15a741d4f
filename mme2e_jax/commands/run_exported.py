"""Predicts the emotions of a clip with an exported model. Needs none of the code that models are made of.

    python launch.py --mode=export --workdir=runs/mini_sparse --out=model.mme2e
    python -m mme2e_jax.run_exported model.mme2e clip.mp4 --transcript="What is said in it."
    python -m mme2e_jax.run_exported model.mme2e film.mkv --transcript_file=film.srt --output_dir=OUT

Prints the same table as `launch.py --mode=predict` and writes predictions.json and predictions.csv to OUT (by default
predictions/CLIP). There is no page: which sites a sparse model kept is not among the results of an exported program.
"""

import os

# As in the launcher.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import sys
from collections.abc import Sequence

from absl import flags

from mme2e_jax.errors import UserError
from mme2e_jax.runtime.jax_cache import prepare_jax


def main(argv: Sequence[str]) -> None:
    """Parses the command line and predicts.

    Raises:
      UserError: if a flag is wrong, or the model or the clip cannot be used.
    """
    values = flags.FlagValues()
    flags.DEFINE_string("transcript", "", "What is said in the clip.", values)
    flags.DEFINE_string("transcript_file", None, "The same with times: .srt, .vtt, or .txt.", values)
    flags.DEFINE_string("output_dir", None, "For the results. Default: predictions/CLIP.", values)
    flags.DEFINE_bool("help", False, "Show this help.", values)
    try:
        given = values(list(argv))[1:]
    except flags.Error as error:
        raise UserError(f"{error}. See --help.") from error
    if values["help"].value:
        print(__doc__)
        return
    if len(given) != 2:
        raise UserError(
            "Expected an exported model and a clip, python -m mme2e_jax.run_exported model.mme2e clip.mp4; found "
            f"{' '.join(given) or 'neither'}. See --help."
        )
    from mme2e_jax.commands.predict import predict_exported

    predict_exported(
        *given,
        transcript=values["transcript"].value or "",
        transcript_file=values["transcript_file"].value,
        output_dir=values["output_dir"].value,
        prepare_jax=prepare_jax,
    )


def run() -> None:
    """Runs the command line; a user's mistake ends the program with one message."""
    try:
        main(sys.argv)
    except UserError as error:
        sys.exit(f"\nError: {error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted.")
