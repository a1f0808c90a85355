"""What lies on disk, told without torch: which models there are, whether they are whole, and what they draw well.

Read `inspect.py` (a path becomes a `ModelInfo`), `header.py` (the safetensors header that it reads), `card.py` (what
a model says of itself), `hub.py` (a name becomes a path), `collect.py` (all of a server's models) and `steering.py` (its
LoRAs, ControlNets and adapters).
"""
