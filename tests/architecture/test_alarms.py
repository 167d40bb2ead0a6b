"""Every alarm is a rule, has a page, and asks for a metric that the program really has."""

import re

import pytest
import yaml
from prometheus_client import REGISTRY

import gateway.runtime.signals.observability  # noqa: F401 registers the metrics
from gateway.runtime.operator.alarms import ALARMS, RULES, Alarm, rules

PAGES = RULES.parent
METRIC = re.compile(r"gateway_[a-z_]+")


def test_the_rules_are_those_of_the_table() -> None:
    assert RULES.read_text(encoding="utf-8") == rules(), "run: python -m gateway.runtime.operator.alarms"


def test_the_rules_are_what_prometheus_reads() -> None:
    [group] = yaml.safe_load(rules())["groups"]
    keys = {"alert", "expr", "for", "labels", "annotations"}

    assert [set(rule) for rule in group["rules"]] == [keys] * len(ALARMS)


@pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: alarm.name)
def test_an_alarm_asks_for_a_metric_that_there_is(alarm: Alarm) -> None:
    names = {name for metric in REGISTRY.collect() for name in (metric.name, f"{metric.name}_total")}

    assert set(METRIC.findall(alarm.expression())) <= names


def test_every_alarm_has_a_page_and_every_page_an_alarm() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == {alarm.name for alarm in ALARMS}


@pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: alarm.name)
def test_a_page_says_where_to_look_what_to_do_and_what_not(alarm: Alarm) -> None:
    page = (PAGES / f"{alarm.name}.md").read_text(encoding="utf-8")

    assert re.findall(r"^#.*$", page, re.MULTILINE) == [f"# {alarm.name}", "## Look", "## Do", "## Do not"]
