"""What importing the package brings along."""

import subprocess
import sys


def test_the_package_is_imported_without_frameworks_and_the_predictor_without_tensorflow() -> None:
    program = (
        "import sys, mme2e_jax, mme2e_jax.export.archive\n"
        "assert not {'jax', 'tensorflow', 'numpy'} & set(sys.modules)\n"
        "from mme2e_jax import Predictor\n"
        "assert 'jax' in sys.modules and 'tensorflow' not in sys.modules\n"
        "assert Predictor.__name__ == 'Predictor'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
