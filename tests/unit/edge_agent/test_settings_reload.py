"""Which changes of the configuration take effect at once."""

from edge_agent.base.settings import AgentSettings
from edge_agent.settings_reload import compare


def settings(**tables: object) -> AgentSettings:
    base = {"device_id": "d", "watch": {"folder": "/m"}, "server": {"url": "http://x"}}
    return AgentSettings.model_validate(base | tables)


def test_a_reload_applies_what_it_can_and_names_what_needs_a_restart():
    now = settings()
    wanted = settings(
        device_id="other",
        watch={"folder": "/n", "patterns": ["*.x"]},
        upload={"max_rate": "1MB", "congestion_control": "bbr"},
        log={"level": "debug"},
    )

    change = compare(now, wanted)

    assert set(change.applied) == {
        "watch.folder",
        "watch.patterns",
        "upload.max_rate",
        "log.level",
    }
    assert set(change.needs_restart) == {"device_id", "upload.congestion_control"}
    assert change.settings.upload.max_rate == 1_000_000
    assert change.settings.upload.congestion_control == "auto"
    assert change.settings.device_id == "d"
    assert change.settings.watch == wanted.watch


def test_a_reload_names_the_folders_that_come_and_go_and_what_changes_in_the_others():
    now = settings(watch=[{"name": "front", "folder": "/f"}, {"name": "rear", "folder": "/r"}])
    wanted = settings(
        watch=[
            {"name": "front", "folder": "/f", "recursive": False},
            {"name": "in", "folder": "/i"},
        ]
    )

    change = compare(now, wanted)

    assert change.applied == ("watch.front.recursive", "watch.rear", "watch.in")
    assert change.needs_restart == ()


def test_rules_for_links_change_without_a_restart():
    now = settings(link=[{"match": "wwan*", "metered": True}])

    change = compare(now, settings(link=[{"match": "wwan*"}]))

    assert (change.applied, change.needs_restart) == (("link",), ())
    assert not change.settings.link[0].metered


def test_the_same_settings_change_nothing():
    change = compare(settings(), settings())

    assert (change.applied, change.needs_restart) == ((), ())
