"""Who may ask: names of this host, origins of pages, keys. Decided from the headers alone, before anything is done."""

from __future__ import annotations

import hmac

from llamafile.server.errors import refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.server.loading import Served

PUBLIC = {"/health", "/v1/health"}  # and what the page consists of
LOOPBACK_NAMES = {"localhost", "127.0.0.1", "[::1]", "::1"}


class Guard:
    """Checks a request's headers, given as a dict of lower-case names, and answers the questions of browsers."""

    def __init__(self, served: Served, only_this_machine: bool) -> None:
        self.keys, self.origins = served.settings.keys, served.settings.origins
        self.options, self.local = served.options, only_this_machine
        self.names = LOOPBACK_NAMES | {served.options.host.strip("[]").lower()}

    def check(self, headers: dict[str, str], public: bool) -> None:
        """Raise Refused 403 for a foreign Host or Origin, 401 without a key where one is needed."""
        self._check_host(headers.get("host", ""))
        origin = headers.get("origin")
        if origin is not None and not self.allows(origin, headers.get("host", "")):
            raise refused(403, f"pages of {origin[:80]} may not use this server; --cors-origins lets them")
        if not public and self.keys and not self._has_key(headers):
            raise refused(401, "Invalid API Key")

    def _check_host(self, host: str) -> None:
        """A page that makes its own name resolve to 127.0.0.1 still sends that name: DNS rebinding ends here."""
        if self.local and _name(host) not in self.names:
            raise refused(403, f"the Host header names {host[:80]!r}, this server is localhost; use http://localhost")

    def allows(self, origin: str, host: str) -> bool:
        """Whether pages of an origin may use the server: its own, those configured, by default this machine's."""
        if self.origins is not None:
            return "*" in self.origins or origin in self.origins
        scheme, mark, rest = origin.partition("://")
        if not mark or scheme not in ("http", "https"):
            return False
        return rest == host or (self.local and _name(rest) in LOOPBACK_NAMES)

    def _has_key(self, headers: dict[str, str]) -> bool:
        scheme, _, word = headers.get("authorization", "").partition(" ")
        given = word.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        key = given.encode("latin-1", "replace")
        # Every key is compared, each in constant time, so that the time says nothing about any.
        return sum(hmac.compare_digest(key, each) for each in self.keys) > 0

    def cors(self, headers: dict[str, str]) -> list[tuple[str, str]]:
        """Return the headers by which a browser lets an allowed page read the answer."""
        origin = headers.get("origin")
        if origin is None:
            return []
        found = [("access-control-allow-origin", origin), ("vary", "Origin")]
        if self.options.cors_credentials:
            found.append(("access-control-allow-credentials", "true"))
        return found

    def preflight(self, headers: dict[str, str]) -> list[tuple[str, str]]:
        """Return the headers that answer a browser's OPTIONS question."""
        asked = self.options.cors_headers or headers.get("access-control-request-headers", "*")
        return [("access-control-allow-methods", self.options.cors_methods), ("access-control-allow-headers", asked),
                ("access-control-max-age", "600")]


def _name(host: str) -> str:
    """Return the name in a Host header or an origin's rest, without the port."""
    if host.startswith("["):
        name, bracket, rest = host.partition("]")
        return (name + bracket if rest[:1] in ("", ":") else host).lower()
    return host.partition(":")[0].lower()
