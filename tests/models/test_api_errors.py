"""The one-line description of a failed request: status, address and the server's message."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from holdfast.core.records import Message
from holdfast.models import Output, Request, open_model
from holdfast.models.api import ApiModel
from tests.evals.endpoint import NAME, Answer, as_json, endpoint

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning"),
]
pytest.importorskip("openai")
NO_MESSAGE = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0}]}


def asked(patience: float = 60.0, name: str = NAME) -> Output:
    async def once() -> Output:
        model = open_model(name, network=True)
        assert isinstance(model, ApiModel)
        model.patience = patience
        output = await model.ask(Request("c", (Message(role="user", content="hi"),)))
        await model.aclose()
        return output

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("reply", "said", "again", "down"),
    [
        (as_json(404, {"detail": "Not Found"}), '404 from URL: {"detail": "Not Found"}', False, False),
        ((404, "text/html", b"<html>nginx</html>"), "404 from URL: a page in HTML", False, False),
        (as_json(401, {"error": {"message": "no such key"}}), "401 from URL: no such key", False, False),
        (as_json(429, {"error": {"message": "slow down"}}), "429 from URL: slow down", True, False),
        ((500, "text/html", b"<html>" + b"x" * 99999), "500 from URL: a page in HTML", True, True),
        (
            (200, "text/html", b"<html>log"),
            "an answer from BASE that contains no completion: '<html>",
            True,
            True,
        ),
        ((200, "application/json", b"<html>"), "an answer from BASE that is not JSON", True, True),
        ((200, "application/json", b""), "an answer from BASE that is not JSON", True, True),
        (
            as_json(200, {"error": "no model"}),
            "an answer from BASE that contains no completion: TypeError",
            False,
            False,
        ),
        (as_json(200, NO_MESSAGE), "an answer from BASE that contains no completion: AttributeError", False, False),
        (None, "no connection to URL: Server disconnected without sending a response", True, True),
    ],
)
def test_the_error_names_status_address_and_message(reply: object, said: str, again: bool, down: bool) -> None:
    answer: Answer = lambda number, body: reply  # type: ignore[assignment,return-value] # noqa: E731
    with endpoint(answer):
        output, base = asked(), os.environ["BARE_BASE_URL"]
    wanted = said.replace("URL", f"{base}/chat/completions").replace("BASE", base)
    assert (output.error or "").startswith(wanted), output.error
    assert "\n" not in (output.error or "") and len(output.error or "") < 500
    assert (output.retry_after is not None, output.down) == (again, down)


def test_a_refused_connection_and_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        monkeypatch.setenv("QUIET_API_KEY", "x")
        monkeypatch.setenv("QUIET_BASE_URL", f"{url}?key=secret")
        refused = asked(name="openai-api/quiet/m")
        silent.listen()
        late = asked(patience=0.5, name="openai-api/quiet/m")
    assert (refused.error or "").startswith(f"no connection to {url}")
    assert (late.error or "").startswith(f"no answer from {url}")
    assert "secret" not in f"{refused.error}{late.error}"
    assert refused.down and late.down
