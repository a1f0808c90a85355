"""Pictures in and out: everything that touches untrusted bytes or Pillow.

Read `decode.py` (a stranger's bytes to an `InputImage`), `masks.py`, `textual.py` (base64 as clients really send it) and
`fetch.py` (pictures by link, safely); then `prepare.py` (a request's pictures to what an engine needs) and `finish.py` (a
drawing to the file that is served), which meet in `placing.py`. `vision.py` names what needs OpenCV.
"""
