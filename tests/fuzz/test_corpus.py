"""All inputs that are kept, each through the check of its kind."""

from pathlib import Path

import pytest

from tests.fuzz.checks import CHECKS

CORPUS = Path(__file__).with_name("corpus")
FILES = sorted(path for path in CORPUS.rglob("*") if path.is_file() and path.name != "README.md")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CORPUS)))
def test_kept_input(path):
    CHECKS[path.parent.name](path.read_bytes())


def test_the_corpus_stays_small():
    assert {path.parent.name for path in FILES} == set(CHECKS)
    assert len(FILES) < 100
    assert max(path.stat().st_size for path in FILES) < 4096
