"""Whoever draws: implementations of `ports.Engine`.

`fake.py` draws a deterministic pattern without torch; `local.py` owns a process per device whose main (`process.py`) is the
step loop of `diffusion/`; `messages.py` is all they say to each other.

Beside it, `writer.py` owns a process of language models (`writing.py`, `diffusion/language_models.py`) that help with prompts.
"""
