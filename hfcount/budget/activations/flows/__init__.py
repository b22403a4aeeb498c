"""Decoder layers as dataflows: which operation follows which, written down from the classes' own forward methods.

A layer's parts are found by what it has, and by what it has not: a child that a flow does not know makes the layer
unknown. Each flow takes the tape, what comes into the part and the part itself, and gives what goes out; the tape
keeps what autograd would.
"""

from hfcount.budget.activations.flows.blocks import block_of
from hfcount.budget.activations.flows.known import Around, Sizes, normed

__all__ = ["Around", "Sizes", "block_of", "normed"]
