from tests.cluster.fixtures import cluster, namespace

__all__ = ["cluster", "namespace"]


def pytest_collection_modifyitems(items):
    """Tests with a cluster of their own come first: there is one at a time."""
    items.sort(key=lambda item: "cluster" in item.fixturenames)
