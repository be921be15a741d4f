"""The page that predicts on uploaded and recorded clips."""

import dataclasses
import html
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mme2e_jax.commands.demo import DemoArguments, answer
from mme2e_jax.errors import UserError
from mme2e_jax.predict.results import EMBEDDED_BYTES, Prediction
from tests.helpers.browser import needs_browser
from tests.helpers.clip_run import SIZE, WORDS, levels, make_clip_run, write_clips
from tests.helpers.devtools import Page, browser
from tests.helpers.media import tone, write_video, write_wav
from tests.helpers.runs import REPOSITORY, run
from tests.helpers.whisper import save_whisper
from tests.predict.test_results import prediction
from tests.predict.test_transcribe import SEED, speech

LIMITS = DemoArguments(None, None, 3.0, 0.5, "127.0.0.1", None, max_megabytes=1.0, max_seconds=5.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Expected --workdir=RUN with --mode=demo"),
        (("--workdir=absent",), "absent does not exist"),
        (("--workdir=.", "--hop=4"), "found 3 and 4"),
        (("--workdir=.", "--port=70000"), "70000"),
        (("--workdir=.", "--transcribe=absent"), "found no such directory: absent"),
        (("--workdir=.", "--language=en"), "Expected --transcribe=MODEL_DIR with --language=en"),
        (("--workdir=.", "--max_seconds=0"), "max_seconds"),
        (("--workdir=.", "--input=clip.mp4"), "--input is not a flag of --mode=demo"),
    ],
)
def test_a_command_line_that_cannot_work_is_refused(arguments: Sequence[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run("--mode=demo", *arguments)


def test_without_gradio_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gradio" else find(name))

    with pytest.raises(UserError, match=r"gradio, which is not installed: pip install -r requirements-demo\.txt\.$"):
        run("--mode=demo", f"--workdir={tmp_path}")


@pytest.mark.parametrize("host", ["192.0.2.1", "no host"])
def test_an_address_of_another_computer_is_refused(host: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"address of this computer .* found --host={host}: "):
        run("--mode=demo", f"--workdir={tmp_path}", f"--host={host}")


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"free port, found --host=127\.0\.0\.1 --port={port}: "):
            run("--mode=demo", f"--workdir={tmp_path}", f"--port={port}")


def _upload(directory: Path, seconds: float, name: str = "a.wav") -> Path:
    """A sound file as the server stores it, in a directory of its own."""
    path = directory / "upload" / name
    write_wav(path, tone(seconds))
    return path


def _predict(path: Path, transcript: str, **_: Any) -> Prediction:
    return dataclasses.replace(
        prediction(), run="x", clip=path.name, path=str(path), notes=(transcript,), modalities="tva"
    )


def _never(*_: object, **__: object) -> Prediction:
    raise AssertionError("nothing is predicted")


def _fails(*_: object, **__: object) -> Prediction:
    raise ZeroDivisionError("by zero")


def test_the_answer_is_the_page_of_the_prediction_and_the_clip_is_deleted(tmp_path: Path) -> None:
    path = _upload(tmp_path, 2)
    expected = _predict(path, "six two").to_html(path.parent)

    shown = answer(_predict, LIMITS, [str(path)], "six two")

    assert "data:audio/" in expected
    assert html.unescape(re.findall('srcdoc="(.*?)"', shown, re.DOTALL)[0]) == expected
    assert not path.parent.exists()


def test_a_page_without_words_says_how_to_get_some(tmp_path: Path) -> None:
    hint = "To give words, type them under Transcript. A demo that is started with"
    recognising = LIMITS._replace(transcribe="MODEL_DIR")

    def shown(arguments: DemoArguments, transcript: str) -> str:
        return html.unescape(answer(_predict, arguments, [str(_upload(tmp_path, 1))], transcript))

    assert hint in shown(LIMITS, " ")
    assert hint not in shown(LIMITS, "six two")
    assert hint not in shown(recognising, "")


def test_a_page_names_the_run_without_its_place_on_the_server(tmp_path: Path) -> None:
    def predict(path: Path, transcript: str, **options: Any) -> Prediction:
        return dataclasses.replace(_predict(path, transcript, **options), run="/srv/models/my_run")

    shown = html.unescape(answer(predict, LIMITS, [str(_upload(tmp_path, 1))], ""))

    assert "of the run my_run, step" in shown
    assert "/srv/models" not in shown


def test_a_clip_too_large_to_embed_has_a_page_that_says_so(tmp_path: Path) -> None:
    path = _upload(tmp_path, EMBEDDED_BYTES / 32_000)

    shown = answer(_predict, LIMITS._replace(max_megabytes=100, max_seconds=1000), [str(path)], "")

    assert "The clip has 20 MB or more, so that this page does not play it." in html.unescape(html.unescape(shown))
    assert "&lt;audio" not in shown


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (LIMITS, "Expected a clip of at most 5 s (--max_seconds), found 6.0 s."),
        (LIMITS._replace(max_megabytes=0.1), "Expected a file of at most 0.1 MB (--max_megabytes), found 0.2 MB."),
    ],
)
def test_a_clip_above_a_limit_is_refused_and_deleted(limits: DemoArguments, message: str, tmp_path: Path) -> None:
    path = _upload(tmp_path, 6)

    assert message in html.unescape(answer(_never, limits, [str(path)], ""))
    assert not path.parent.exists()


def test_a_file_that_is_no_clip_is_named_without_its_place_on_the_server(tmp_path: Path) -> None:
    path = tmp_path / "upload" / "<b>.mp4"
    path.parent.mkdir()
    path.write_text("no video")

    shown = answer(_never, LIMITS, [str(path)], "")

    assert 'role="alert"' in shown
    assert "Expected a video or sound file that FFmpeg reads, found &lt;b&gt;.mp4" in shown
    assert str(tmp_path) not in shown
    assert not path.parent.exists()


def test_exactly_one_clip_is_expected(tmp_path: Path) -> None:
    both = [_upload(tmp_path / name, 1) for name in ("video", "sound")]

    assert "Upload or record one first." in answer(_never, LIMITS, [], "")
    assert "Give only one of them." in answer(_never, LIMITS, [str(path) for path in both], "")
    assert not any(path.exists() for path in both)


def test_an_unexpected_error_is_shown_in_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _upload(tmp_path, 1)

    assert "The terminal of the demo shows the error." in answer(_fails, LIMITS, [str(path)], "")
    assert "ZeroDivisionError: by zero" in capsys.readouterr().err
    assert not path.parent.exists()


class _Demo(NamedTuple):
    process: subprocess.Popen[str]
    address: str
    temporary: Path  # directory of its temporary files
    log: Path  # its standard error
    run: Path
    clips: Path

    def uploads(self) -> list[Path]:
        """Files of users that are still there."""
        return [path for path in self.temporary.glob("mme2e-*/**/*") if path.is_file()]


@pytest.fixture(scope="module")
def demo(shared: Callable[[str, Callable[[Path], object]], Path], tmp_path_factory: pytest.TempPathFactory):
    """A running demo of a small model, which takes clips of up to 8 s and 1 MB, and recognises speech if it can."""
    pytest.importorskip("gradio")
    clips = write_clips(tmp_path_factory.mktemp("clips"))
    workdir = make_clip_run(clips, tmp_path_factory.mktemp("demo"))
    temporary = tmp_path_factory.mktemp("temporary")
    command = ["--mode=demo", f"--workdir={workdir}", "--max_seconds=8", "--max_megabytes=1"]
    if importlib.util.find_spec("faster_whisper"):
        command.append(f"--transcribe={save_whisper(tmp_path_factory.mktemp('whisper') / 'tiny', SEED)}")
    log = temporary.with_name("demo.log")
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "launch.py", *command],
            cwd=REPOSITORY,
            env=os.environ | {"TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdout
        try:
            lines: Iterator[str] = iter(process.stdout.readline, "")
            address = next((line.split()[1] for line in lines if line.startswith("Open http")), None)
            assert address, log.read_text()
            yield _Demo(process, address, temporary, log, workdir, clips)
        finally:
            process.kill()


_RESULT = "document.querySelector('iframe[title=Prediction]')?.contentDocument"
_MESSAGE = "document.querySelector('[role=alert]')?.innerText"


def _upload_and_predict(page: Page, clip: Path, transcript: str = "") -> None:
    page.wait_for("!!document.querySelector('input[type=file]')")
    page.choose_file("input[type=file]", clip)
    page.wait_for("!!document.querySelector('button[aria-label=Clear]')")
    if transcript:
        page.evaluate("document.querySelector('textarea').focus()")
        page.send("Input.insertText", text=transcript)
    _click(page, "Predict")
    # The clip is cleared when the answer is there.
    page.wait_for(f"!!document.querySelector('input[type=file]') && !!({_MESSAGE} ?? {_RESULT}?.querySelector('h1'))")


def _click(page: Page, text: str) -> None:
    page.wait_for(f"!![...document.querySelectorAll('button')].find(b => b.innerText.trim() === '{text}')")
    page.evaluate(f"[...document.querySelectorAll('button')].find(b => b.innerText.trim() === '{text}').click()")


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", [1280, 400])
def test_an_uploaded_clip_has_the_page_that_the_command_writes(demo: _Demo, width: int, tmp_path: Path) -> None:
    clip = demo.clips / "v4.mp4"
    run(
        *("--mode=predict", f"--workdir={demo.run}", f"--input={clip}"),
        *(f"--transcript={WORDS[4]}", f"--output_dir={tmp_path / 'out'}"),
    )
    expected = (tmp_path / "out" / "predictions.html").read_text(encoding="utf-8")
    # The demo does not say where the server keeps the run.
    expected = expected.replace(f"of the run {demo.run}, step", f"of the run {demo.run.name}, step")

    with browser(tmp_path / "profile") as page:
        page.open(demo.address, width)
        _upload_and_predict(page, clip, WORDS[4])

        assert page.evaluate("document.querySelector('iframe').srcdoc") == expected
        fits = "[document, document.querySelector('iframe').contentDocument].map(({documentElement: d}) => "
        fits += "d.scrollWidth <= d.clientWidth)"
        page.wait_for(f"{_RESULT}.querySelector('video')?.readyState > 0")
        assert page.evaluate(fits) == [True, True]
        assert page.evaluate("document.querySelector('iframe').offsetWidth") > 0.7 * width
        # The frame grows with its page, which has no scroll bar of its own.
        before = page.evaluate("document.querySelector('iframe').offsetHeight")
        page.evaluate(f"{_RESULT}.querySelector('details').setAttribute('open', '')")
        page.wait_for(f"document.querySelector('iframe').offsetHeight > {before} + 200")
        page.wait_for(f"{_RESULT}.documentElement.scrollHeight <= document.querySelector('iframe').offsetHeight + 1")
        assert page.messages == []
        others = [url for url in page.requests if not url.startswith((demo.address, "data:", "blob:", "about:"))]
        assert others == []
    assert demo.uploads() == []


@pytest.mark.slow
@needs_browser
def test_speech_is_recognised_unless_words_are_typed(demo: _Demo, tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    write_video(tmp_path / "spoken.mp4", levels(5, 1), size=SIZE, wave=speech())

    with browser(tmp_path / "profile") as page:
        found = []
        for words in ("", "six two"):
            page.open(demo.address)
            _upload_and_predict(page, tmp_path / "spoken.mp4", words)
            found.append(page.evaluate(f"{_RESULT}.body.innerText"))

    assert "The transcript was recognised by the model tiny" in found[0]
    assert "No transcript was given" not in found[0]
    assert "recognised" not in found[1]
    assert "six two" in found[1]


@pytest.mark.slow
@needs_browser
def test_clips_that_cannot_be_used_have_a_message(demo: _Demo, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_text("no video")
    write_video(tmp_path / "long.mp4", [100] * 90, size=(64, 48))
    write_video(tmp_path / "large.mp4", [100], size=(64, 48))
    with (tmp_path / "large.mp4").open("ab") as file:
        file.write(bytes(1_100_000))

    with browser(tmp_path / "profile") as page:
        page.open(demo.address)
        _click(page, "Predict")
        assert "Upload or record one first." in page.wait_for(_MESSAGE)
        for name, message in (("broken.mp4", "that FFmpeg reads, found broken.mp4"), ("long.mp4", "at most 8 s")):
            page.open(demo.address)
            _upload_and_predict(page, tmp_path / name)
            assert message in page.evaluate(_MESSAGE)
        page.open(demo.address)
        page.wait_for("!!document.querySelector('input[type=file]')")
        page.choose_file("input[type=file]", tmp_path / "large.mp4")
        page.wait_for("/maximum allowed size/.test(document.body.innerText)")
    assert demo.uploads() == []


@pytest.mark.slow
@needs_browser
def test_a_clip_is_recorded_with_webcam_and_microphone(demo: _Demo, tmp_path: Path) -> None:
    devices = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with browser(tmp_path / "profile", devices) as page:
        page.open(demo.address)
        page.wait_for("!!document.querySelector('button[aria-label=\"Capture from camera\"]')")
        page.evaluate("document.querySelector('button[aria-label=\"Capture from camera\"]').click()")
        _click(page, "Click to Access Webcam")
        page.wait_for("document.querySelector('video')?.currentTime > 0")
        _click(page, "Record")
        page.evaluate("new Promise(done => setTimeout(done, 3000))")
        _click(page, "Stop")
        page.wait_for("!!document.querySelector('button[aria-label=Clear]')")
        _click(page, "Predict")
        text = page.wait_for(f"{_RESULT}?.querySelector('h1') && {_RESULT}.body.innerText")

    assert "Emotions in sample.webm" in text
    shares = re.findall(r"(\d+)%\t(\d+)%\t(\d+)%", text)
    # The model has both pictures and sound.
    assert shares
    assert all(int(video) > 0 and int(audio) > 0 for _, video, audio in shares)
    assert demo.uploads() == []


@pytest.mark.slow
def test_ctrl_c_ends_the_demo_and_leaves_no_files(demo: _Demo) -> None:
    """Runs last: the other tests use the same demo."""
    demo.process.send_signal(signal.SIGINT)

    output, _ = demo.process.communicate(timeout=300)

    assert demo.process.returncode == 0
    assert "The demo has ended." in output
    assert demo.log.read_text() == ""
    assert list(demo.temporary.iterdir()) == []
