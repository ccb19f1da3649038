"""What a provider's word for an error means, told as the HTTP status that it stands for. Pure.

Routers tell errors with status 200 once they have begun to answer; then the word in the body is all there is. The words
are those of the protocols of OpenAI, Anthropic and Google, and of the routers before them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_CREDIT: Final = 402

_WORDS: Final = {
    400: "bad_request content_filter content_filtered content_policy_violation context_length_exceeded "
    "data_inspection_failed failed_precondition invalid_argument invalid_prompt moderation_blocked out_of_range "
    "prompt_blocked responsible_ai_policy_violation safety string_above_max_length unknown_parameter "
    "unprocessable_entity",
    401: "authentication_error incorrect_api_key invalid_api_key invalid_authentication unauthenticated unauthorized",
    NO_CREDIT: "account_deactivated billing_error billing_hard_limit_reached billing_not_active credits_exhausted "
    "insufficient_balance insufficient_credits insufficient_funds insufficient_quota payment_required",
    403: "access_denied forbidden permission_denied permission_error unsupported_country_region_territory",
    404: "deployment_not_found deploymentnotfound model_not_available model_not_found no_endpoints_found not_found "
    "not_found_error",
    413: "payload_too_large request_too_large",
    429: "rate_limit_error rate_limit_exceeded resource_exhausted throttled too_many_requests",
    503: "api_error engine_overloaded internal internal_error internal_server_error overloaded overloaded_error "
    "server_error service_unavailable timeout unavailable upstream_error",
}
_STATUS_OF: Final = {word: status for status, words in _WORDS.items() for word in words.split()}
_REFUSALS: Final = ("invalid_", "missing_", "unsupported_")
"""What words begin with that say what is wrong with a request; new ones come all the time."""
_KEYS: Final = ("code", "status", "type")
"""Where an error says what it is, the most exact first."""


def status_of(error: Mapping[str, object]) -> int | None:
    """Return the HTTP status that an error of a provider stands for, or None where nothing in it is known.

    Used-up credit is 402 wherever the error says it: OpenAI tells it as 429, which for anything else means later.

    Args:
        error: The error's object, as it stands in a body.
    """
    found = [status for key in _KEYS if (status := _meant(error.get(key))) is not None]
    return NO_CREDIT if NO_CREDIT in found else next(iter(found), None)


def _meant(value: object) -> int | None:
    """Return the status that a code, a status or a type stands for."""
    if isinstance(value, str):
        word = value.strip().casefold().replace("-", "_").replace(" ", "_")
        if len(word) == 3 and word.isascii() and word.isdigit():
            return _meant(int(word))
        return _STATUS_OF.get(word, 400 if word.startswith(_REFUSALS) else None)
    if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
        return value
    return None
