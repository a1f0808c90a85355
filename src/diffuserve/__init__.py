"""diffuserve: a self-hosted Stable Diffusion server. One engine behind many HTTP dialects.

Start reading at `docs/structure.md`, or here at `diffuserve.core.request`.
"""

__version__ = "0.1.0"
