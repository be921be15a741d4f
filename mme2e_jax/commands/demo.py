"""Serves a page in the browser that predicts on uploaded and recorded clips."""

import contextlib
import dataclasses
import html
import importlib.util
import ipaddress
import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mme2e_jax.errors import UserError
from mme2e_jax.predict.clip_reader import ClipReader, open_clip
from mme2e_jax.predict.cues import WINDOW_SECONDS, check_windows
from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.jax_cache import configure_jax

if TYPE_CHECKING:
    from mme2e_jax.predict.predictor import Predictor

_WAITING = 20  # most requests in the queue
_UNUSED_SECONDS = 600  # uploads for which no prediction is asked are deleted after this time
_NO_CLIP = "Upload or record a clip first."
# The page of a prediction is a document of its own, and as high as its content, which can be unfolded.
_FIT = (
    "const page = this.contentDocument.documentElement, "
    "fit = () => this.style.height = page.getBoundingClientRect().height + 'px'; "
    "new ResizeObserver(fit).observe(page); fit()"
)
# The footer keeps its place although it has no links.
_STYLE = ".gradio-container { max-width: 1240px !important; } footer { display: none !important; }"


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
    if importlib.util.find_spec("gradio") is None:
        raise UserError("The demo needs gradio, which is not installed: pip install -r requirements-demo.txt.")
    stop = threading.Event()
    # As Ctrl-C, so that the temporary files are deleted.
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with ClipReader() as reader, tempfile.TemporaryDirectory(prefix="mme2e-demo-") as uploads:
        configure_jax()
        from mme2e_jax.predict.predictor import Predictor

        predictor = Predictor.from_workdir(workdir, arguments.tokenizer, reader)
        # The first answer is as fast as the others.
        predictor.warm_up(arguments.window)
        # Gradio reads both when it is imported or a page is made.
        os.environ |= {"GRADIO_TEMP_DIR": uploads, "GRADIO_ANALYTICS_ENABLED": "False"}
        page = _make_page(lambda *request: answer(predictor, arguments, *request), arguments)
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
    predictor: "Predictor",
    arguments: DemoArguments,
    clip: str | None,
    transcript: str,
    progress: Callable[[float, float], None] = lambda done, whole: None,
) -> str:
    """Returns HTML with the page of the prediction, or with a message if there is none, and deletes the clip."""
    if clip is None:
        return _message(_NO_CLIP)
    path = Path(clip)
    try:
        return _frame(_predict(predictor, arguments, path, transcript, progress))
    except UserError as error:
        # The user knows the file by its name.
        return _message(str(error).replace(str(path), path.name))
    except (Exception, KeyboardInterrupt) as error:
        # It may be a mistake of ours. A thread of the server gets KeyboardInterrupt if Ctrl-C ends the reader.
        if isinstance(error, Exception):
            traceback.print_exception(error)
        return _message("The clip was not predicted: the terminal of the demo shows the error.")
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            path.parent.rmdir()


def _predict(
    predictor: "Predictor",
    arguments: DemoArguments,
    path: Path,
    transcript: str,
    progress: Callable[[float, float], None],
) -> str:
    from mme2e_jax.predict.results import EMBEDDED_BYTES

    # Gradio limits the size while it receives a file, but only for uploads of its own page.
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
    options: dict[str, Any] = {"window": arguments.window, "hop": arguments.hop, "face_choice": arguments.face_choice}
    prediction = predictor(path, transcript, progress=progress, **options)
    if megabytes * 1e6 < EMBEDDED_BYTES:
        return prediction.to_html(path.parent)
    note = f"The clip has {EMBEDDED_BYTES / 1e6:g} MB or more, so that this page does not play it."
    return dataclasses.replace(prediction, notes=(*prediction.notes, note)).to_html()


def _make_page(predict: Callable[..., str], arguments: DemoArguments) -> Any:
    """The page as `gradio.Blocks`; `predict` takes the path of a clip, its transcript and a report of progress."""
    import gradio as gr

    def run(clip: str | None, transcript: str, progress: gr.Progress = gr.Progress()) -> tuple[str, None]:  # noqa: B008
        # Without its file, a clip cannot be shown again; the answer holds it.
        return predict(clip, transcript, lambda done, whole: progress(min(done / whole, 1.0))), None

    with gr.Blocks(
        title="Emotions in a clip", analytics_enabled=False, delete_cache=(60, _UNUSED_SECONDS), fill_width=True
    ) as page:
        gr.Markdown(
            "# Emotions in a clip\n"
            "Upload a clip, or record one with webcam and microphone: at most "
            f"{arguments.max_megabytes:g} MB and {arguments.max_seconds:g} s. It is deleted after the answer."
        )
        clips = []
        with gr.Tab("Video"):
            video = gr.Video(sources=["upload", "webcam"], include_audio=True, label="Video", height=320)
            clips.append((video, gr.Button("Predict the video", variant="primary")))
        with gr.Tab("Sound only"):
            sound = gr.Audio(sources=["upload", "microphone"], type="filepath", label="Sound")
            clips.append((sound, gr.Button("Predict the sound", variant="primary")))
        transcript = gr.Textbox(label="Transcript", placeholder="What is said in the clip; may stay empty", lines=2)
        result = gr.HTML(label="Prediction")
        for clip, button in clips:
            button.click(run, [clip, transcript], [result, clip], concurrency_limit=1, concurrency_id="model")
    return page.queue(max_size=_WAITING)


def _launch(page: Any, arguments: DemoArguments) -> str:
    """Starts the server in a thread and returns its address; raises `UserError` if that is not free."""
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
        port = "one from 7860 to 7959" if arguments.port is None else str(arguments.port)
        raise UserError(
            f"Expected an address of this computer and a free port, found --host={arguments.host} and port {port}: "
            f"{error}"
        ) from error
    return address


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
