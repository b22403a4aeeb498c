"""What is claimed: every figure that a model's page, name and files publish, before anything is checked."""

from hfcount.auditing.claimed.gather import claims_of
from hfcount.auditing.claimed.names import claims_in_name
from hfcount.auditing.claimed.text import claims_in_text

__all__ = ["claims_in_name", "claims_in_text", "claims_of"]
