"""LitServe over the same pipeline. Its answers cross processes as JSON, so the PNG travels in base64."""

from __future__ import annotations

import base64
import io
import sys

import litserve
import torch
from peer import Request, draw, load


class Drawing(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.pipeline = load()

    def decode_request(self, request: dict) -> Request:
        return Request(**request)

    def predict(self, request: Request) -> bytes:
        with torch.inference_mode():
            image = draw(self.pipeline, request)
        png = io.BytesIO()
        image.save(png, "PNG")
        return png.getvalue()

    def encode_response(self, output: bytes) -> dict:
        return {"image": base64.b64encode(output).decode()}


if __name__ == "__main__":
    litserve.LitServer(Drawing(api_path="/generate"), accelerator="cpu", timeout=False).run(
        port=int(sys.argv[1]), host="127.0.0.1", num_api_servers=1, generate_client_file=False, log_level="error"
    )
