import hashlib
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import safetensors.torch
import torch

from sktransfer.backbones.sources.base import Weights
from sktransfer.backbones.sources.download import download
from sktransfer.backbones.weights import read_weights
from sktransfer.exceptions import WeightsError, WeightsUnavailableError
from tests.backbones.helpers import PRESET, TINY_STATE, same_values, saved
from tests.conftest import HANGS

CONTENT = saved(torch.save)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILENAME = f"tiny-{DIGEST[:8]}.pth"


class Server(ThreadingHTTPServer):
    """Serves one small file on this machine, and keeps the paths of all requests."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = []
        self.content = CONTENT
        self.behaviour = "serve"

    def weights(self, filename=FILENAME):
        url = f"http://127.0.0.1:{self.server_port}/models/{filename}"
        return Weights("TINY_V1", PRESET, origin=url)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        time.sleep(0.05)  # long enough for others to come too early
        if self.server.behaviour == "not found":
            self.send_error(404)
        elif self.server.behaviour == "nonsense":
            self.wfile.write(b"this is not HTTP\r\n\r\n")
        elif self.server.behaviour == "hang up":
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.send_response(200)
            body = self.server.content
            if self.server.behaviour == "break off":
                self.send_header("Transfer-Encoding", "chunked")
                body = b"ffff\r\n" + body[:100]
            else:
                self.send_header("Content-Length", str(len(body)))
                body = body[:100] if self.server.behaviour == "stop early" else body
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """torch's folder of downloads, empty and for this test only."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path / "hub"))
    yield tmp_path / "hub" / "checkpoints"
    torch.hub.set_dir(before)


def files_in(cache):
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def test_downloaded_into_torchs_cache(server, cache):
    path = download("tiny", server.weights())
    assert path == cache / FILENAME
    assert path.read_bytes() == CONTENT
    assert files_in(cache) == [FILENAME]


def test_downloaded_once(server):
    for _ in range(3):
        assert same_values(read_weights("resnet18", server.weights()), TINY_STATE)
    assert server.requests == [f"/models/{FILENAME}"]


def test_a_file_put_there_by_hand_is_used(cache):
    cache.mkdir(parents=True)
    (cache / FILENAME).write_bytes(CONTENT)
    weights = Weights("TINY_V1", PRESET, origin=f"http://127.0.0.1:9/{FILENAME}")
    assert same_values(read_weights("resnet18", weights), TINY_STATE)


@pytest.mark.parametrize("found", [b"", CONTENT[:100], b"x" * len(CONTENT)])
def test_a_damaged_file_in_the_cache_is_downloaded_again(server, cache, found):
    cache.mkdir(parents=True)
    (cache / FILENAME).write_bytes(found)
    assert download("tiny", server.weights()).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_name_without_a_hash_is_taken_as_it_is(server):
    server.content = saved(lambda state, file: torch.save(dict(state), file))
    assert same_values(read_weights("resnet18", server.weights("tiny.pth")), TINY_STATE)


def test_safetensors_without_a_hash_are_taken_as_they_are(server):
    server.content = safetensors.torch.save({"x": torch.ones(2)})
    assert download("tiny", server.weights("tiny.safetensors")).read_bytes() == server.content


def test_another_file_than_the_published_one_is_not_kept(server, cache):
    server.content = b"<html>Please log in</html>" * 20
    with pytest.raises(WeightsError, match="did not arrive as published"):
        download("tiny", server.weights())
    assert files_in(cache) == []


@pytest.mark.parametrize(
    "behaviour", ["not found", "hang up", "break off", "stop early", "nonsense"]
)
def test_a_failing_server(server, cache, behaviour):
    server.behaviour = behaviour
    with pytest.raises(WeightsUnavailableError, match="TINY_V1 of tiny could not be downloaded"):
        download("tiny", server.weights())
    assert files_in(cache) == []


def test_downloaded_after_a_failure(server):
    server.behaviour = "not found"
    with pytest.raises(WeightsUnavailableError):
        download("tiny", server.weights())
    server.behaviour = "serve"
    assert download("tiny", server.weights()).read_bytes() == CONTENT


def test_no_server_tells_three_ways(cache):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but not listening
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/{FILENAME}"
        with pytest.raises(WeightsUnavailableError) as caught:
            download("tiny", Weights("TINY_V1", PRESET, origin=url))
    message = str(caught.value)
    for part in (url, str(cache), "(1)", "(2)", "(3)", "weights=", "sktransfer[offline]"):
        assert part in message


def test_a_cache_that_cannot_be_written(server, cache):
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder belongs")
    with pytest.raises(WeightsUnavailableError, match="Three ways"):
        download("tiny", server.weights())


def test_eight_threads_download_once(server):
    together = threading.Barrier(8)

    def download_together(_):
        together.wait(timeout=HANGS)
        return download("tiny", server.weights()).read_bytes()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(download_together, range(8))) == [CONTENT] * 8
    assert len(server.requests) == 1


READ_IN_A_PROCESS = """
import sys, torch
from sktransfer.backbones.sources.base import Weights
from sktransfer.backbones.weights import read_weights
from tests.backbones.helpers import PRESET
torch.hub.set_dir(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
weights = Weights("TINY_V1", PRESET, origin=sys.argv[2])
print(len(read_weights("resnet18", weights)), flush=True)
"""


@pytest.mark.slow
def test_eight_cold_processes_download_once(server, cache):
    command = [sys.executable, "-c", READ_IN_A_PROCESS, str(cache.parent), server.weights().origin]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(8)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=HANGS)[0] for process in processes]
    assert answers == ["2\n"] * 8
    assert [process.returncode for process in processes] == [0] * 8
    assert len(server.requests) == 1
