"""A real training step with no memory spent: fake tensors, a ledger of all that is made, and depth for free."""
