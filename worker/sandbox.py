"""The sandbox of workflow code, entered only to run workflow code.

Around each payload of a workflow the SDK asks which serialization context holds and where an external storage would put
it, inside the sandbox, four times for a payload that goes out and three times for one that comes in: for a poll that is
as much work as running the workflow. Only converters, codecs and storages that know contexts want the answers. The one
data converter of this program has none, so they are given outside.

Each execution runs the file of its workflow once more, for a module of its own. What is compiled of a file cannot be
changed by anybody, so that is one for all: it was the half of what a sandbox takes of memory, and where Python may not
write what it has compiled, most of the time that it takes to make one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from types import CodeType, ModuleType

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import Info, _Definition


class ContextFreeRunner(SandboxedWorkflowRunner):
    """The SDK's sandbox, for a data converter that knows no contexts; its executions share compiled code."""

    def prepare_workflow(self, defn: _Definition) -> None:
        """See the base."""
        _share_code(defn.cls.__module__)
        super().prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See the base."""
        return _ContextFree(super().create_instance(det))


class _ContextFree(WorkflowInstance):
    """A sandboxed instance that is asked for no context."""

    __slots__ = ("_sandboxed",)

    def __init__(self, sandboxed: WorkflowInstance) -> None:
        self._sandboxed = sandboxed

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        return self._sandboxed.activate(act)

    def get_serialization_context(self, command_info: object) -> None:
        del command_info

    def get_external_store_context(self, command_info: object) -> StorageDriverStoreContext:
        del command_info
        return StorageDriverStoreContext()

    def get_info(self) -> Info:
        return self._sandboxed.get_info()

    def get_thread_id(self) -> int | None:
        return self._sandboxed.get_thread_id()


class _SharedCode(SourceFileLoader):
    """Loads a module again and again, and has compiled it once."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name, path)
        self._code = super().get_code(name)

    def get_code(self, fullname: str) -> CodeType | None:
        del fullname
        return self._code


class _SharedCodes(MetaPathFinder):
    """Finds the modules whose code is shared, and no other."""

    def __init__(self) -> None:
        self.loaders: dict[str, _SharedCode] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        loader = self.loaders.get(fullname)
        return spec_from_file_location(fullname, loader.path, loader=loader) if loader is not None else None


_SHARED = _SharedCodes()


def _share_code(name: str) -> None:
    """Share the code of a module that has been loaded from a file."""
    spec = sys.modules[name].__spec__
    if spec is None or not isinstance(spec.loader, SourceFileLoader) or name in _SHARED.loaders:
        return
    _SHARED.loaders[name] = _SharedCode(name, spec.loader.path)
    if _SHARED not in sys.meta_path:
        sys.meta_path.insert(0, _SHARED)
