"""``ingest-server mqtt``: what the broker retains of this server."""

from __future__ import annotations

import argparse

from edge_host.clock import SystemClock
from ingest_server.operate.commands import Commands, Parser, Parsers


class BrokerCommands(Commands):
    """The command; the server is stopped meanwhile."""

    def add_parsers(self, commands: Parsers, common: Parser) -> None:
        mqtt = commands.add_parser(
            "mqtt", parents=[common], help="remove the fleet from the MQTT broker"
        )
        mqtt.add_argument(
            "--unregister",
            action="store_true",
            required=True,
            help="remove what the broker retains, and so the fleet from Home Assistant; stop the server first",
        )
        mqtt.set_defaults(command=self._unregister)

    def _unregister(self, options: argparse.Namespace) -> int:
        from ingest_server.assembly.settings import broker_settings  # brings the server's own extra

        settings = broker_settings(self._config(options))
        if settings is None:
            self._complain(
                "[fleet] mqtt_url names no broker, so none retains anything of this server"
            )
            return 1
        try:
            from ingest_server.fleet.unregister import unregister
        except ModuleNotFoundError:
            self._complain(
                "paho-mqtt is not installed, so no broker can be asked. Run in the project's folder:"
                " pip install '.[server,fleet]'"
            )
            return 1
        complaint = unregister(settings, SystemClock().now_s)
        if complaint is not None:
            self._complain(complaint)
            return 1
        print(f"the broker at {settings.url} retains nothing of this server any more")
        return 0
