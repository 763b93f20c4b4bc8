"""What is raised for what this machine does not have; the tests that need it are then skipped."""


class ClientUnavailableError(Exception):
    """A client cannot be had on this machine; the text says why."""
