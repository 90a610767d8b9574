"""Instruction tuning, reward modelling and reinforcement learning from preferences."""
