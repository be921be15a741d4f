"""The command `config` lists every value with its origin and its meaning."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from mme2e_jax.commands.config import Setting, list_settings, read_comments
from mme2e_jax.config.cli import CONFIGS, config_with
from mme2e_jax.errors import UserError
from mme2e_jax.runtime.console import PlainConsole
from tests.helpers.runs import run

MINI = "--config=configs/mini_sparse.py"
SOURCE = '''
"""# No comment."""
def get_config(full=False):
    # above the config itself
    config = ConfigDict()
    config.seed = 0  # fixes the order
    config.data = data = ConfigDict()  # the records
    # first line,
    # second line
    data.dir = "a # b"
    data.skip_bad = 0
    if full:
        config.model = model = ConfigDict()
        # not this one
        model.width = (
            1.0
        )  # at the end
        model.text = ConfigDict()
        model.text.size = "tiny"  # size
    other.lr = 1  # of another object
    unrelated = 2  # of nothing
    return config
'''


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, list[str]]:
    """The columns of each printed line by key."""
    run("--mode=config", *arguments)
    lines = [[cell.strip() for cell in line.split("  ") if cell] for line in capsys.readouterr().out.splitlines()]
    return {key: cells for key, *cells in lines}


def test_values_come_from_the_file_a_flag_or_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, MINI, "--config.optim.lr=0.25", "--config.mini.seed=7")

    assert lines["optim.lr"] == ["0.25", "flag", "learning rate"]
    assert lines["mini.seed"] == ["7", "flag", "fixes the generated content"]
    assert lines["optim.dense_epochs"] == [
        "18",
        "config file",
        "first epochs, with all sites; then the run is its own teacher",
    ]
    # What training would generate.
    assert lines["data.dir"][:2] == ["'records/mini-160-7'", "default"]
    assert len(lines) == len(list_settings(config_with("mini_sparse", []), CONFIGS / "mini_sparse.py", ()))


def test_keys_without_effect_are_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, MINI, "--config.model.name=mme2e", "--config.data.dir=mine")

    assert lines["model.name"][:2] == ["'mme2e'", "flag"]
    assert lines["data.dir"][:2] == ["'mine'", "flag"]
    assert not [key for key in lines if key.startswith(("model.sparse", "optim.teacher"))]


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("[!_]*.py")))
def test_every_value_of_a_config_has_a_meaning(name: str) -> None:
    settings = list_settings(config_with(name, []), CONFIGS / f"{name}.py", ())

    assert len(settings) > 20
    assert [setting.key for setting in settings if not setting.meaning] == []


def test_the_comments_of_the_config_file_count_first(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    text = (CONFIGS / "mini_dense.py").read_text()
    own.write_text(text.replace("optim.lr = 1e-3", "optim.lr = 1e-3  # high, because of the noise"))

    settings = {setting.key: setting for setting in list_settings(config_with(str(own), []), own, ())}

    assert settings["optim.lr"] == Setting("optim.lr", "0.001", "config file", "high, because of the noise")
    assert settings["optim.epochs"].meaning == "passes over the training split"


def test_comments_belong_to_the_key_of_their_line_or_of_the_next() -> None:
    assert read_comments(SOURCE) == {
        "seed": "fixes the order",
        "data": "the records",
        "data.dir": "first line, second line",
        "model.width": "at the end",
        "model.text.size": "size",
    }


def test_a_terminal_gets_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr("mme2e_jax.commands.config.console", PlainConsole(file=output, force_terminal=True, width=130))

    run("--mode=config", MINI)

    assert "key" in output.getvalue().splitlines()[1]
    assert any(
        "optim.lr" in line and "learning rate" in line and "│" in line for line in output.getvalue().splitlines()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Expected --config=FILE"),
        (("--config=absent.py",), "expected a config file"),
        ((MINI, "--config.optim.lr=-1"), r"config\.optim\.lr: expected a number above 0"),
        ((MINI, "--config.optim.momentum=1"), r"config\.optim\.momentum: no such key"),
        ((MINI, "--workdir=x"), "--workdir is not a flag of --mode=config"),
    ],
)
def test_invalid_command_lines_get_the_usual_errors(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run("--mode=config", *arguments)


def test_no_framework_is_imported() -> None:
    program = (
        "import sys\n"
        "from mme2e_jax.commands.main import main\n"
        f"main(['launch.py', '--mode=config', {MINI!r}], None)\n"
        "assert not {'jax', 'tensorflow', 'flax'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert "optim.lr" in done.stdout
