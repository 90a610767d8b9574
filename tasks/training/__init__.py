"""The one training engine: loop, objectives, batches, optimizers, checkpoints."""
