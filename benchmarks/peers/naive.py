"""The obvious server: FastAPI, the pipeline behind a lock, one picture at a time."""

from __future__ import annotations

import io
import sys
import threading

import torch
import uvicorn
from fastapi import FastAPI, Response
from peer import Request, draw, load

app = FastAPI()
pipeline = load()
lock = threading.Lock()


@app.get("/ready")
def ready() -> str:
    return "ready"


@app.post("/generate")
def generate(request: Request) -> Response:
    with lock, torch.inference_mode():
        image = draw(pipeline, request)
    png = io.BytesIO()
    image.save(png, "PNG")
    return Response(png.getvalue(), media_type="image/png")


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
