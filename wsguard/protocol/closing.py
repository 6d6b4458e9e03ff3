"""What a refusal or a cut says on the wire: a close code and a reason text, or an HTTP status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wsguard.protocol.frames import Opcode, close_payload, control_frame
from wsguard.protocol.profiles import Profile, advice_for, code_for
from wsguard.protocol.reasons import CloseReason

_COARSE = {
    4401: "unauthenticated",
    4403: "forbidden",
    4404: "not-found",
    4406: "unacceptable",
    4408: "timeout",
    4410: "gone",
    4429: "too-many",
    4440: "unauthenticated",
    4441: "unauthenticated",
    1002: "protocol-error",
    1003: "unacceptable",
    1009: "too-big",
    1011: "unavailable",
    1012: "restart",
    1013: "try-later",
    1014: "bad-gateway",
    4502: "bad-gateway",
    4504: "bad-gateway",
}
_STATUS = {4440: 401, 4441: 401, 1012: 503, 1013: 503, 1011: 500, 1014: 502}


@dataclass(frozen=True, slots=True)
class Codebook:
    """How a policy words its closes. `overrides` are the policy's own codes, which beat the profile's."""

    profile: Profile = Profile.DEFAULT
    overrides: Mapping[CloseReason, int] | None = None
    coarse: bool = False
    draining_code: int = CloseReason.DRAINING.code

    def code(self, reason: CloseReason, status: int | None = None) -> int:
        """The close code for `reason` (`status`: the backend's, where it refused); 0 where nothing is sent."""
        if self.overrides and reason in self.overrides:
            return self.overrides[reason]
        if reason is CloseReason.DRAINING and self.profile is Profile.DEFAULT:
            return self.draining_code
        return code_for(self.profile, reason, status)

    def text(self, reason: CloseReason, status: int | None = None, retry_after: float | None = None) -> str:
        """The reason text: the token (or one word a code), then, where a return is wanted, when."""
        word = _COARSE.get(code_for(Profile.DEFAULT, reason, status), "refused") if self.coarse else reason.token
        if retry_after is None or not advice_for(reason, status).wants_return:
            return word
        return f"{word} retry-after={retry_after:g}"


def http_status(reason: CloseReason, status: int | None = None) -> int:
    """The HTTP status of a refusal that is not put into a Close frame, from the default profile's code."""
    code = code_for(Profile.DEFAULT, reason, status)
    return _STATUS.get(code) or (code - 4000 if 4400 <= code <= 4599 else 502)


def close_frame(code: int, text: str, mask: bytes | None = None) -> bytes:
    """A whole Close frame; `mask` is four fresh random bytes towards a backend."""
    return control_frame(Opcode.CLOSE, close_payload(code, text), mask)
