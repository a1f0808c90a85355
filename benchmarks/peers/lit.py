"""LitServe over the same pipeline."""

from __future__ import annotations

import io
import sys

import litserve
import torch
from fastapi import Response
from peer import Request, draw, load


class Drawing(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.pipeline = load()

    def decode_request(self, request: Request) -> Request:
        return request

    def predict(self, request: Request) -> bytes:
        with torch.inference_mode():
            image = draw(self.pipeline, request)
        png = io.BytesIO()
        image.save(png, "PNG")
        return png.getvalue()

    def encode_response(self, output: bytes) -> Response:
        return Response(output, media_type="image/png")


if __name__ == "__main__":
    litserve.LitServer(Drawing(api_path="/generate"), accelerator="cpu", timeout=False).run(
        port=int(sys.argv[1]), host="127.0.0.1", num_api_servers=1, generate_client_file=False, log_level="error"
    )
