"""The training room: what steers the embedded model (a ControlNet, LoRAs), trained on one processor core.

Read README.md, then in this order: settings.toml, sources.py, placing.py, data.py (pictures), base.py (the frozen model),
loop.py (what both trainings share), controlnet.py, lora.py, measure.py (whether it works). Nothing in `src` imports this.
"""
