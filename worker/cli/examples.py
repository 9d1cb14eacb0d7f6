"""What each `--help` and docs/cli.md show: commands that a person can copy."""

from __future__ import annotations

from typing import Final

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "up": ("dataimportcron up", "dataimportcron up --state ~/images-state"),
    "worker": ("TEMPORAL_ADDRESS=temporal.example.com:7233 dataimportcron worker",),
    "apply": ("dataimportcron apply -f fedora.yaml", "cat *.yaml | dataimportcron apply -f -"),
    "delete": (
        "dataimportcron delete dic fedora-image-import-cron -n golden-images",
        "dataimportcron delete -f fedora.yaml",
    ),
    "get": (
        "dataimportcron get dic -A",
        "dataimportcron get dic,das,dv -n golden-images -o wide",
        "dataimportcron get dv -n golden-images --watch",
        "dataimportcron get datasource/fedora -n golden-images -o yaml",
    ),
    "describe": (
        "dataimportcron describe dic fedora-image-import-cron -n golden-images",
        "dataimportcron describe datasource/fedora -n golden-images",
    ),
    "poll": (
        "dataimportcron poll fedora-image-import-cron -n golden-images",
        "dataimportcron poll fedora-image-import-cron -n golden-images --wait",
    ),
    "suspend": ("dataimportcron suspend fedora-image-import-cron -n golden-images",),
    "resume": ("dataimportcron resume fedora-image-import-cron -n golden-images",),
    "migrate": (
        "dataimportcron migrate --all --dry-run",
        "dataimportcron migrate fedora-image-import-cron -n golden-images",
        "dataimportcron migrate fedora-image-import-cron -n golden-images --undo",
    ),
    "path": (
        "dataimportcron path fedora -n golden-images",
        "dataimportcron path datavolume/my-vm",
        "virt-install --import --disk size=20,backing_store=$(dataimportcron path fedora),backing_format=raw …",
    ),
    "history": (
        "dataimportcron history fedora-image-import-cron -n golden-images",
        "dataimportcron history fedora-image-import-cron -n golden-images -o json",
    ),
    "validate": ("dataimportcron validate fedora.yaml golden-images/", "dataimportcron validate - <fedora.yaml"),
    "next": ('dataimportcron next "30 1 * * 1"', "dataimportcron next fedora-image-import-cron -n golden-images"),
    "import": (
        "dataimportcron import --source docker://quay.io/containerdisks/fedora --target fedora.img --size 10737418240",
    ),
    "doctor": ("dataimportcron doctor", "dataimportcron doctor -o json", "dataimportcron doctor --context production"),
    "completion": (
        'eval "$(dataimportcron completion bash)"',
        "dataimportcron completion fish >~/.config/fish/completions/dataimportcron.fish",
    ),
    "version": ("dataimportcron version",),
}

EXIT_CODES: Final = (
    (0, "done"),
    (1, "failed, and may work later"),
    (2, "wrong input, or something must be changed first"),
    (130, "interrupted by Ctrl-C; `get --watch` and `up` end with 0 then"),
)


def epilog(command: str) -> str:
    """The examples of a command, as argparse shows them below its options."""
    return "\n".join(["examples:", *(f"  {example}" for example in EXAMPLES[command])])


def exit_codes() -> str:
    """The exit codes, a line each."""
    return "\n".join(["exit codes:", *(f"  {code:<4} {meaning}" for code, meaning in EXIT_CODES)])
