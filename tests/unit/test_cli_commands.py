"""The parser, its helps and docs/cli.md say the same; commands that need no server."""

import io
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout, suppress
from dataclasses import fields
from itertools import zip_longest
from pathlib import Path

import pytest
import yaml

from dataimportcron.host.state.folder import Settings, StateFolder
from dataimportcron.host.state.store import Store
from tests.support.home import NAME, NAMESPACE, cron_document
from worker.cli import COMMANDS, main, parser
from worker.cli.examples import EXAMPLES, EXIT_CODES

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "cli.md").read_text()
SAMPLE = ROOT / "deploy" / "samples" / "fedora.yaml"


@pytest.fixture
def state(tmp_path, monkeypatch):
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    (folder.path / "settings.toml").write_text(f'default_folder = "{tmp_path}/images"\n')
    monkeypatch.setenv("DATAIMPORTCRON_STATE", str(folder.path))
    for name in ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def store(state):
    return Store(state)


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = main(arguments)
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_each_help_has_examples(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "\nexamples:\n  " in capsys.readouterr().out


@pytest.mark.parametrize("command", [command for command in EXAMPLES if command != "import"])
def test_each_example_is_one_that_the_parser_takes(command):
    for example in EXAMPLES[command]:
        called = example.partition("dataimportcron ")[2].replace("$(dataimportcron", "")
        words = re.sub(r"(\),|[<>]).*|[()\"]", " ", called)
        quoted = re.findall(r'"([^"$]*\*[^"]*)"', example)
        given = ["next", quoted[0]] if quoted else words.split()
        assert parser(command).parse_args(given).command == command


def test_the_documentation_has_each_command_with_its_sentence_and_its_examples():
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", DOCS, re.MULTILINE | re.DOTALL))
    assert set(COMMANDS) <= set(sections)
    for command, sentence in COMMANDS.items():
        flat = " ".join(sections[command].split())
        assert f"{sentence[0].upper()}{sentence[1:]}." in flat
        for example in EXAMPLES.get(command, ()):
            assert example in sections[command]


def test_the_documentation_has_the_exit_codes_and_only_options_that_exist():
    table = re.findall(r"^\| (\d+) \| (.*) \|$", DOCS, re.MULTILINE)
    assert table == [(str(code), meaning) for code, meaning in EXIT_CODES]
    helps = "".join(_help(command) for command in COMMANDS)
    for option in re.findall(r"--[a-z][a-z-]+", re.sub(r"virt-install.*", "", DOCS)):
        assert option in helps, option


@pytest.mark.parametrize("command", COMMANDS)
def test_each_help_fits_a_narrow_terminal(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    commands = ("  dataimportcron ", "  virt-install ")  # they are copied whole, whatever their length
    assert [line for line in _help(command).splitlines() if len(line) > 80 and not line.startswith(commands)] == []


def _help(command):
    told = io.StringIO()
    with redirect_stdout(told), suppress(SystemExit):
        main([command, "--help"])
    return told.getvalue()


def test_json_and_yaml_are_one_object_for_a_name_and_a_list_for_several(run, store):
    store.apply(cron_document())
    code, told, _ = run("get", f"dic/{NAME}", "-n", NAMESPACE, "-o", "json")
    assert code == 0
    one = json.loads(told)
    assert (one["kind"], one["metadata"]["name"]) == ("DataImportCron", NAME)
    _, told, _ = run("get", "dic", "-A", "-o", "yaml")
    several = yaml.safe_load(told)
    assert (several["apiVersion"], several["kind"]) == ("v1", "List")
    assert several["items"] == [one]
    _, told, _ = run("get", "das", "-A", "-o", "json")
    assert json.loads(told)["items"] == []


def test_a_document_that_get_prints_can_be_applied_again(run, store, tmp_path):
    store.apply(cron_document())
    _, told, _ = run("get", "dic", NAME, "-n", NAMESPACE, "-o", "yaml")
    (tmp_path / "again.yaml").write_text(told)
    code, told, _ = run("apply", "-f", str(tmp_path / "again.yaml"))
    assert (code, told.split()[0]) == (0, f"dataimportcron/{NAME}")


def test_apply_says_which_document_is_at_fault_and_applies_none(run, state, tmp_path):
    good = SAMPLE.read_text()
    (tmp_path / "two.yaml").write_text(good + "---\n" + good.replace("30 1 * * 1", "61 * * * *"))
    code, told, error = run("apply", "-f", str(tmp_path / "two.yaml"))
    assert (code, told) == (2, "")
    assert "two.yaml, document 2: spec.schedule: Illegal cron schedule" in error
    assert error.endswith("\nerror: nothing was applied\n")
    assert list(state.objects.iterdir()) == []


def test_rows_names_labels_and_several_kinds(run, store):
    store.apply(cron_document())
    labelled = cron_document(managedDataSource="other")
    labelled["metadata"] |= {"name": "labelled", "labels": {"team": "a"}}
    store.apply(labelled)
    code, told, _ = run("get", "dic", "-n", NAMESPACE)
    assert code == 0
    assert [line.split()[0] for line in told.splitlines()] == ["NAME", NAME, "labelled"]
    assert run("get", "dic", "-n", NAMESPACE, "-l", "team=a", "--no-headers")[1].split()[0] == "labelled"
    assert run("get", "dic", "labelled", NAME, "-n", NAMESPACE, "-o", "name")[1].split() == [
        "dataimportcron/labelled",
        f"dataimportcron/{NAME}",
    ]
    assert f"dic/{NAME}" in run("get", "all", "-A")[1]
    assert "in " in run("get", "dic", "-A", "-o", "wide")[1].splitlines()[1]
    assert run("get", "das", "-A")[1] == "No DataSource found in any namespace.\n"


def test_a_name_that_is_not_there_is_an_error_and_nothing_else_is_printed(run, store):
    store.apply(cron_document())
    code, told, error = run("get", "dic", NAME, "nobody", "-n", NAMESPACE)
    assert (code, told) == (1, "")
    assert error.startswith(f"error: DataImportCron {NAMESPACE}/nobody does not exist")


def test_a_name_is_looked_for_in_all_namespaces_and_labels_hold_for_it_too(run, store):
    store.apply(cron_document())
    twin = cron_document(managedDataSource="other")
    twin["metadata"] |= {"namespace": "other"}
    store.apply(twin)
    assert [line.split()[:2] for line in run("get", "dic", NAME, "-A", "--no-headers")[1].splitlines()] == [
        [NAMESPACE, NAME],
        ["other", NAME],
    ]
    assert len(json.loads(run("get", "dic", NAME, "-A", "-o", "json")[1])["items"]) == 2
    assert run("get", "dic", "nobody", "-A")[2] == "error: DataImportCron nobody is in no namespace\n"
    code, told, error = run("get", "dic", NAME, "-n", NAMESPACE, "-l", "team=a", "-o", "json")
    assert (code, json.loads(told)["items"], error) == (0, [], "")


def test_describe_hides_what_a_secret_holds_and_get_does_not(run, store):
    store.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"accessKeyId": "aGlkZGVuLXdvcmQ="}}
    )
    told = run("describe", "secret", "s")[1]
    assert "aGlkZGVu" not in told
    assert "<hidden, " in told
    assert "aGlkZGVu" in run("get", "secret", "s", "-o", "yaml")[1]


def test_describe_says_conditions_events_and_the_failed_poll_in_words(run, store):
    resource, _ = store.apply(cron_document())
    changed = resource.model_copy(
        update={
            "status": resource.status.model_validate(
                {
                    "lastExecutionTimestamp": "2026-01-01T00:00:00Z",
                    "conditions": [
                        {"type": "UpToDate", "status": "False", "reason": "ImageNotFound", "message": "no such tag"}
                    ],
                }
            )
        }
    )
    store.patch(resource, changed)
    for _ in range(3):
        store.add_event(resource, "Warning", "ImageNotFound", "no such tag")
    code, told, _ = run("describe", f"dic/{NAME}", "-n", NAMESPACE)
    assert code == 0
    assert re.search(r"^Last Poll: +\d+d ago, failed: ImageNotFound: no such tag$", told, re.MULTILINE)
    assert re.search(r"^Next Poll: +in \d+[dhms], at .* UTC", told, re.MULTILINE)
    assert re.search(r"^  UpToDate +False +ImageNotFound +.* +no such tag$", told, re.MULTILINE)
    assert re.search(r"^  Warning +ImageNotFound +\d+s \(x3 over \d+s\) +no such tag$", told, re.MULTILINE)


def test_suspend_and_resume_take_several_and_change_none_if_one_is_missing(run, store):
    store.apply(cron_document())
    assert run("suspend", NAME, "nobody", "-n", NAMESPACE)[0] == 1
    assert "<suspended>" not in run("get", "dic", "-A")[1]
    assert run("suspend", NAME, "-n", NAMESPACE)[1] == f"dataimportcron/{NAME} suspended\n"
    assert run("suspend", NAME, "-n", NAMESPACE)[1] == f"dataimportcron/{NAME} is suspended already\n"
    assert "is suspended" in run("next", NAME, "-n", NAMESPACE)[1]
    assert "suspended" in run("describe", "dic", NAME, "-n", NAMESPACE)[1]
    assert run("resume", NAME, "-n", NAMESPACE)[1] == f"dataimportcron/{NAME} resumed\n"


def test_next_of_a_name_is_late_by_its_jitter_and_of_a_schedule_is_not(run, store):
    store.apply(cron_document())
    by_name = re.findall(r"^(\S+ \S+) UTC", run("next", NAME, "-n", NAMESPACE)[1], re.MULTILINE)
    by_schedule = re.findall(r"^(\S+ \S+) UTC", run("next", "30 1 * * 1")[1], re.MULTILINE)
    assert len(by_name) == len(by_schedule) == 5
    assert all(tick.endswith("01:30:00") for tick in by_schedule)
    late = {tick[-5:] for tick in by_name}
    assert len(late) == 1
    assert late < {f"30:{second:02}" for second in range(10)}
    store.apply(cron_document(schedule=""))
    assert "has no schedule" in run("next", NAME, "-n", NAMESPACE)[1]
    assert run("next", "0 0 30 2 *")[1] == "'0 0 30 2 *' never fires\n"


def test_validate_says_all_faults_of_all_files_and_sums_up(run, tmp_path):
    good = SAMPLE.read_text()
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "deep" / "deeper" / "two.yml").write_text(good + "---\n" + good.replace("30 1 * * 1", "61 * * * *"))
    (tmp_path / "deep" / "no-utf8.yaml").write_bytes(b"kind: ok\nname: \xff\xfe\n")
    (tmp_path / "deep" / "bad.json").write_text('{"kind": "DataImportCron",\n "metadata": [}')
    (tmp_path / "empty").mkdir()
    code, told, error = run(
        "validate", str(tmp_path / "deep"), str(tmp_path / "empty"), str(tmp_path / "no.yaml"), str(SAMPLE)
    )
    assert code == 2
    assert told == "4 files, 3 documents, 5 faults\n"
    assert "two.yml, document 2: spec.schedule: Illegal cron schedule" in error
    assert "no-utf8.yaml, line 2: no UTF-8 text" in error
    assert "bad.json, line 2: not YAML" in error
    assert f"There is no .yaml, .yml or .json file in {tmp_path}/empty" in error
    assert f"There is no file {tmp_path}/no.yaml" in error
    assert run("validate", str(SAMPLE))[:2] == (0, "1 file, 1 document, 0 faults\n")


def test_validate_reads_the_standard_input():
    def check(data):
        return subprocess.run(
            [sys.executable, "-m", "worker", "validate", "-"], cwd=ROOT, input=data, capture_output=True, check=False
        )

    assert check(SAMPLE.read_bytes()).returncode == 0
    assert b"standard input, line 1: no UTF-8 text" in check(b"\xff").stderr
    nothing = check(b"")
    assert nothing.returncode == 2
    assert b"there is no document" in nothing.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([""], {"get", "poll", "doctor", "--help"}),
        (["ge"], {"get"}),
        (["get", "d"], {"dic", "das", "dv"}),
        (["get", "dic", "-n", NAMESPACE, ""], {NAME}),
        (["poll", "-n", NAMESPACE, "fed"], {NAME}),
        (["get", "dic", "-n", ""], {NAMESPACE}),
        (["get", "dic", "-o", ""], {"wide", "json", "yaml", "name"}),
        (["poll", "--w"], {"--wait"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
    ],
)
def test_completion_knows_commands_options_kinds_and_names(run, store, words, expected):
    store.apply(cron_document())
    assert expected <= set(run("completion", "words", "--", *words)[1].split())


def test_bash_completes_by_the_script(store, tmp_path):
    store.apply(cron_document())
    program = tmp_path / "bin" / "dataimportcron"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m worker "$@"\n')
    program.chmod(0o755)
    script = f"""
        eval "$(dataimportcron completion bash)"
        COMP_WORDS=(dataimportcron poll -n {NAMESPACE} fe) COMP_CWORD=4
        _dataimportcron
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == f"{NAME}\n", done.stderr


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize(
    "command", [["--help"], ["get", "--help"], ["version"], ["get", "dic", "-A"], ["next", "@daily"]]
)
def test_an_output_that_nobody_reads_or_that_is_full_or_closed_makes_no_traceback(command, store):
    store.apply(cron_document())
    program = [sys.executable, "-c", "from worker.cli import entry; entry()", *command]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}

    def call(words, **options):
        done = subprocess.run(
            words, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, check=False, **options
        )
        return done.returncode, done.stderr

    reader, writer = os.pipe()
    os.close(reader)
    assert call(program, stdout=writer) == (1, "")
    os.close(writer)
    with Path("/dev/full").open("w") as full:
        assert call(program, stdout=full) == (1, "error: standard output: No space left on device\n")
    assert call(["sh", "-c", '"$@" >&-', "sh", *program]) == (0, "")


def test_the_documentation_has_each_setting_with_its_number():
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", DOCS, re.MULTILINE)
    told = {key: value for keys, values in rows for key, value in zip_longest(keys.split(", "), values.split(", "))}
    assert {key for key in told if key} >= {f"`{setting.name}`" for setting in fields(Settings)}
    for setting in fields(Settings):
        if isinstance(setting.default, int):
            assert told[f"`{setting.name}`"] == str(setting.default)


def test_settings_are_utf_8_whatever_the_locale(state, tmp_path):
    (state.path / "settings.toml").write_text(f'default_folder = "{tmp_path}/Bilder für VMs"\n', "utf-8")
    ascii_only = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "POSIX"}
    told = subprocess.run(
        [sys.executable, "-m", "worker", "doctor", "-o", "json"],
        cwd=ROOT, env=os.environ | ascii_only, capture_output=True, text=True, check=False,
    )  # fmt: skip
    levels = {finding["what"]: finding["level"] for finding in json.loads(told.stdout)}
    assert levels["settings.toml"] == "ok"
