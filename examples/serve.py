"""A web service that classifies pictures by an exported graph, without sktransfer or torch.

``export(classifier, "model.onnx")`` writes the file. Then::

    pip install "sktransfer[serve]"
    python examples/serve.py model.onnx

Drop a picture on the page at http://127.0.0.1:8000, or send it:
``curl -F picture=@cat.jpg http://127.0.0.1:8000/predict``
"""

import argparse
import io
import json
import threading
from pathlib import Path

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, HTTPException, Request, UploadFile
from fastapi.responses import HTMLResponse, JSONResponse
from PIL import Image, ImageOps

# The memory of the graph grows with the longer side; each scan of a JPEG takes as long as one.
MAX_BYTES, MAX_PIXELS, MAX_SIDE, MAX_SCANS = 10_000_000, 16_000_000, 20_000, 100
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
PAGE = Path(__file__).with_name("serve.html")


def application(model):
    """Make the service for the file of a classifier."""
    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = False  # else it keeps the memory of the largest picture
    session = onnxruntime.InferenceSession(str(model), options, ["CPUExecutionProvider"])
    told, (given,) = session.get_modelmeta().custom_metadata_map, session.get_inputs()
    if "classes" not in told or given.name != "pictures" or given.shape[-1] != 3:
        raise ValueError(f"{model} is not the graph of a classifier of colour pictures")
    classes, several = json.loads(told["classes"]), json.loads(told["task"]) == "several labels"
    one_at_a_time = threading.Lock()  # the graph computes on all cores, and takes much memory
    app = FastAPI(title="Classify a picture")

    @app.middleware("http")
    async def limit_size(request: Request, call_next):
        has_body = request.method not in ("GET", "HEAD", "OPTIONS")
        length = request.headers.get("content-length", "" if has_body else "0")
        if not length.isdigit():
            return JSONResponse({"detail": "say the Content-Length"}, 411)
        if int(length) > MAX_BYTES:
            return JSONResponse({"detail": f"more than {MAX_BYTES:,} bytes"}, 413)
        return await call_next(request)

    @app.get("/", response_class=HTMLResponse)
    def page():
        return PAGE.read_text(encoding="utf-8")

    @app.get("/health")
    def health():
        return {"status": "ok", "classes": classes}

    @app.post("/predict")
    def predict(picture: UploadFile):
        pixels = decoded(picture.file.read())
        with one_at_a_time:
            probabilities, label = session.run(["probabilities", "label"], {"pictures": pixels})
        chosen = [classes[i] for i in np.flatnonzero(label[0])] if several else classes[label[0]]
        by_class = {str(name): float(p) for name, p in zip(classes, probabilities[0], strict=True)}
        return {"label": chosen, "probabilities": by_class}

    return app


def decoded(content):
    """Pixels (1, h, w, 3) of a picture: upright, and on white where it is transparent."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            # All of this is known before anything is decoded.
            if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
                raise HTTPException(
                    413, f"more than {MAX_PIXELS:,} pixels, or a side of {MAX_SIDE:,}"
                )
            if image.mode[0] in "IF" or any(";16" in str(tile.args) for tile in image.tile):
                raise HTTPException(422, "more than 8 bits per colour")
            if image.format == "JPEG" and content.count(b"\xff\xda") > MAX_SCANS:
                raise HTTPException(422, "a JPEG of very many scans")
            image = ImageOps.exif_transpose(image)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return np.asarray(image.convert("RGB"))[None]
    except HTTPException:
        raise
    except Exception as error:  # the decoders raise many types
        raise HTTPException(422, "not a picture that can be read") from error


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a file that export() has written")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    try:
        app = application(given.model)
    except Exception as error:  # onnxruntime has types of its own
        parser.error(f"{given.model} can't be served: {error}")
    uvicorn.run(app, host=given.host, port=given.port, limit_concurrency=64)
