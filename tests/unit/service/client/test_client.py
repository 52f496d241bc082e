"""The client: what it sends, what it tries again, what refusals become, where secrets come from."""

from __future__ import annotations

import json
import stat
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from service.client.errors import ExitCode, ServiceError
from service.client.http import Client
from service.client.login import Access, forget_access, load_access, save_access
from solver.domain.errors import InvalidInputError


@dataclass
class Service:
    """A service that gives the answers it is told to, and remembers what it was asked."""

    url: str = ""
    answers: deque[tuple[int, Any]] = field(default_factory=deque)
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    service: Service

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.service.asked.append((self.command, self.path, headers, body))
        status, value = self.service.answers.popleft()
        text = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("etag", '"7"')
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    """A service on a free port."""
    told = Service()
    handler = type("Handler", (_Handler,), {"service": told})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        told.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield told
        server.shutdown()
        thread.join()


def client(service: Service, **access: str) -> Client:
    """Return a client of the service."""
    return Client(Access(url=service.url, **access))


def test_a_token_is_shown(service: Service) -> None:
    """A program shows its token; the answer's revision is known."""
    service.answers.append((200, {"id": "c1"}))
    answer = client(service, token="fst_x").get("/clusters/c1", limit=3, after=None)
    assert (answer.body, answer.etag) == ({"id": "c1"}, '"7"')
    [(method, path, headers, _)] = service.asked
    assert (method, path) == ("GET", "/api/v1/clusters/c1?limit=3")
    assert headers["authorization"] == "Bearer fst_x"


def test_a_session_shows_its_cookie_and_that_it_means_it(service: Service) -> None:
    """A person's change carries the cookie and the word against forged requests."""
    service.answers.append((200, None))
    asked = client(service, cookie="s=1", csrf_token="word")
    asked.send("PUT", "/x", {"a": 1}, etag='"7"')
    [(_, _, headers, body)] = service.asked
    assert (headers["cookie"], headers["x-csrf-token"]) == ("s=1", "word")
    assert (headers["if-match"], json.loads(body)) == ('"7"', {"a": 1})


def test_what_acts_is_sent_again_with_the_same_key(service: Service) -> None:
    """A service that is away for a moment does not make an action happen twice."""
    service.answers.extend([(503, None), (201, {"ok": True})])
    assert client(service).send("POST", "/plans").status == 201
    first, second = (headers["idempotency-key"] for _, _, headers, _ in service.asked)
    assert first == second


def test_the_answer_to_what_is_still_worked_on_is_waited_for(service: Service) -> None:
    """A what-if that took longer than the client waits ended as a conflict with itself."""
    busy = {"type": "urn:foreswap:problem:key-in-use", "detail": "still being worked on"}
    service.answers.extend([(409, busy), (409, busy), (200, {"ok": True})])
    assert client(service).send("POST", "/whatif").body == {"ok": True}
    assert len({headers["idempotency-key"] for _, _, headers, _ in service.asked}) == 1


def test_changes_without_a_key_are_sent_once(service: Service) -> None:
    """Whether the first one was done is not known."""
    service.answers.append((503, None))
    with pytest.raises(ServiceError) as caught:
        client(service).send("PUT", "/x", {})
    assert caught.value.exit_code == ExitCode.AWAY
    assert len(service.asked) == 1


def test_lists_are_read_page_by_page(service: Service) -> None:
    """As many pages as are needed, and no more than were asked for."""
    pages = [{"items": [1, 2], "next": "b"}, {"items": [3], "next": None}]
    service.answers.extend((200, page) for page in pages)
    assert list(client(service).items("/xs", kind="k")) == [1, 2, 3]
    assert service.asked[1][1] == "/api/v1/xs?limit=1000&after=b&kind=k"
    service.answers.append((200, pages[0]))
    assert list(client(service).items("/xs", most=2)) == [1, 2]


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 2), (401, 3), (403, 3), (404, 4), (409, 5), (412, 5), (422, 2), (429, 6), (500, 1)],
)
def test_refusals_say_why(service: Service, status: int, code: int) -> None:
    """The service's own words, and an exit code by what kind of refusal it is."""
    service.answers.append((status, {"title": "No", "detail": "host h9 is unknown"}))
    with pytest.raises(ServiceError, match="host h9 is unknown") as caught:
        client(service).get("/x")
    assert caught.value.exit_code == code


def test_everything_wrong_is_told(service: Service) -> None:
    """Not only the first of several wrong fields."""
    errors = [{"path": f"p{i}", "message": f"wrong {i}"} for i in (1, 2)]
    service.answers.append((422, {"detail": "not valid", "errors": errors}))
    with pytest.raises(ServiceError, match="p1: wrong 1; p2: wrong 2"):
        client(service).send("PUT", "/x", {})


def test_a_service_that_is_not_there() -> None:
    """One line says where it was looked for."""
    with pytest.raises(ServiceError, match=r"http://127\.0\.0\.1:1 cannot be reached: .*refused"):
        Client(Access(url="http://127.0.0.1:1")).send("DELETE", "/x")


def test_a_login_is_remembered_for_its_user_only(tmp_path: Path) -> None:
    """The file is not readable to others, and a login is forgotten as a whole."""
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    access = Access(url="https://fs.example", user="ada", cookie="s=1", csrf_token="w")
    file = save_access(access, environment)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load_access(environment) == access
    forget_access(environment)
    assert load_access(environment) == Access()


def test_the_environment_comes_before_the_login(tmp_path: Path) -> None:
    """A token replaces the session, and no session is shown to another service."""
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    save_access(Access(url="https://fs.example", cookie="s=1", csrf_token="w"), environment)
    (tmp_path / "token").write_text("fst_file\n")
    by_token = load_access({**environment, "FORESWAP_TOKEN_FILE": str(tmp_path / "token")})
    assert (by_token.token, by_token.cookie) == ("fst_file", "")
    elsewhere = load_access({**environment, "FORESWAP_URL": "https://other.example/"})
    assert elsewhere == Access(url="https://other.example")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"FORESWAP_URL": "http://fs.example"}, "expected https"),
        ({"FORESWAP_URL": "fs.example"}, "expected the service's address"),
        ({"FORESWAP_TOKEN_FILE": "/nowhere"}, "FORESWAP_TOKEN_FILE: expected a readable file"),
    ],
)
def test_wrong_surroundings_are_refused(
    tmp_path: Path, variables: dict[str, str], expected: str
) -> None:
    """No secret goes over a network in the clear unless that is said to be all right."""
    with pytest.raises(InvalidInputError, match=expected):
        load_access({"XDG_STATE_HOME": str(tmp_path), **variables})
