"""What pages do with text."""

from mme2e_jax.html.page import unbroken_flags


def test_flags_stay_on_one_line_and_the_rest_is_escaped() -> None:
    text = "Give <times> with --transcript_file=FILE, not - or -- alone."

    assert unbroken_flags(text) == (
        'Give &lt;times&gt; with <span class="flag">--transcript_file</span>=FILE, not - or -- alone.'
    )
