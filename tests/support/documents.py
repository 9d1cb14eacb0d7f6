"""Small documents of each kind, and their faults as lines."""

from dataimportcron.api.validation import validate

CDI = "cdi.kubevirt.io/v1beta1"


def config_map(**fields):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "certs"}} | fields


def secret(**fields):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}} | fields


def data_source(**spec):
    return {"apiVersion": CDI, "kind": "DataSource", "metadata": {"name": "fedora"}, "spec": spec}


def lines(document):
    return [str(fault) for fault in validate(document)]
