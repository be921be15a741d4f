"""What importing the package brings along."""

import subprocess
import sys

import pytest


def test_the_package_is_imported_without_frameworks_and_the_predictor_without_tensorflow() -> None:
    program = (
        "import sys, mme2e_jax, mme2e_jax.export.archive\n"
        "assert not {'jax', 'tensorflow', 'numpy'} & set(sys.modules)\n"
        "from mme2e_jax import Predictor\n"
        "assert 'jax' in sys.modules and 'tensorflow' not in sys.modules\n"
        "assert Predictor.__name__ == 'Predictor'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.slow
def test_the_program_imports_tensorflow_without_keras_which_can_be_imported_later() -> None:
    code = (
        "import sys\n"
        "from mme2e_jax.commands.main import _import_tensorflow\n"
        "_import_tensorflow()\n"
        "assert 'keras' not in sys.modules\n"
        "import tensorflow as tf\n"
        "assert list(tf.data.Dataset.range(2).as_numpy_iterator()) == [0, 1]\n"
        "assert tf.keras.optimizers.Adam\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
