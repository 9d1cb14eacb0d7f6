"""For all tests."""

# Its pytest plugin imports it when a run fails, too deep in the stack for Python 3.11's parser, which then hides the
# failure behind "AST constructor recursion depth mismatch".
import hypothesis  # noqa: F401 -- see above
