"""Closed forms: why a model has the number of parameters that it has, in the symbols of its config.

`closed_form` gives the form derived by hand for the classics. Importing this loads neither torch nor sympy.
"""

from hfcount.formulas.closed_form import ClosedForm, ComponentForm
from hfcount.formulas.registry import closed_form
from hfcount.formulas.text import legend, pretty, to_text

__all__ = ["ClosedForm", "ComponentForm", "closed_form", "legend", "pretty", "to_text"]
