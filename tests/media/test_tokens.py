"""Tests ALBERT's conventions, reproducible training and errors of tokenizers."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from mme2e_jax.media.tokens import TokenizerError, load_tokenizer, train_mini

TEXTS = [
    "I hate how unfair that letter was.",
    "I am hopeless, nothing gets better!",
    "Café señor, naïve — “what a day” 你好",
    "Nothing was better than that letter; what a happy day.",
]


def test_special_tokens_are_alberts() -> None:
    tokenizer = train_mini(TEXTS).tokenizer

    tokens = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    assert tokenizer.convert_tokens_to_ids(tokens) == [0, 1, 2, 3, 4]
    assert (tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id) == (0, 2, 3)


def test_a_text_is_marked_at_both_ends_and_comes_back_without_case_and_accents() -> None:
    encoder = train_mini(TEXTS)

    ids = encoder.encode("The CAFÉ was naïve")

    assert ids.dtype == np.int32
    assert (ids[0], ids[-1]) == (2, 3)
    decoded = encoder.tokenizer.decode(encoder.encode(TEXTS[1]), skip_special_tokens=True)
    assert decoded == "i am hopeless, nothing gets better!"
    np.testing.assert_array_equal(encoder.encode("café"), encoder.encode("CAFE"))
    assert encoder.encode("").tolist() == [2, 3]


def test_unknown_letters_are_unknown_and_long_texts_stay_whole() -> None:
    encoder = train_mini(TEXTS)

    assert encoder.tokenizer.convert_ids_to_tokens(encoder.encode("Ж")) == ["[CLS]", "▁", "<unk>", "[SEP]"]
    assert len(encoder.encode(", ".join(["letter"] * 5000))) == 2 + 5000 + 4999


def test_the_vocabulary_is_small_and_all_numbers_lie_in_it() -> None:
    words = [f"word{i} other{i * 7}" for i in range(2000)] * 2

    encoder = train_mini(words)

    assert len(encoder.tokenizer) == 1000
    assert max(encoder.encode(" ".join(words))) < 1000


def test_training_in_another_process_gives_the_same_file(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from mme2e_jax.media.tokens import train_mini;"
        "from tests.media.test_tokens import TEXTS; train_mini(reversed(TEXTS)).save(Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "other")], check=True)

    about = train_mini(TEXTS).save(tmp_path / "here")

    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    assert about["name"] == "mini-bpe"
    assert about["vocab_size"] == len(json.loads((tmp_path / "here/tokenizer.json").read_text())["model"]["vocab"])


def test_a_saved_tokenizer_is_loaded_by_us_and_by_transformers(tmp_path: Path) -> None:
    encoder = train_mini(TEXTS)
    about = encoder.save(tmp_path / "mine")

    loaded = load_tokenizer(str(tmp_path / "mine"))

    for text in (*TEXTS, "something else"):
        np.testing.assert_array_equal(loaded.encode(text), encoder.encode(text))
        assert AutoTokenizer.from_pretrained(tmp_path / "mine")(text)["input_ids"] == encoder.encode(text).tolist()
    assert loaded.name == "mine"
    assert {**loaded.save(tmp_path / "copy"), "name": "mini-bpe"} == about


def test_a_missing_directory_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"no such directory\. Download ALBERT's tokenizer with `hf download"):
        load_tokenizer(str(tmp_path / "absent"))
    with pytest.raises(TokenizerError, match=r"a directory without tokenizer\.json"):
        load_tokenizer(str(tmp_path))


def test_an_unreachable_hub_id_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: object, **kwargs: object) -> None:
        raise OSError("We couldn't connect to 'https://huggingface.co'\nand more")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", unreachable)

    with pytest.raises(TokenizerError, match=r"couldn't connect .*\.co'\)\. Download ALBERT's tokenizer with"):
        load_tokenizer("albert/albert-base-v2")


def test_a_tokenizer_without_marks_is_refused(tmp_path: Path) -> None:
    encoder = train_mini(TEXTS)
    encoder.tokenizer.backend_tokenizer.post_processor = None
    encoder.save(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["post_processor"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))

    with pytest.raises(TokenizerError, match=r"to put \[CLS\] first and \[SEP\] last, found"):
        load_tokenizer(str(tmp_path))


def test_settings_of_another_type_are_refused(tmp_path: Path) -> None:
    train_mini(TEXTS).save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"model_max_length": "9"}))

    with pytest.raises(TokenizerError, match="is damaged, or needs code of its own"):
        load_tokenizer(str(tmp_path))


def test_a_panic_of_the_library_is_a_refusal(tmp_path: Path) -> None:
    train_mini(TEXTS).save(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    special = content["post_processor"]["special_tokens"]
    special["[CLx]"] = special.pop("[CLS]")
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))

    with pytest.raises(TokenizerError, match="is damaged, or needs code of its own"):
        load_tokenizer(str(tmp_path))
