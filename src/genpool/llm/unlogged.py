"""Requests kept out of the logs of HTTP libraries.

They log headers and bodies when a program's logging is turned up: with them keys, prompts and answers. What belongs
to a call of ours is not logged; other requests of the same program are.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_HTTP_LIBRARIES: Final = {"openai", "httpx", "httpx2", "httpcore", "httpcore2", "aiohttp", "h11", "h2", "hpack"}

_P = ParamSpec("_P")
_T = TypeVar("_T")

_calling: ContextVar[bool] = ContextVar("genpool_calling", default=False)


class _NotOfCalls(logging.Filter):
    """Lets nothing through that is logged in the course of a call."""

    def filter(self, record: logging.LogRecord) -> bool:
        del record
        return not _calling.get()


_NOT_OF_CALLS: Final = _NotOfCalls()


def unlogged(method: Callable[_P, Coroutine[Any, Any, _T]]) -> Callable[_P, Coroutine[Any, Any, _T]]:
    """Decorate a coroutine function: what HTTP libraries log in its course is dropped."""

    @wraps(method)
    async def silent(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        _filter_loggers()
        before = _calling.set(True)
        try:
            return await method(*args, **kwargs)
        finally:
            _calling.reset(before)

    return silent


_seen = 0  # loggers when the filter was last put on them


def _filter_loggers() -> None:
    """Put the filter on every logger of an HTTP library: it does not pass to the loggers below by itself."""
    global _seen  # noqa: PLW0603 - loggers are a process's, and so is how many of them are filtered
    loggers = logging.root.manager.loggerDict
    if len(loggers) == _seen:
        return  # none is ever removed
    for name in [*_HTTP_LIBRARIES, *(name for name in list(loggers) if name.partition(".")[0] in _HTTP_LIBRARIES)]:
        logging.getLogger(name).addFilter(_NOT_OF_CALLS)  # once; again changes nothing
    _seen = len(loggers)
