"""Requests to the API: what is sent, what is tried again, and what a refusal becomes."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

import urllib3

from service.client.errors import ExitCode, ServiceError, exit_code
from service.client.login import Access

PREFIX: Final = "/api/v1"
TIMEOUT_S: Final = 120.0
ASK_AGAIN_S: Final = 0.5
"""How long to wait before asking for the answer to a request that is still being worked on."""

PAGE: Final = 1000

RETRIES: Final = urllib3.Retry(
    total=3,
    backoff_factor=0.3,
    status_forcelist=(502, 503, 504),
    # What changes something is sent once, unless a key makes the second time harmless.
    allowed_methods=("GET",),
    retry_after_max=5,
    raise_on_status=False,
)
KEYED: Final = ("POST", "PATCH")
"""Methods that act, and are sent with a key of their own."""

KEYED_RETRIES: Final = RETRIES.new(allowed_methods=KEYED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What the service said.

    Parameters
    ----------
    body
        From JSON; ``None`` if there was none.
    """

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def etag(self) -> str:
        """What ``If-Match`` has to say to change what this shows."""
        return self.headers.get("ETag", "")


class Client:
    """Asks one service.

    Parameters
    ----------
    access
        Where it is, and as whom.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=10.0, read=TIMEOUT_S),
            ca_certs=access.ca_file or None,
        )

    def get(self, path: str, **query: Any) -> Answered:
        """Return what stands at a path below the API.

        :raises ServiceError: if it was not answered, or not with success
        """
        return self.send("GET", path, query=query)

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        etag: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answered:
        """Send a request and return its answer.

        Parameters
        ----------
        etag
            Of what is to be changed, as it was read.

        Raises
        ------
        ServiceError
            If it was not answered, or not with success.
        """
        sent = {**self._headers(method), **({"If-Match": etag} if etag else {}), **(headers or {})}
        wanted = {name: value for name, value in (query or {}).items() if value is not None}
        url = self.access.url + PREFIX + path + (f"?{urlencode(wanted)}" if wanted else "")
        retries = KEYED_RETRIES if method in KEYED else RETRIES
        response = self._request(method, url, body, sent, retries=retries)
        until = time.monotonic() + TIMEOUT_S
        # Sent again because no answer came in time, while the first one is not done yet.
        while _is_worked_on(response) and time.monotonic() < until:
            time.sleep(ASK_AGAIN_S)
            response = self._request(method, url, body, sent, retries=retries)
        if response.status >= 300:
            raise _refusal(response)
        return Answered(status=response.status, headers=response.headers, body=_json(response))

    def alive(self) -> bool:
        """Return whether the service's process lives; asks for no credential.

        :raises ServiceError: if it was not answered
        """
        return self._outside("/healthz")[0] == 200

    def readiness(self) -> dict[str, str]:
        """Return what has to be in order for requests, by name, and how it is.

        :raises ServiceError: if it was not answered
        """
        checks: dict[str, str] = self._outside("/readyz")[1]["checks"]
        return checks

    def _outside(self, path: str) -> tuple[int, Any]:
        response = self._request("GET", self.access.url + path, None, {}, retries=False)
        return response.status, _json(response)

    def items(self, path: str, *, most: int | None = None, **query: Any) -> Iterator[Any]:
        """Yield what a list holds, page by page, and no more than ``most``."""
        after, left = None, most
        while left is None or left > 0:
            limit = PAGE if left is None else min(PAGE, left)
            page = self.get(path, limit=limit, after=after, **query).body
            yield from page["items"]
            left = None if left is None else left - len(page["items"])
            after = page["next"]
            if after is None:
                return

    def _request(
        self,
        method: str,
        url: str,
        body: Any,
        headers: Mapping[str, str],
        *,
        retries: urllib3.Retry | bool,
    ) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool.request(
                method, url, json=body, headers=headers, retries=retries, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise ServiceError(
                f"{self.access.url} cannot be reached: {_reason(error)}",
                status=0,
                exit_code=ExitCode.AWAY,
            ) from error

    def _headers(self, method: str) -> dict[str, str]:
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        if self.access.token:
            headers["Authorization"] = f"Bearer {self.access.token}"
        elif self.access.cookie:
            headers["Cookie"] = self.access.cookie
            headers["X-CSRF-Token"] = self.access.csrf_token
        if method in KEYED:
            headers["Idempotency-Key"] = uuid.uuid4().hex
        return headers


def path_of(*parts: str) -> str:
    """Return a path below the API of names as they are.

    >>> path_of("clusters", "a/b", "vms")
    '/clusters/a%2Fb/vms'
    """
    return "".join("/" + quote(part, safe="") for part in parts)


def _is_worked_on(response: urllib3.BaseHTTPResponse) -> bool:
    """Tell whether an earlier request of the same key is the one that will be answered."""
    problem = _json(response) if response.status == 409 else None
    return isinstance(problem, dict) and str(problem.get("type", "")).endswith("key-in-use")


def _refusal(response: urllib3.BaseHTTPResponse) -> ServiceError:
    problem = _json(response)
    status = response.status
    message = f"HTTP {status}"
    if isinstance(problem, dict):
        message = str(problem.get("detail") or problem.get("title") or message)
        parts = problem.get("errors") or []
        if len(parts) > 1:
            message = "; ".join(f"{part['path']}: {part['message']}" for part in parts)
    if status == 401:
        message += " (log in with: foreswap login)"
    return ServiceError(message, status=status, exit_code=exit_code(status))


def _json(response: urllib3.BaseHTTPResponse) -> Any:
    try:
        return json.loads(response.data)
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    """Return what went wrong, without the layers of libraries around it."""
    reason = getattr(error, "reason", None)
    text = str(reason if isinstance(reason, Exception) else error)
    return text.rsplit(": ", 1)[-1] if "Connection" in text else text
