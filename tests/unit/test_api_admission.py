import ast
import inspect
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataimportcron.api import metadata, node, rules, volume_rules
from dataimportcron.api.admission import ENUMS, RULES, UNSAYABLE
from dataimportcron.api.refusals import Refusal
from dataimportcron.api.schedule_pattern import SCHEDULE
from dataimportcron.api.validation import validate
from dataimportcron.errors import InvalidReferenceError
from dataimportcron.reference import GRAMMAR, Reference
from tests.support.admission import ADMITTED, REFUSED

SCHEDULES = json.loads(Path(__file__).with_name("cron_table.json").read_text())["rows"]
HOSTS_OWN = {"_data_faults", "_base64_faults", "config_map_faults", "secret_faults"}
"""Of kinds that an API server validates itself."""


@pytest.mark.parametrize(("document", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_a_cluster_refuses_is_refused_on_a_host_in_the_same_words(document, sentence):
    assert any(sentence in fault.message for fault in validate(document))


@pytest.mark.parametrize("document", ADMITTED.values(), ids=ADMITTED)
def test_what_a_cluster_admits_is_admitted_on_a_host(document):
    assert validate(document) == []


def test_each_sentence_is_said_by_the_api_server_too_or_there_is_a_reason():
    said = [rule.message for every in RULES.values() for rule in every]
    unsaid = {refusal for refusal in Refusal if not any(refusal in message for message in said)}
    assert ENUMS
    assert unsaid - {Refusal.UNSUPPORTED} == set(UNSAYABLE)


def test_each_sentence_that_the_api_server_says_is_tried():
    tried = [sentence for _, sentence in REFUSED.values()]
    assert [refusal for refusal in Refusal if refusal not in UNSAYABLE and not any(refusal in it for it in tried)] == []


@pytest.mark.parametrize("module", [rules, volume_rules, metadata, node])
def test_no_rule_has_words_of_its_own(module):
    functions = [it for it in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(it, ast.FunctionDef)]
    calls = [
        (function.name, call)
        for function in functions
        if function.name not in HOSTS_OWN | {"mistyped"}
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
    ]
    messages = [
        (name, word)
        for name, call in calls
        for word in [*(it.value for it in call.keywords if it.arg == "message"), *_first_of_fault(call)]
    ]
    assert messages
    assert [name for name, word in messages if isinstance(word, ast.Constant)] == []


def _first_of_fault(call):
    named = isinstance(call.func, ast.Attribute) and call.func.attr == "fault"
    return call.args[:1] if named else []


@pytest.mark.parametrize("expression", ["", *(row[0] for row in SCHEDULES if row[1] is None)])
def test_the_pattern_of_schedules_takes_all_that_are_one(expression):
    assert re.fullmatch(SCHEDULE, expression)


@pytest.mark.parametrize("expression", ["61 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "* * * *"])
def test_the_pattern_of_schedules_refuses_the_usual_mistakes(expression):
    assert not re.fullmatch(SCHEDULE, expression)


def test_few_refused_schedules_fit_the_pattern():
    refused = [row[0] for row in SCHEDULES if row[1] is not None]
    assert sum(bool(re.fullmatch(SCHEDULE, expression)) for expression in refused) < len(refused) / 3


@given(st.from_regex(re.compile(rf"(?:{GRAMMAR})\Z", re.ASCII)) | st.text(alphabet="aZ0._-:/@[]", max_size=40))
def test_the_grammar_of_references_takes_all_that_are_one(text):
    try:
        Reference.parse(text)
    except InvalidReferenceError:
        return
    assert re.fullmatch(GRAMMAR, text, re.ASCII)
