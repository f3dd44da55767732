"""From the end of a recording to its publication, settle time included."""

from tests.support.camera import Camera
from tests.support.processes import Agent, Server, wait_for

_RECORD_S = 2.0


def seconds_to_publication(server: Server, agent: Agent, number: int) -> float:
    """Record, and return the seconds between the camera's last write and the published name."""
    camera = Camera(agent.media / f"take-{number}.mp4", seconds=_RECORD_S)
    camera.wait()
    ended_s = camera.path.stat().st_mtime_ns / 1e9

    def published() -> list[float]:
        # Giving a file another name changes its ctime: the instant at which it became visible.
        return [
            path.stat().st_ctime_ns / 1e9
            for path in server.published_files()
            if path.name == camera.path.name
        ]

    # The part's name goes away after the published one came, and that sets ctime once more: the
    # first look that finds the file may be a few milliseconds late, never early.
    return float(wait_for(published, "it is published")[0]) - ended_s
