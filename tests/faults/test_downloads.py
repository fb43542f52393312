"""A server that misbehaves in every way: no half of a file is used, and nothing waits for ever.

Eight processes that start cold download once: `tests/backbones/sources/test_download.py`, slow.
"""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from sktransfer.backbones.loading import load_backbone
from sktransfer.backbones.names import source_of
from sktransfer.backbones.networks import build_random
from sktransfer.backbones.sources import download as downloading
from sktransfer.backbones.sources.base import Weights
from sktransfer.backbones.sources.hub import fetch_from_hub
from sktransfer.exceptions import SktransferError, WeightsError, WeightsUnavailableError
from tests.backbones.helpers import PRESET, saved
from tests.conftest import HANGS

CONTENT = saved(torch.save)
NAME = f"tiny-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"
PAGE = b"<!DOCTYPE html><html>Please log in</html>"
COMMIT = "c" * 40


def serve(handler, content=None, announced=None, sent=None):
    """Answer with a file, of which the announced length and the part that is sent may be wrong."""
    content = handler.server.content if content is None else content
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content) if announced is None else announced))
    handler.send_header("ETag", '"a tag"')
    handler.send_header("X-Repo-Commit", COMMIT)
    handler.end_headers()
    if handler.command == "GET":
        handler.wfile.write(content[:sent])


def half(handler):
    serve(handler, sent=200)


def stall(handler):
    serve(handler, sent=200)
    handler.wfile.flush()
    handler.server.released.wait(HANGS)  # with the connection open


def stall_at_once(handler):
    handler.server.released.wait(HANGS)


def flipped(handler):
    content = handler.server.content
    serve(handler, content[:300] + bytes([content[300] ^ 1]) + content[301:])


def too_long(handler):
    serve(handler, announced=len(handler.server.content) + 100)


def too_short(handler):
    serve(handler, announced=len(handler.server.content) - 100)


def fail(handler):
    handler.send_error(500)


def page(handler):
    serve(handler, PAGE)


def nothing(handler):
    serve(handler, b"")


def redirect(location):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", location(handler.server))
        handler.end_headers()

    answer.__name__ = "redirect"
    return answer


to_a_file = redirect(lambda server: f"file://{server.secret}")
to_itself = redirect(lambda _: "/the/same")
to_nowhere = redirect(lambda _: "http://127.0.0.1:9/elsewhere")
FAULTS = [half, stall, stall_at_once, flipped, too_long, too_short, fail, page, nothing]
FAULTS += [to_a_file, to_itself, to_nowhere]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, secret):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.secret, self.answer = CONTENT, secret, serve
        self.released = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        pass  # clients hang up


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.answer(self)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1,localhost")
    monkeypatch.setattr(downloading, "_SECONDS_WITHOUT_DATA", 0.5)
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path / "hub"))
    with Server(secret) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()
    torch.hub.set_dir(before)


def files_in(folder):
    return sorted(path.name for path in Path(folder).rglob("*") if path.suffix != ".lock")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("name", [NAME, "without_a_digest.pth"])
def test_no_wrong_file_is_kept_and_the_next_attempt_works(server, fault, name):
    if name != NAME and fault in (flipped, too_short):
        pytest.skip("no digest and no length tell that this is another file")
    weights = Weights("TINY_V1", PRESET, origin=f"{server.url}/{name}")
    server.answer = fault
    with pytest.raises((WeightsError, WeightsUnavailableError), match=r"\(2\)|elsewhere"):
        downloading.download("tiny", weights)
    assert files_in(torch.hub.get_dir()) == ["checkpoints"]
    server.answer = serve
    assert downloading.download("tiny", weights).read_bytes() == CONTENT


def test_a_stall_is_told(server):
    server.answer = stall
    with pytest.raises(WeightsUnavailableError, match="timed out"):
        downloading.download("tiny", Weights("TINY_V1", PRESET, origin=f"{server.url}/{NAME}"))


def test_a_redirect_to_another_host_is_checked_by_the_digest(server):
    """As most servers of large files send their clients elsewhere."""

    def answer(handler):
        if "localhost" in handler.headers["Host"]:
            return serve(handler)
        return redirect(lambda server: f"http://localhost:{server.server_port}/x")(handler)

    server.answer = answer
    weights = Weights("TINY_V1", PRESET, origin=f"{server.url}/{NAME}")
    assert downloading.download("tiny", weights).read_bytes() == CONTENT


def test_a_page_that_was_kept_under_a_name_without_a_digest_is_replaced(server):
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True)
    for wrong in (PAGE, CONTENT[:200], b""):
        (folder / "tiny.pth").write_bytes(wrong)
        weights = Weights("TINY_V1", PRESET, origin=f"{server.url}/tiny.pth")
        assert downloading.download("tiny", weights).read_bytes() == CONTENT


def test_backbones_of_torchvision(server, monkeypatch):
    """From the public name of a backbone to its network, with torchvision's address replaced."""
    network = build_random("squeezenet1_1", 0, None)
    server.content = saved(lambda _, file: torch.save(network.state_dict(), file))
    digest = hashlib.sha256(server.content).hexdigest()[:8]
    weights = Weights("V1", PRESET, origin=f"{server.url}/squeeze-{digest}.pth")
    source = source_of("squeezenet1_1")
    monkeypatch.setattr(type(source), "published_weights", lambda *_: {"V1": weights})
    for server.answer in (half, flipped, page, fail):
        with pytest.raises(SktransferError):
            load_backbone("squeezenet1_1")
    server.answer = serve
    loaded = load_backbone("squeezenet1_1")
    values = network.state_dict().values()
    first = next(iter(values))
    assert any(torch.equal(each, first) for each in loaded.pieces.maps[0][1].state_dict().values())


@pytest.fixture
def hub(server, tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    settings = {
        "ENDPOINT": server.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(tmp_path / "hugging"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DOWNLOAD_TIMEOUT": 0.5,
        "HF_HUB_ETAG_TIMEOUT": 0.5,
        "HF_HUB_DISABLE_XET": True,
    }
    for name, value in settings.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    monkeypatch.setattr("time.sleep", lambda _: None)  # between its own attempts
    return server


@pytest.mark.parametrize(
    "fault", [half, stall, stall_at_once, too_long, fail, to_a_file, to_nowhere]
)
def test_hugging_face_hub(hub, fault):
    """Its own client checks lengths and not contents, which are checked when they are loaded."""
    hub.answer = lambda handler: (serve if handler.command == "HEAD" else fault)(handler)
    with pytest.raises(WeightsUnavailableError, match="could not be had from the Hugging Face hub"):
        fetch_from_hub("net", "a/b", "weights.bin")
    hub.answer = serve
    assert fetch_from_hub("net", "a/b", "weights.pth").read_bytes() == CONTENT
