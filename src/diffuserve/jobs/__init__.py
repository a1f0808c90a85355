"""The life of a job, from a dialect's `GenerationRequest` to the ended `Job`.

`service.py` is what dialects call: submit, wait, watch, get, cancel. Before a job is queued `resolve.py` leaves nothing
of it open (`catalog.py` knows the models, `canvas.py` the size to draw, `ids.py` numbers); `admission.py` says whether
there is room. `worker.py` claims jobs and keeps their leases, `drawing.py` takes one of them through the engine,
`output.py` stores what it drew, `turns.py` keeps suspects of a crash apart. `hub.py` carries news to whoever waits,
and `retention.py` deletes what is old.
"""
