"""The link that would be sent over now, and the owner's rules for it."""

from __future__ import annotations

from collections.abc import Iterator

from edge_agent.base.clock import Clock
from edge_agent.base.settings import AgentSettings
from edge_agent.core.data_plan import PlanUse
from edge_agent.core.link_rule import NOTHING_KNOWN, LinkFacts, rule_for
from edge_agent.core.schedule import SendingRules, decide
from edge_agent.net import network_manager
from edge_agent.net.interfaces import that_are_up, tunnel_among
from edge_agent.net.knock import SocketAddress
from edge_agent.net.link_monitor import address_of
from edge_agent.net.resolver import SHARED
from edge_agent.net.route import interface_to, why_none
from edge_agent.operate.checks.finding import Finding
from edge_agent.operate.figures import size
from edge_agent.send.rules.link_policy import why_not_used
from edge_agent.send.wiring import answers


def check_link(settings: AgentSettings, clock: Clock) -> Finding:
    """Say over which link the agent would send now, and what the owner's rules make of it."""
    interface = _interface(settings)
    if interface is None:
        address = _address(settings)
        why = why_none(address[0], SHARED.known(*address))
        text = why or "no way leads to the server now: the agent waits for one"
        return Finding("WARN", "link", text)
    verdict = _verdict(settings, clock, interface)
    text = f"the route to the server goes over {interface}; {_rules_in_words(verdict)}"
    text += "".join(f"; {note.text}" for note in verdict.notes)
    if verdict.notes and verdict.blocked_by is None:
        return Finding("WARN", "link", text)
    if verdict.blocked_by is not None:
        return Finding("WARN", "link", f"{text}; nothing is sent now: {verdict.detail}")
    return Finding("OK", "link", text)


def check_originals(settings: AgentSettings) -> Iterator[Finding]:
    """Say where ``[groups] original`` does not do what its owner will have meant."""
    if settings.groups.original != "unmetered":
        return
    metered = [one for one in settings.link if one.metered]
    if not metered:
        text = '[groups] original = "unmetered" holds nothing back: no [[link]] rule says metered = true'
        yield Finding("WARN", "groups", text)
    for one in metered:
        if one.daily_bytes is None and not one.plan:
            when = "" if one.metered is True else " while it is metered"
            text = f'[[link]] match = "{one.match}" carries nothing{when}, proxies neither: give it daily_bytes for them'
            yield Finding("WARN", "groups", text)


def check_other_links(settings: AgentSettings, clock: Clock) -> Iterator[Finding]:
    """Say over which other interfaces the server answers, and whether the agent would use them."""
    usual = _interface(settings)
    rules = [one.rule() for one in settings.link]
    tunnel = tunnel_among(usual, interface_to(""))
    for name in that_are_up():
        if name == usual or not answers(settings, clock, name):
            continue
        why = why_not_used(name, rules, tunnel, _facts(settings, name))
        text = f"the server answers over {name}, though not over {usual}"
        if why is None:
            yield Finding("WARN", "other links", f"{text}; the agent uses it until {usual} works")
        else:
            text += f'; it is not used: {why}; a [[link]] rule with match = "{name}" would use it'
            yield Finding("WARN", "other links", text)


def rules_now(settings: AgentSettings, clock: Clock) -> SendingRules:
    """Return what the owner's rules allow on the way that leads to the server now."""
    return _verdict(settings, clock, _interface(settings))


def _interface(settings: AgentSettings) -> str | None:
    address = _address(settings)
    return interface_to(address[0], SHARED.known(*address))


def _address(settings: AgentSettings) -> SocketAddress:
    return address_of(settings.server.proxy or settings.server.url)


def _verdict(settings: AgentSettings, clock: Clock, interface: str | None) -> SendingRules:
    local = clock.now_utc().astimezone() if clock.is_synchronised() else None
    rules, facts = [one.rule() for one in settings.link], _facts(settings, interface)
    rule = rule_for(rules, interface, facts)
    plans = {one.name: PlanUse(one.rule(), 0) for one in settings.plan}
    return decide(
        rules=rules,
        timetable=settings.upload.slots(),
        max_rate=settings.upload.max_rate,
        interface=interface,
        local=local,
        used_today=0,
        plan=None if rule is None else plans.get(rule.plan),
        original=settings.groups.original,
        facts=facts,
    )


def _facts(settings: AgentSettings, interface: str | None) -> LinkFacts:
    """Ask NetworkManager, where a rule wants to know."""
    if interface is None or not any(one.rule().asks for one in settings.link):
        return NOTHING_KNOWN
    try:
        found = network_manager.look()
    except network_manager.SilentError as error:
        return LinkFacts(why_unknown=str(error))
    return found.get(interface) or LinkFacts(why_unknown=network_manager.UNKNOWN_THERE)


def _rules_in_words(verdict: SendingRules) -> str:
    rule = verdict.rule
    parts = ["no [[link]] fits it" if rule is None else f'[[link]] match = "{rule.match}" holds']
    if rule is not None and rule.metered:
        parts.append("metered")
    if rule is not None and rule.daily_bytes is not None:
        parts.append(f"at most {size(rule.daily_bytes)} a day")
    if rule is not None and rule.plan:
        parts.append(f"on the data plan {rule.plan}")
    if rule is not None and rule.windows:
        parts.append("at certain times only")
    if rule is not None and rule.min_priority:
        parts.append(f"recordings of priority {rule.min_priority} and above only")
    if verdict.originals_held_by is not None:
        parts.append("originals are held back ([groups] original)")
    limit = "no limit" if verdict.max_rate is None else f"at most {size(verdict.max_rate)}/s"
    return ", ".join([*parts, limit])
