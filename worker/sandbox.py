"""The sandbox of workflow code, entered only to run workflow code.

Around each payload of a workflow the SDK asks which serialization context holds and where an external storage would put
it, inside the sandbox, four times for a payload that goes out and three times for one that comes in: for a poll that is
as much work as running the workflow. Only converters, codecs and storages that know contexts want the answers. The one
data converter of this program has none, so they are given outside.
"""

from __future__ import annotations

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import Info


class ContextFreeRunner(SandboxedWorkflowRunner):
    """The SDK's sandbox, for a data converter that knows no contexts."""

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
