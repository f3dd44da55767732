"""Pictures of a case: bytes acknowledged over time, one line for each program, as SVG."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.links_cases import Case
from benchmarks.machine import MB

WIDTH, HEIGHT = 760, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 30, 40
_POINTS = 240
_COLOURS = {
    "edge-agent-bbr": "#0a7d4f",
    "edge-agent-cubic": "#2fb673",
    "rsync-cubic": "#c0392b",
    "rclone-cubic": "#8e44ad",
    "curl-cubic": "#d68910",
    "tuspy-cubic": "#2471a3",
    "tus-js-cubic": "#7f8c8d",
}
_NAMES = {"edge-agent-bbr": "edge-agent (BBR)", "edge-agent-cubic": "edge-agent (cubic)"}
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True, slots=True)
class Row:
    """The link at one moment; bytes since the start, upwards."""

    t_s: float
    is_up: bool
    capacity: float
    payload: int
    """Data that arrived at the server, repetitions included."""
    acked: int
    """Data whose acknowledgement arrived at the device."""


def read_series(file: Path) -> list[Row]:
    """Return what the forwarding process wrote."""
    with file.open() as source:
        return [
            Row(
                float(row["t_s"]),
                row["link_up"] == "1",
                float(row["up_capacity_b"]),
                int(row["up_payload_b"]),
                int(row["up_acked_b"]),
            )
            for row in csv.DictReader(source)
        ]


def draw_all(every: dict[str, Case], series: Path, target: Path) -> None:
    """Draw each case of which seed 1 was measured."""
    target.mkdir(parents=True, exist_ok=True)
    for case in every.values():
        lines = {}
        for name in _COLOURS:
            file = series / f"{case.name}-{name}-1.csv"
            if file.exists():
                lines[name] = read_series(file)
        if lines:
            (target / f"{case.name}.svg").write_text(draw(case, lines))


def draw(case: Case, lines: dict[str, list[Row]]) -> str:
    """Return the picture; the time axis ends where the slowest of all has ended, or at 5 minutes."""
    longest = max(lines.values(), key=lambda rows: rows[-1].t_s)
    axes = _Axes(min(300.0, longest[-1].t_s), case.total)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="18" font-weight="600">{case.name}: {case.link.note}</text>',
        *_outages(longest, axes),
        *axes.drawn(),
        _line(
            ((row.t_s, row.capacity) for row in longest), axes, "#444444", 'stroke-dasharray="4 3"'
        ),
    ]
    for name, rows in lines.items():
        parts.append(_line(((row.t_s, row.acked) for row in rows), axes, _COLOURS[name]))
    legend = [("what the link could carry", "#444444")]
    legend += [(_NAMES.get(name, name.removesuffix("-cubic")), _COLOURS[name]) for name in lines]
    parts += _legend(legend)
    return "\n".join([*parts, "</svg>", ""])


class _Axes:
    """Seconds to the right, bytes upwards."""

    def __init__(self, end_s: float, total: int) -> None:
        self.end_s = end_s
        self.total = total

    def x(self, t_s: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * t_s / self.end_s

    def y(self, count: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * count / (self.total * 1.04)

    def drawn(self) -> Iterable[str]:
        floor = HEIGHT - _BOTTOM
        for t_s in _ticks(self.end_s):
            x = self.x(t_s)
            yield f'<line x1="{x:.1f}" y1="{floor}" x2="{x:.1f}" y2="{floor + 4}" stroke="#888"/>'
            yield f'<text x="{x:.1f}" y="{floor + 17}" text-anchor="middle">{t_s:g}</text>'
        for count in _ticks(self.total / MB):
            y = self.y(count * MB)
            yield f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#ddd"/>'
            yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{count:g}</text>'
        yield f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 6}" text-anchor="end">seconds</text>'
        yield f'<text x="6" y="{_TOP + 2}">MB</text>'


def _ticks(most: float) -> Iterable[float]:
    step = next((step for step in _STEPS if most / step <= 8), _STEPS[-1])
    return (float(step * number) for number in range(int(most / step) + 1))


def _outages(rows: Sequence[Row], axes: _Axes) -> Iterable[str]:
    start: float | None = None
    for row in [*rows, Row(rows[-1].t_s, True, 0, 0, 0)]:
        if not row.is_up and start is None:
            start = row.t_s
        elif row.is_up and start is not None:
            if start < axes.end_s:
                x, end = axes.x(start), axes.x(min(row.t_s, axes.end_s))
                yield (
                    f'<rect x="{x:.1f}" y="{_TOP}" width="{end - x:.1f}"'
                    f' height="{HEIGHT - _TOP - _BOTTOM}" fill="#f1e3e1"/>'
                )
            start = None


def _line(points: Iterable[tuple[float, float]], axes: _Axes, colour: str, more: str = "") -> str:
    kept = [point for point in points if point[0] <= axes.end_s and point[1] <= axes.total * 1.03]
    step = max(1, len(kept) // _POINTS)
    thin = [*kept[::step], *kept[-1:]]
    path = " ".join(f"{axes.x(t_s):.1f},{axes.y(count):.1f}" for t_s, count in thin)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8" {more}/>'


def _legend(entries: Sequence[tuple[str, str]]) -> Iterable[str]:
    x, top = WIDTH - _RIGHT - 190, HEIGHT - _BOTTOM - 12 - 16 * len(entries)
    yield (
        f'<rect x="{x - 8}" y="{top - 6}" width="196" height="{16 * len(entries) + 10}"'
        ' fill="#ffffff" fill-opacity="0.85" stroke="#ddd"/>'
    )
    for number, (name, colour) in enumerate(entries):
        y = top + 8 + 16 * number
        yield f'<line x1="{x}" y1="{y}" x2="{x + 20}" y2="{y}" stroke="{colour}" stroke-width="3"/>'
        yield f'<text x="{x + 26}" y="{y + 4}">{name}</text>'
