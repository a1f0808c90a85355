"""The diffusion engine: the only folder that imports torch or diffusers. Everything here runs on one thread.

Read in this order: `loop.py` (one iteration), `sample.py` (one picture being drawn), `denoise.py` (the sampler as a
generator), `batcher.py` (who steps next), `forward.py` (the shared UNet call); then what surrounds a sample:
`conditioning.py` with `weighting.py` (prompts), `codec.py` (the VAE), `samplers.py`, `models.py` and `device.py`.
"""
