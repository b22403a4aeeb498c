"""What is stored against what is built: a checkpoint's table joined with its class's parameters by name."""

from hfcount.auditing.stored.equal import equal_by_names, join_by_names
from hfcount.auditing.stored.join import join
from hfcount.auditing.stored.joined import Difference, Joined, Status, Term

__all__ = ["Difference", "Joined", "Status", "Term", "equal_by_names", "join", "join_by_names"]
