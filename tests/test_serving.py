"""The service and the page of `examples/`, on a small exported classifier."""

import http.server
import importlib.util
import io
import json
import shutil
import socket
import struct
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sktransfer import export
from tests.conftest import CHROMIUM, HANGS, make_pictures
from tests.small_estimators import make_classifier

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NAMES = np.array(["a bee", "<b>ant</b>", "cat & 'dog'"])
X, y = make_pictures(24, size=48, n_classes=3)


@pytest.fixture(scope="module")
def classifier():
    return make_classifier(engine="torch").fit(X, NAMES[y])


@pytest.fixture(scope="module")
def model(classifier, tmp_path_factory):
    for package in ("onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    export(classifier, path := tmp_path_factory.mktemp("graph") / "model.onnx")
    return path


@pytest.fixture(scope="module")
def serve():
    for package in ("fastapi", "uvicorn", "python_multipart", "onnxruntime"):
        pytest.importorskip(package)
    spec = importlib.util.spec_from_file_location("serve", EXAMPLES / "serve.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def address(serve, model):
    """The address of the running service."""
    import uvicorn

    config = uvicorn.Config(serve.application(model), port=0, log_level="warning", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive()
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(HANGS)


@pytest.fixture(scope="module")
def client(address):
    httpx = pytest.importorskip("httpx")
    with httpx.Client(base_url=address, timeout=HANGS) as client:
        yield client


def content(image, kind="PNG", **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer := io.BytesIO(), kind, **options)
    return buffer.getvalue()


def sent(client, picture):
    return client.post("/predict", files={"picture": ("picture", picture)})


TURNED = Image.Exif()
TURNED[0x0112] = 6
FORMS = {
    "png": lambda image: content(image),
    "jpeg": lambda image: content(image, "JPEG", quality=90),
    "turned": lambda image: content(image, "JPEG", exif=TURNED),
    "grey": lambda image: content(image.convert("L")),
    "palette": lambda image: content(image.convert("P")),
    "clear": lambda image: content(Image.merge("RGBA", [*image.split(), image.split()[0]])),
    "webp": lambda image: content(image, "WEBP"),
    "wide": lambda image: content(image.resize((80, 30))),
}


@pytest.mark.parametrize("form", FORMS)
def test_answers_are_those_of_the_classifier(client, classifier, tmp_path, form):
    for i in range(3):
        picture = FORMS[form](Image.fromarray(X[i]))
        (path := tmp_path / f"{i}").write_bytes(picture)
        answer = sent(client, picture).json()
        (expected,) = classifier.predict_proba([path])
        assert answer["label"] == classifier.predict([path])[0]
        found = [answer["probabilities"][name] for name in classifier.classes_]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_health(client, classifier):
    assert client.get("/health").json() == {"status": "ok", "classes": [*classifier.classes_]}


PNG = content(X[0])
BROKEN = {
    "empty": b"",
    "text": b"no picture at all",
    "cut": PNG[: len(PNG) // 2],
    "damaged": PNG[:60] + bytes(100) + PNG[160:],
    "header": PNG[:30],
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "deep": content(np.zeros((9, 9), np.uint16)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_picture_is_told(client, name):
    answer = sent(client, BROKEN[name])
    assert answer.status_code == 422
    assert "detail" in answer.json()


def test_other_graphs_are_not_served(serve):
    graph = Path(__file__).parent / "backbones" / "onnx_files" / "features.onnx"
    with pytest.raises(ValueError, match="not the graph of a classifier of colour pictures"):
        serve.application(graph)


def of_16_bits():
    """A PNG of 16 bits per colour, which Pillow can't write."""
    rows = b"".join(b"\0" + bytes(range(6)) * 2 for _ in range(2))
    parts = [(b"IHDR", struct.pack(">2I5B", 2, 2, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in [*parts, (b"IEND", b"")]
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_limits(client, serve):
    many_pixels = content(Image.new("1", (serve.MAX_PIXELS // 4000 + 1, 4000)))
    assert len(many_pixels) < 100_000
    assert sent(client, many_pixels).status_code == 413
    assert sent(client, bytes(serve.MAX_BYTES)).status_code == 413
    wide = content(Image.new("1", (serve.MAX_SIDE + 1, 1)))
    assert sent(client, wide).status_code == 413
    scans = content(Image.new("L", (8, 8)), "JPEG")
    scans = scans[:-2] + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" * 200 + scans[-2:]
    assert sent(client, scans).status_code == 422
    deep = io.BytesIO(of_16_bits())
    assert sent(client, deep.getvalue()).status_code == 422
    assert client.head("/").status_code == 405
    endless = client.post("/predict", content=iter([b"a", b"b"]))  # in chunks of unknown length
    assert endless.status_code == 411
    assert client.post("/predict", data={"picture": "text"}).status_code == 422
    assert client.get("/predict").status_code == 405


def many_requests(address, classifier, n):
    """Send `n` requests from 8 clients, each third of them broken; return wrong answers."""
    httpx = pytest.importorskip("httpx")
    pictures = [content(X[i]) for i in range(8)]
    expected, broken = classifier.predict_proba(list(X[:8])), list(BROKEN.values())

    def of_client(number):
        wrong = []
        with httpx.Client(base_url=address, timeout=HANGS) as client:
            for i in range(number, n, 8):
                if i % 3 == 0:
                    answer = sent(client, broken[i % len(broken)])
                    right = answer.status_code == 422
                else:
                    answer = sent(client, pictures[i % 8])
                    found = answer.json().get("probabilities", {})
                    right = answer.status_code == 200 and np.allclose(
                        [found[name] for name in classifier.classes_], expected[i % 8], atol=1e-5
                    )
                if not right:
                    wrong.append((i, answer.status_code, answer.text))
        return wrong

    with ThreadPoolExecutor(8) as clients:
        return [each for wrong in clients.map(of_client, range(8)) for each in wrong]


def test_clients_at_once(address, classifier, client):
    assert many_requests(address, classifier, 48) == []
    assert client.get("/health").status_code == 200


@pytest.mark.slow
@pytest.mark.usefixtures("serve")  # skips where a package is missing
def test_memory_does_not_grow_over_thousands_of_requests(model, classifier):
    psutil, httpx = pytest.importorskip("psutil"), pytest.importorskip("httpx")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, EXAMPLES / "serve.py", model, "--port", str(port)]
    address, grown = f"http://127.0.0.1:{port}", []
    # Its own process, whose memory is not that of the clients.
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as service:
        try:
            transport = httpx.HTTPTransport(retries=12)  # until it listens
            with httpx.Client(transport=transport, timeout=HANGS) as client:
                assert client.get(f"{address}/health").status_code == 200
            process = psutil.Process(service.pid)
            for _ in range(5):
                before = process.memory_info().rss
                assert many_requests(address, classifier, 1000) == []
                grown.append((process.memory_info().rss - before) / 1e6)
        finally:
            service.terminate()
    print("MB more after each thousand:", *(f"{each:.1f}" for each in grown))
    assert sum(grown[1:]) < 5  # it fills its buffers at first


@pytest.fixture
def page(browser):
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(HANGS * 1000)
    yield page
    context.close()


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
DROP = """([bytes, name]) => {
  const given = new DataTransfer();
  given.items.add(new File([new Uint8Array(bytes)], name));
  const event = new DragEvent("drop", {dataTransfer: given, bubbles: true, cancelable: true});
  document.getElementById("drop").dispatchEvent(event);
}"""


@needs_chromium
def test_a_picture_is_dropped_on_the_page(page, address, classifier):
    page.goto(address)
    for i in range(3):
        page.evaluate(DROP, [[*content(X[i])], "a.png"])
        page.wait_for_function("document.querySelectorAll('#table tr').length == 3")
        # Names of classes are text, also those with markup in them.
        assert page.inner_text("#result") == classifier.predict([X[i]])[0]
        (expected,) = classifier.predict_proba([X[i]])
        shown = [float(each) for each in page.locator("#table td:last-child").all_inner_texts()]
        np.testing.assert_allclose(shown, sorted(expected, reverse=True), atol=6e-4)
    page.set_input_files("input", {"name": "b.png", "mimeType": "", "buffer": b"no picture"})
    page.wait_for_function("document.getElementById('result').textContent.startsWith('not a')")


def installed_runtime():
    """The folder node_modules with onnxruntime-web, beside the example or above it."""
    found = [folder / "node_modules" for folder in (EXAMPLES / "browser").parents]
    found.insert(0, EXAMPLES / "browser" / "node_modules")
    return next((each for each in found if (each / "onnxruntime-web").is_dir()), None)


class Files(http.server.SimpleHTTPRequestHandler):
    extensions_map = {".mjs": "text/javascript", ".wasm": "application/wasm", "": "text/html"}

    def log_message(self, *_):
        pass


@needs_chromium
@pytest.mark.skipif(installed_runtime() is None, reason="npm has not installed onnxruntime-web")
def test_the_browser_computes_the_same(page, model, classifier, tmp_path):
    shutil.copy(EXAMPLES / "browser" / "index.html", tmp_path)
    shutil.copy(model, tmp_path / "model.onnx")
    (tmp_path / "classes.json").write_text(json.dumps(classifier.classes_.tolist()))
    (tmp_path / "node_modules").symlink_to(installed_runtime())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        page.wait_for_selector("input:enabled")
        for i in range(8):
            page.evaluate("document.getElementById('result').removeAttribute('data-probabilities')")
            picture = {"name": "a.png", "mimeType": "image/png", "buffer": content(X[i])}
            page.set_input_files("input", picture)
            page.wait_for_selector("#result[data-probabilities]")
            found = json.loads(page.get_attribute("#result", "data-probabilities"))
            np.testing.assert_allclose(found, classifier.predict_proba([X[i]])[0], atol=1e-5)
    finally:
        server.shutdown()
        server.server_close()
