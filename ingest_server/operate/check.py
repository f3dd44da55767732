"""``ingest-server check``: what the configuration names, tried once, each with what to do if it fails."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing

from ingest_server.assembly.bytes_place import is_unused, left_places, look_at_place
from ingest_server.assembly.command_data import enter
from ingest_server.assembly.data_folder import DATABASE
from ingest_server.config import ServerConfig
from ingest_server.core.errors import WHAT_AWAY_MEANS, Refused, ServerError
from ingest_server.core.routes import place_of
from ingest_server.operate.commands import Commands, Parser, Parsers
from ingest_server.operate.given_up import given_up_sentences

Line = tuple[str, str, str]
"""OK, WARN or FAIL; what was tried; what was found."""


class CheckCommand(Commands):
    """The command."""

    def add_parsers(self, commands: Parsers, common: Parser) -> None:
        parser = commands.add_parser(
            "check",
            parents=[common],
            help="try the database and the store of files; the server may run",
            description="Tries whether the database takes a write, and whether the store takes, gives back "
            "and removes files. In a bucket, it makes an object of two parts, reads it and removes it. "
            "A WARN says what a store does not do, and what that means. The exit code is 1 if something "
            "fails.",
        )
        parser.set_defaults(command=self._check)

    def _check(self, options: argparse.Namespace) -> int:
        has_failed = False
        for level, what, found in self._lines(options):
            print(f"{level:<4}  {what:<8}  {found}")
            has_failed |= level == "FAIL"
        return int(has_failed)

    def _lines(self, options: argparse.Namespace) -> Iterator[Line]:
        config = self._config(options)
        yield "OK", "config", "read" if options.config is None else f"read from {options.config}"
        try:
            if config.storage.state is None or config.storage.blobs is None:
                enter(config.server.data_dir)
        except ServerError as error:
            yield "FAIL", "folder", str(error)
            return
        yield from self._database(options, config)
        for place in (None, *config.places):
            yield from self._store(config, place)

    def _database(self, options: argparse.Namespace, config: ServerConfig) -> Iterator[Line]:
        is_elsewhere = config.storage.state is not None
        where = "PostgreSQL" if is_elsewhere else str(config.server.data_dir / DATABASE)
        if not is_elsewhere and not (config.server.data_dir / DATABASE).exists():
            yield "OK", "database", f"{where} is not there yet: the first start makes it"
            return
        try:
            with closing(self._data.state_to_check(options)) as state:
                # As often as it is asked, this changes nothing: it is never less than it was.
                state.run(lambda transaction: transaction.set_uptime(transaction.uptime_s()))
                yield "OK", "database", f"{where} takes writes"
                for sentence in left_places(config, state):
                    yield "WARN", "route", sentence
                for sentence in given_up_sentences(state):
                    yield "WARN", "webhook", sentence
        except (ServerError, Refused) as error:
            yield "FAIL", "database", str(error)

    def _store(self, config: ServerConfig, place: str | None) -> Iterator[Line]:
        where = place or config.storage.blobs or str(config.server.data_dir)
        if is_unused(config):
            yield "OK", "store", f"{where} has no files yet: the first start makes its folders"
            return
        try:
            with closing(look_at_place(config, place)) as blobs:
                for missing in blobs.try_out():
                    yield "WARN", "store", missing if place is None else f"{place}: {missing}"
                if any(place_of(one) == (place or "") for one in config.direct_routes):
                    blobs.try_direct()
                    yield "OK", "direct", _direct(config, where)
        except ServerError as error:
            yield "FAIL", "store", f"{error}{_meaning(place, error.__cause__)}"
            return
        except OSError as error:
            yield "FAIL", "store", f"{where}: {error.strerror or error}{_meaning(place, error)}"
            return
        yield "OK", "store", f"{where} takes files, gives them back and removes them"


def _direct(config: ServerConfig, where: str) -> str:
    """Return what was seen of *where*; a name that devices alone may reach was not tried."""
    seen = f"{where} takes from devices what is signed, and nothing else"
    elsewhere = config.storage.presigned_endpoint
    return f"{seen}; that they reach it at {elsewhere} was not tried" if elsewhere else seen


def _meaning(place: str | None, why: BaseException | None) -> str:
    """Return what it means that the place of a rule could not be used; one that is another's stops a start."""
    is_away = place is not None and isinstance(why, OSError)
    return f". {WHAT_AWAY_MEANS}" if is_away else ""
