"""Serves a page that predicts on uploaded and recorded clips."""

import contextlib
import dataclasses
import functools
import html
import importlib.util
import ipaddress
import os
import signal
import socket
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mme2e_jax.errors import UserError
from mme2e_jax.predict.clip_reader import ClipReader, open_clip
from mme2e_jax.predict.cues import WINDOW_SECONDS, check_windows
from mme2e_jax.predict.results import EMBEDDED_BYTES, Prediction
from mme2e_jax.predict.transcribe import Transcriber, check_flags
from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.jax_cache import configure_jax

_WAITING = 20  # most requests in the queue
_UNUSED_SECONDS = 600  # uploads for which no prediction is asked are deleted after this time
# The page of a prediction is a document of its own, and as high as its content, which can be unfolded.
_FIT = (
    "const page = this.contentDocument.documentElement, "
    "fit = () => this.style.height = page.getBoundingClientRect().height + 'px'; "
    "new ResizeObserver(fit).observe(page); fit()"
)
# Trimming would load a program from another server.
_STYLE = """
.gradio-container { width: 100% !important; max-width: 1240px !important; margin: 0 auto !important; }
button[aria-label="Trim video to selection"], button[aria-label="Reset video to initial value"] { display: none; }
"""


_NO_WORDS = (
    "To give words, type them under Transcript. A demo that is started with --transcribe=MODEL_DIR recognises speech."
)


class DemoArguments(NamedTuple):
    """How the demo predicts, and where and for what clips."""

    tokenizer: str | None  # as for `Predictor.from_workdir`
    face_choice: str | None  # as for `Predictor`
    window: float  # the same
    hop: float  # the same
    host: str  # address to bind to
    port: int | None  # None for the first free one from 7860 on
    max_megabytes: float  # largest file
    max_seconds: float  # longest clip
    transcribe: str | None = None  # directory of a speech recognition model, for clips without words
    language: str | None = None  # as for `Transcriber`


def serve_demo(workdir: str, arguments: DemoArguments) -> None:
    """Serves the page until Ctrl-C or SIGTERM; one loaded model predicts on one clip at a time.

    Args:
      workdir: run directory or shared model.
      arguments: settings and limits.

    Raises:
      UserError: if gradio is not installed, the model or a setting cannot be used, or the address is not free.
    """
    if not Path(workdir).is_dir():
        raise UserError(f"Expected --workdir=RUN, the directory of a training run; {workdir} does not exist.")
    check_windows(arguments.window or WINDOW_SECONDS, arguments.hop)
    check_flags(arguments.transcribe, arguments.language)
    _check_address(arguments.host, arguments.port)
    if importlib.util.find_spec("gradio") is None:
        raise UserError("The demo needs gradio, which is not installed: pip install -r requirements-demo.txt.")
    stop = threading.Event()
    # As Ctrl-C, so that the temporary files are deleted.
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with ClipReader() as reader, tempfile.TemporaryDirectory(prefix="mme2e-demo-") as uploads:
        configure_jax()
        from mme2e_jax.predict.predictor import Predictor

        transcriber = Transcriber(arguments.transcribe, arguments.language) if arguments.transcribe else None
        predictor = Predictor.from_workdir(workdir, arguments.tokenizer, reader)
        # Not while the first user waits.
        predictor.warm_up(arguments.window)
        if transcriber:
            transcriber.warm_up()
            predictor.warm_up(timed=True)
        # Gradio reads both when it is imported or a page is made.
        os.environ |= {"GRADIO_TEMP_DIR": uploads, "GRADIO_ANALYTICS_ENABLED": "False"}
        options = {"window": arguments.window, "hop": arguments.hop, "face_choice": arguments.face_choice}
        predict = functools.partial(predictor, **options, transcriber=transcriber)
        page = _make_page(functools.partial(answer, predict, arguments), arguments)
        try:
            address = _launch(page, arguments)
            console.print(f"Open {address} in a browser. Ctrl-C ends the demo.")
            if not _is_loopback(arguments.host):
                console.print("Everyone who can reach this address can use the demo: it has no password.")
            with contextlib.suppress(KeyboardInterrupt):
                stop.wait()
            console.print("\nThe demo has ended.")
        finally:
            page.close(verbose=False)


def answer(
    predict: Callable[..., Prediction],
    arguments: DemoArguments,
    clips: Sequence[str],
    transcript: str,
    progress: Callable[[float, float], None] = lambda done, whole: None,
) -> str:
    """Returns HTML with the page of the prediction, or with a message if there is none, and deletes the files.

    Args:
      predict: function of path, transcript and `progress`, as `Predictor.__call__`.
      arguments: limits of the clip.
      clips: paths of the given clips, each in a directory of its own; the user must give exactly one.
      transcript: spoken words; may be empty.
      progress: as for `Predictor.__call__`.
    """
    paths = [Path(clip) for clip in clips]
    try:
        if len(paths) != 1:
            raise UserError(
                "Expected one clip, found a video and a sound. Give only one of them."
                if paths
                else "Expected a clip, found none. Upload or record one first."
            )
        _check_limits(paths[0], arguments)
        prediction = predict(paths[0], transcript, progress=progress)
        # The page says which run predicted, not where the server keeps it.
        prediction = dataclasses.replace(prediction, run=Path(prediction.run).name)
        if not transcript.strip() and arguments.transcribe is None and "t" in prediction.modalities:
            prediction = dataclasses.replace(prediction, notes=(*prediction.notes, _NO_WORDS))
        return _frame(_page_of(prediction))
    except UserError as error:
        # The user knows the file by its name.
        return _message(str(error).replace(str(paths[0]), paths[0].name) if paths else str(error))
    except (Exception, KeyboardInterrupt) as error:
        # It may be a mistake of ours. A thread of the server gets KeyboardInterrupt if Ctrl-C ends the reader.
        if isinstance(error, Exception):
            traceback.print_exception(error)
        return _message("The clip was not predicted. The terminal of the demo shows the error.")
    finally:
        for path in paths:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                path.parent.rmdir()


def _check_limits(path: Path, arguments: DemoArguments) -> None:
    # Gradio limits the size while it receives a file; this message also says what to do.
    megabytes, seconds = path.stat().st_size / 1e6, open_clip(path).seconds
    if megabytes > arguments.max_megabytes:
        raise UserError(
            f"Expected a file of at most {arguments.max_megabytes:g} MB (--max_megabytes), found {megabytes:.1f} MB."
        )
    if seconds > arguments.max_seconds:
        raise UserError(
            f"Expected a clip of at most {arguments.max_seconds:g} s (--max_seconds), found {seconds:.1f} s. Cut it, "
            "or predict on it with --mode=predict."
        )


def _page_of(prediction: Prediction) -> str:
    path = Path(prediction.path)
    if path.stat().st_size < EMBEDDED_BYTES:
        return prediction.to_html(path.parent)
    note = f"The clip has {EMBEDDED_BYTES / 1e6:g} MB or more, so that this page does not play it."
    return dataclasses.replace(prediction, notes=(*prediction.notes, note)).to_html()


def _make_page(predict: Callable[..., str], arguments: DemoArguments) -> Any:
    """The page as `gradio.Blocks`; `predict` takes clips, a transcript and a report of progress."""
    import gradio as gr

    # Gradio finds the bar that a function moves by its default.
    bar = gr.Progress()

    def run(
        video: str | None, sound: str | None, transcript: str, progress: gr.Progress = bar
    ) -> tuple[str, None, None]:
        clips = [clip for clip in (video, sound) if clip is not None]
        # The clips are cleared, as their files are deleted; the page of a prediction holds its clip.
        return predict(clips, transcript, lambda done, whole: progress(min(done / whole, 1.0))), None, None

    with gr.Blocks(title="Emotions in a clip", analytics_enabled=False, delete_cache=(60, _UNUSED_SECONDS)) as page:
        gr.Markdown(
            "# Emotions in a clip\n"
            "Upload a clip, or record one with webcam and microphone: at most "
            f"{arguments.max_megabytes:g} MB and {arguments.max_seconds:g} s. It is deleted after the answer."
        )
        with gr.Tab("Video"):
            video = gr.Video(sources=["upload", "webcam"], include_audio=True, label="Video", height=320)
        with gr.Tab("Sound only"):
            sound = gr.Audio(sources=["upload", "microphone"], type="filepath", label="Sound")
        empty = "the speech is recognised" if arguments.transcribe else "the model gets no words"
        hint = f"What is said in the clip. If it stays empty, {empty}."
        transcript = gr.Textbox(label="Transcript", placeholder=hint, lines=2)
        button = gr.Button("Predict", variant="primary")
        result = gr.HTML(padding=False)
        button.click(run, [video, sound, transcript], [result, video, sound], concurrency_limit=1)
    return page.queue(max_size=_WAITING)


def _launch(page: Any, arguments: DemoArguments) -> str:
    """Starts the server in a thread and returns its address."""
    try:
        _, address, _ = page.launch(
            server_name=arguments.host,
            server_port=arguments.port,
            max_file_size=round(arguments.max_megabytes * 1e6),
            prevent_thread_lock=True,
            # All that would need a network, other programs or other pages.
            share=False,
            inbrowser=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            run_history=False,
            enable_monitoring=False,
            footer_links=[],
            quiet=True,
            css=_STYLE,
        )
    except OSError as error:
        # Another program was faster, or has all ports that Gradio tries.
        raise UserError(f"Expected a free port of {arguments.host}, found none. Choose another --port.") from error
    return address


def _check_address(host: str, port: int | None) -> None:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As the server does, so that a port is free as soon as its last server has ended.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        where = f"--host={host}" if port is None else f"--host={host} --port={port}"
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"Expected an address of this computer with a free port, found {where}: {reason}. Choose another."
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _frame(page: str) -> str:
    return (
        f'<iframe title="Prediction" srcdoc="{html.escape(page)}" onload="{html.escape(_FIT)}" '
        'style="width: 100%; height: 80vh; border: 0; background: #fff"></iframe>'
    )


def _message(text: str) -> str:
    return f'<p role="alert" style="border-left: 4px solid #b00020; padding: 4px 10px">{html.escape(text)}</p>'
