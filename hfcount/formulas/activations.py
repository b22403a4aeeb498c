"""The activations that have no parameters: which of them a config names does not change a count."""

ACTIVATIONS = (
    "gelu", "gelu_10", "gelu_fast", "gelu_new", "gelu_python", "gelu_pytorch_tanh", "gelu_python_tanh",
    "gelu_accurate", "hardswish", "laplace", "leaky_relu", "linear", "mish", "quick_gelu", "relu", "relu2", "relu6",
    "sigmoid", "silu", "sqrtsoftplus", "swish", "tanh",
)  # fmt: skip
"""The names in transformers' ACT2CLS whose modules hold neither parameters nor buffers; a test asks transformers."""
