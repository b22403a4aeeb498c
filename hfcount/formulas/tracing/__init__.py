"""Closed forms read off constructors: a config whose numbers remember what they are goes through the real classes.

`recorder` keeps what a trace sees, `numbers` are the values that remember, `plant` puts them into a config,
`shapes` notes the symbolic shape of every tensor, `loops` finds what repeats, `trace` runs it all.
"""
