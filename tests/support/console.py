"""Whoever runs a server: types commands of `ingest-server`, and reads what they print."""

from __future__ import annotations

from ingest_server.cli import main
from tests.support.in_process import as_it_was, server_config


class Operator:
    """A configuration, its data folder, and the program."""

    def __init__(self, folder, capsys) -> None:
        self.config = server_config(folder, log={"format": "json"})
        self.data_dir = folder / "data"
        self._capsys = capsys

    def run(self, command: str, *arguments) -> tuple[int, str, str]:
        self._capsys.readouterr()
        with as_it_was():
            code = main([command, *map(str, arguments), "--config", str(self.config)])
        told = self._capsys.readouterr()
        return code, told.out, told.err

    def said(self) -> str:
        return self._capsys.readouterr().err
