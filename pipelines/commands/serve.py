"""`neo serve`: a model behind the chat protocol of OpenAI, on loopback, with a page to try it in a browser."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from pipelines.commands.ask import ModelArgument
from pipelines.commands.context import CommandContext
from pipelines.exits import BadCommandError
from pipelines.screen.console import write_text

MAX_PICTURES = 64
"""Most pictures of a conversation."""
MAX_BODY_BYTES = 48_000_000
"""Largest body: some ten photographs as they come from a camera, in base64."""

HostOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--host",
        metavar="ADDRESS",
        help="Where to listen. Anything but loopback lets others in: there is no password and no encryption.",
    ),
]
PortOption: TypeAlias = Annotated[
    int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port; 0 takes any that is free.")
]
LengthOption: TypeAlias = Annotated[
    int, typer.Option("--max-tokens", metavar="N", min=16, help="Longest conversation with its answer, in tokens.")
]
AnswerOption: TypeAlias = Annotated[
    int, typer.Option("--max-new-tokens", metavar="N", min=1, help="Longest answer, in tokens.")
]
BatchOption: TypeAlias = Annotated[
    int, typer.Option("--batch", metavar="N", min=1, max=256, help="Answers that are made side by side.")
]
RequestsOption: TypeAlias = Annotated[
    int,
    typer.Option(
        "--max-requests", metavar="N", min=1, max=200, help="Requests that may be answered or wait; others get 429."
    ),
]


def serve(
    ref: ModelArgument,
    *,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    max_tokens: LengthOption = 16_384,
    max_new_tokens: AnswerOption = 2_048,
    batch: BatchOption = 16,
    max_requests: RequestsOption = 32,
) -> None:
    """Serve a model by the chat protocol of OpenAI, with pictures.

    POST /v1/chat/completions, whole or streamed; GET /v1/models, /health; and a page at / to try it in a browser.
    Pictures are sent as data: URIs; addresses are not opened. Ctrl-C ends it once the answers in progress are sent.
    """
    command = CommandContext.typed
    assert command is not None
    if max_new_tokens >= max_tokens:
        told = f"--max-new-tokens {max_new_tokens:,} leaves no room for a question within --max-tokens {max_tokens:,}"
        raise BadCommandError(told, then="neo serve --help")
    from pipelines.asking.models import load_answering, model_folder
    from pipelines.serving.prompts import RequestLimits
    from pipelines.serving.server import address_of, bound_socket, is_loopback
    from pipelines.serving.server import serve as serve_app
    from pipelines.serving.session import ServingSession, cache_tokens

    with ExitStack() as ended:
        bound = ended.enter_context(bound_socket(host, port, then=f"neo serve {ref} --port 0"))
        folder, name = ended.enter_context(model_folder(ref, command.store_to_read))
        command.say(f"Loading {name} ...")
        model, tokenizer = load_answering(folder, name)
        limits = RequestLimits(
            max_tokens=max_tokens,
            max_new_tokens=max_new_tokens,
            max_pictures=MAX_PICTURES,
            max_body_bytes=MAX_BODY_BYTES,
            max_cache_tokens=cache_tokens(model),
        )
        name = Path(name).resolve().name if Path(ref).is_dir() else name
        session = ServingSession(name, model, tokenizer, limits, max_sequences=batch, max_requests=max_requests)
        address = address_of(bound)
        told = f"{name}: {address} (the page), {address}/v1 (the protocol). Ctrl-C ends it.\n"
        write_text(told, stderr=command.as_json)
        if not is_loopback(bound):
            write_text(f"WARNING: {host} is not loopback: anybody who reaches it may ask.\n", stderr=True)
        with session:
            app = session.app(is_loopback=is_loopback(bound), log=command.say)
            serve_app(app, bound, stopping=session.close, say=command.say)
    command.end({"address": address, **session.document()}, then=f"neo serve {ref}")
