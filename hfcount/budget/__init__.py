"""The four buckets of a training run's memory: weights, gradients, optimizer, activations."""
