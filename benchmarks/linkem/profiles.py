"""The links that are emulated, by name."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Link:
    """One link. A string holds "UP/DOWN"; a lone value serves both directions."""

    rate_mbit: str = "0"
    """Mbit/s of IP bytes; "LO-HI" wanders between the two; 0: no limit."""
    delay_ms: str = "0"
    """One way."""
    jitter_ms: str = "0"
    """Standard deviation of the one-way delay, correlated over 100 ms; never reorders."""
    loss: str = "0"
    """Fraction of packets lost after the queue."""
    burst: str = "1"
    """Mean length of a loss burst in packets (two-state Gilbert model); 1: independent losses."""
    queue_kb: str = "300"
    """Drop-tail limit, in 1000 bytes."""
    outages: str = ""
    """Seconds: "UP:DOWN" repeated, "~UP:LO-HI" random, or a list "START-END,START-END"."""
    outage_mode: str = "blackhole"
    """Or "down": the device's interface is taken down as well, so that its programs are told."""
    trace: str = ""
    """A delivery trace in place of the rate: "UP_FILE|DOWN_FILE"."""
    note: str = ""


PROFILES: dict[str, Link] = {
    "ideal-lan": Link("100", "0.5", queue_kb="500", note="wired, nothing goes wrong"),
    "wifi-weak": Link("2-25/4-40", "5", "6", "0.015", "4", queue_kb="256", outages="~40:0.5-2",
                      note="edge of Wi-Fi range: loss in bursts, 10 ms, short drops"),
    "lte-good": Link("12-30/30-80", "25", "4", "0.001", queue_kb="600/1500",
                     note="LTE with signal, 50 ms"),
    "lte-bad": Link("1-20/2-30", "30", "8", "0.01", "2", queue_kb="300", outages="~25:0.5-4",
                    note="LTE on the move: 60 ms, 1 % loss, outages of 0.5-4 s"),
    "flyby": Link("20/30", "20", "5", "0.005", queue_kb="300", outages="20:40",
                  note="in range for 20 s, out of range for 40 s"),
    "satellite": Link("10/20", "300", "5", "0.005", queue_kb="1000/2000",
                      note="geostationary: 600 ms, 0.5 % loss"),
}  # fmt: skip


def both(text: str, separator: str = "/") -> tuple[str, str]:
    """Split "UP/DOWN"; a lone value serves both directions."""
    up, _, down = text.partition(separator)
    return up, down or up
