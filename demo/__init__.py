"""Everything on one machine, for a first look; neither package imports it.

`python -m demo` starts a broker, the server and an agent and tells what happens; `python -m
demo.record` is the camera.
"""
