"""How a scrub looks: a progress bar while it works, findings as they come, a last line or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TextIO

from ingest_server.upkeep.scrub import FAULTS, Fault, FaultyFile, Report

REDRAW_S = 0.2
WIDTH = 24
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_CLEAR = "\r\x1b[K"


class Bar:
    """Shows a `Report` that grows: on a terminal one line that moves, elsewhere findings only."""

    def __init__(
        self, stream: TextIO, now_s: Callable[[], float], shown: Callable[[str], str]
    ) -> None:
        """Start the clock; *shown* makes a name safe for a terminal."""
        self._stream = stream
        self._now_s = now_s
        self._shown = shown
        self._started_s = now_s()
        self._drawn_s = -REDRAW_S
        self._told = 0
        self._moves = stream.isatty()

    def __call__(self, report: Report, path: str) -> None:
        """Draw, at most five times a second; a finding is written at once."""
        for finding in report.findings[self._told :]:
            self._write(_CLEAR if self._moves else "", _sentence(finding, self._shown), "\n")
        is_due = self._now_s() - self._drawn_s >= REDRAW_S
        if self._moves and (is_due or self._told < len(report.findings)):
            self._drawn_s = self._now_s()
            self._write(_CLEAR, self._line(report), "  ", self._shown(path)[-40:])
        self._told = len(report.findings)

    def close(self) -> None:
        if self._moves:
            self._write(_CLEAR)

    def _line(self, report: Report) -> str:
        share = report.length_done / report.length if report.length else 1.0
        spent_s = self._now_s() - self._started_s
        rate = report.length_done / spent_s if spent_s > 0 else 0.0
        left_s = (report.length - report.length_done) / rate if rate else 0.0
        full = min(WIDTH, int(share * WIDTH))
        return (
            f"{min(100, int(100 * share)):3} % [{'#' * full}{'.' * (WIDTH - full)}] "
            f"{size(report.length_done)} of {size(report.length)}, {size(rate)}/s, "
            f"{int(left_s) // 60}:{int(left_s) % 60:02} left"
        )

    def _write(self, *pieces: str) -> None:
        self._stream.write("".join(pieces))
        self._stream.flush()


def _sentence(finding: FaultyFile, shown: Callable[[str], str]) -> str:
    text = f"{finding.verdict}: {shown(finding.path)}: {finding.detail}"
    if finding.quarantined_as is not None:
        text += f"; moved to {shown(finding.quarantined_as)}"
    return text


def size(count: float) -> str:
    """Return ``12.3 MB``, in powers of 1000."""
    unit = _UNITS[0]
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def summary(report: Report) -> str:
    """Return the last line."""
    counts = {verdict: sum(one.verdict is verdict for one in report.findings) for verdict in Fault}
    found = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    text = f"{report.intact} of {report.files} published files are intact"
    text += f" ({size(report.length_done)} read)"
    if found:
        text += f"; {found}"
    if not report.is_whole:
        text += "; stopped before the end"
    return text + "."


def document(report: Report) -> str:
    """Return the report as JSON."""
    return json.dumps(
        {
            "files": report.files,
            "intact": report.intact,
            "read_bytes": report.length_done,
            "is_whole": report.is_whole,
            "has_faults": report.has_faults,
            "findings": [
                {
                    "path": one.path,
                    "verdict": one.verdict.value,
                    "is_fault": one.verdict in FAULTS,
                    "detail": one.detail,
                    "upload_id": one.upload_id,
                    "device": one.device,
                    "quarantined_as": one.quarantined_as,
                }
                for one in report.findings
            ],
        },
        indent=2,
    )
