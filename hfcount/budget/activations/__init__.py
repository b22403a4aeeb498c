"""The activations bucket: what the backward pass needs from the forward pass, by kind of layer."""

from hfcount.budget.activations.closed_form import activations, lab_rule, symbols_of, text_of
from hfcount.budget.activations.layers import Training
from hfcount.budget.activations.settings import Activations, Setting

__all__ = ["Activations", "Setting", "Training", "activations", "lab_rule", "symbols_of", "text_of"]
