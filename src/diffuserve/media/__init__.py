"""Pictures in and out: everything that touches untrusted bytes or Pillow.

Read `decode.py` (a stranger's bytes to an `InputImage`), `textual.py` (base64 as clients really send it), `fetch.py`
(pictures by link, safely) and `finish.py` (a drawing to the file that is served).
"""
