#!/usr/bin/env bash
# Runs the stages of the test suite in order and says what each took; the first that fails is the last that runs.
#
#     tools/stages.sh [STAGE…]      all stages of `stages` below, or those named
#
# Expects the environment of tools/setup.sh (`make test` does both). A stage is the function of its name. A folder that
# is missing or holds no test fails its stage, and so does a skipped test: nothing is left out in silence.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

stages=(static unit registry host workflow e2e image api_server)
# On a node of its own, in as much time again: `make test-cluster`.
more=(cluster)

static() { check && tests architecture; }
unit() { tests unit activities; }
registry() { tests registry importer fuzz; }
host() { tests contract host; }
workflow() { tests workflow replay; }
e2e() { tests e2e; }
image() { tests image; }
api_server() { python -m tests.cluster build && tests api_server; }
cluster() { python -m tests.cluster build && tests cluster; }

# Not in `stages`: the part of `static` that is `make check`.
check() { ruff check . && ruff format --check . && mypy && lint-imports; }

tests() { python -m pytest -q --durations=3 --junit-xml="$reports/$stage.xml" "${@/#/tests/}"; }

# count STAGE ATTRIBUTE: a figure of the stage's report (pytest writes one <testsuite>); 0 where it wrote none.
count() {
    local figure
    figure=$(grep -o "<testsuite [^>]*" "$reports/$1.xml" 2>/dev/null | grep -o " $2=\"[0-9]*\"" | tr -cd 0-9)
    echo "${figure:-0}"
}

say() { printf '\n== %s\n' "$*"; }

reports=$(mktemp -d) || exit
trap 'rm -rf "$reports"' EXIT
wanted=("${@:-${stages[@]}}")
for stage in "${wanted[@]}"; do
    [[ " ${stages[*]} ${more[*]} check " == *" $stage "* ]] ||
        { echo "unknown stage '$stage'; there are: ${stages[*]} ${more[*]} check" >&2; exit 2; }
done

result=0 ended=0 passed=0 failed=0 table=
for stage in "${wanted[@]}"; do
    say "$stage"
    started=$SECONDS
    "$stage"
    result=$?
    skipped=$(count "$stage" skipped)
    bad=$(($(count "$stage" failures) + $(count "$stage" errors)))
    passed=$((passed + $(count "$stage" tests) - bad - skipped))
    failed=$((failed + bad))
    if ((result == 0 && skipped > 0)); then
        echo "$skipped tests were skipped: a missing part must fail, not skip" >&2
        result=1
    fi
    # A stage that fails without a failing test (a linter, a missing folder) counts as one.
    ((result != 0 && bad == 0)) && failed=$((failed + 1))
    table+=$(printf '%-12s %6d s   %s' "$stage" $((SECONDS - started)) "$( ((result)) && echo FAILED || echo ok)")$'\n'
    ended=$((ended + 1))
    ((result == 0)) || break
done

say "seconds per stage"
printf '%s' "$table"
printf '%-12s %6d s\n' sum "$SECONDS"
((result == 0)) || printf 'stopped at %s, exit code %d; not run: %s\n' "$stage" "$result" "${wanted[*]:$ended}"
printf '%d passed, %d failed\n' "$passed" "$failed"
exit "$result"
