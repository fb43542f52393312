"""How far the probabilities of the page examples/browser are from those of the classifier.

``python -m benchmarks.in_browser FOLDER``, where npm has installed onnxruntime-web in the folder.
It needs Chromium, and prints the largest difference over every fifth drawing of the clip-art.
"""

import argparse
import functools
import http.server
import json
import shutil
import threading
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from sktransfer import PretrainedImageClassifier, export, load_clipart

PAGE = Path(__file__).resolve().parents[1] / "examples" / "browser" / "index.html"


class _Files(http.server.SimpleHTTPRequestHandler):
    extensions_map = {".mjs": "text/javascript", ".wasm": "application/wasm", "": "text/html"}

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    paths, labels = load_clipart(return_X_y=True)
    classifier = PretrainedImageClassifier("efficientnet_lite0", random_state=0)
    classifier.fit(paths[::4], labels[::4])
    export(classifier, folder / "model.onnx")
    (folder / "classes.json").write_text(json.dumps(classifier.classes_.tolist()))
    shutil.copy(PAGE, folder)
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Files, directory=folder)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pictures = paths[1::5]
    found = _probabilities(f"http://127.0.0.1:{server.server_port}/index.html", pictures)
    expected = classifier.predict_proba(pictures)
    same = (found.argmax(1) == expected.argmax(1)).sum()
    gap = np.abs(found - expected).max()
    print(f"{len(pictures)} pictures: the same class for {same}, largest difference {gap:.1e}")


def _probabilities(url, pictures):
    found = []
    with sync_playwright() as running:
        chromium = running.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = chromium.new_page()
        page.goto(url)
        page.wait_for_selector("input:enabled", timeout=600_000)
        for path in pictures:
            page.evaluate("document.getElementById('result').removeAttribute('data-probabilities')")
            page.set_input_files("input", path)
            page.wait_for_selector("#result[data-probabilities]", timeout=600_000)
            found.append(json.loads(page.get_attribute("#result", "data-probabilities")))
        chromium.close()
    return np.array(found)


if __name__ == "__main__":
    main()
