"""`--server`: the HTTP interface over the serving core, as OpenAI's, Anthropic's and llama.cpp's clients know it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.arguments import Options


def run(options: Options) -> int:
    """Serve until Ctrl-C or SIGTERM and return the exit status; raises LlamafileError where it cannot begin."""
    from llamafile import browser, sandbox
    from llamafile.cli import engine
    from llamafile.server import listen, loading, notify, settings

    chosen = settings.Settings(options)
    sockets = listen.sockets(options)
    notify.connect()
    browser.show(options, listen.url(sockets[0], "http" if chosen.tls is None else "https", chosen.prefix))
    if chosen.slot_folder is not None and sandbox.why_off(options) is None:
        sandbox.files.start(folders={"slots": chosen.slot_folder})  # forked while there are no threads
    sandbox.give_up_writing(options, engine.wanted_gpu(options))
    # The model is opened while this thread imports the web framework: both take a tenth of a second.
    served = loading.begin(options, chosen)
    if chosen.tls is None:
        without_tls()
    from llamafile.server import serve

    return serve.run(served, sockets)


def without_tls() -> None:
    """Import asyncio as it is on a Python without TLS: OpenSSL is loaded for those who asked for it alone."""
    import sys

    if "ssl" in sys.modules:
        return
    sys.modules["ssl"] = None  # type: ignore[assignment]
    try:
        import asyncio  # noqa: F401
    finally:
        del sys.modules["ssl"]
