"""A model in this process: llama.cpp through xllamacpp, on the CPU.

Calls run in threads of their own and are answered side by side by llama.cpp's slots. A call that
is cancelled stops at its next token. Replicates differ by their seed; the same seed repeats the same text
as long as the same calls run beside it (batching changes the order of floating-point sums).
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from genpool.errors import CallFailed, ModelUnavailable
from genpool.llm.client import Completion, Request, clean_text
from genpool.records import Usage

if TYPE_CHECKING:
    from pathlib import Path


PROVIDER: Final = "embedded"


class EmbeddedModel:
    """Weights in memory, asked by any number of model entries.

    Args:
        path: A .gguf file.
        name: The model's name, for records.
        context: Tokens of context for one call.
        slots: How many calls run side by side.

    Raises:
        ModelUnavailable: xllamacpp is not installed, or the weights cannot be loaded.
    """

    def __init__(self, path: Path, name: str, context: int, slots: int) -> None:
        self.name = name
        self._server = _load(path, context, slots)
        self._threads = ThreadPoolExecutor(max_workers=2 * slots, thread_name_prefix="embedded")

    async def complete(self, request: Request) -> Completion:
        """See `ModelClient.complete`."""
        stop = threading.Event()
        answer = asyncio.get_running_loop().run_in_executor(self._threads, self._ask, request, stop)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            stop.set()
            answer.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise

    async def aclose(self) -> None:
        """See `ModelClient.aclose`."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask(self, request: Request, stop: threading.Event) -> Completion:
        """Ask llama.cpp and collect its answer token by token."""
        body = {
            "messages": request.messages(),
            "seed": request.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
            **request.parameters,
        }
        answer = _Answer(stop)
        try:
            self._server.handle_chat_completions(body, answer.take)
        except Exception as error:  # noqa: BLE001 - whatever the library raises on parameters that it does not take
            raise CallFailed(f"the embedded model {self.name!r}: {error}", transient=False, sent=False) from None
        if answer.error is not None:
            raise CallFailed(
                f"the embedded model {self.name!r} refused the call: {answer.error}", transient=False, sent=False
            )
        return Completion(
            text=clean_text("".join(answer.parts)),
            finish_reason=answer.finish_reason,
            model_returned=self.name,
            usage=answer.usage,
            provider=PROVIDER,
        )


def _load(path: Path, context: int, slots: int) -> Any:
    try:
        import xllamacpp  # loads 100 MB of shared library: only when a model is asked
    except ImportError as error:
        raise ModelUnavailable(
            f"the embedded client needs the package xllamacpp ({error})",
            hint="install genpool with its extra `embedded`, for instance pip install '.[embedded]'",
        ) from None
    params = xllamacpp.CommonParams()
    params.model.path = os.fspath(path)
    params.n_ctx = context * slots
    params.n_parallel = slots
    params.warmup = False
    params.verbosity = -1  # it would write to the terminal
    params.cache_ram_mib = 0  # prompts differ; an idle cache would only take memory
    threads = max(1, os.cpu_count() or 1)
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.ui = False
    params.endpoint_slots = False
    params.api_keys = [secrets.token_hex(32)]  # its loopback port is for nobody
    try:
        return xllamacpp.Server(params)
    except Exception as error:  # noqa: BLE001 - whatever the library raises on a file that is not a model
        raise ModelUnavailable(f"llama.cpp cannot load {path}: {error}", hint="is it a complete .gguf file?") from None


class _Answer:
    """Collects the chunks of one streamed answer."""

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self.parts: list[str] = []
        self.finish_reason: str | None = None
        self.usage = Usage()
        self.error: str | None = None

    def take(self, chunk: dict[str, Any] | list[dict[str, Any]]) -> bool:
        """Take a chunk; return whether llama.cpp is to stop."""
        for one in chunk if isinstance(chunk, list) else [chunk]:
            self._take(one)
        return self.stop.is_set()

    def _take(self, chunk: dict[str, Any]) -> None:
        failed = chunk.get("error") or (chunk if "code" in chunk else None)
        if failed:
            self.error = str(failed.get("message", failed))
        for choice in chunk.get("choices", ()):
            self.parts.append(choice.get("delta", {}).get("content") or "")
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
        usage = chunk.get("usage")
        if usage:
            self.usage = Usage(usage.get("prompt_tokens"), usage.get("completion_tokens"))
