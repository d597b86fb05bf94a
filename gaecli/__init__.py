"""Advantages and returns for reinforcement-learning rollout files."""

__version__ = "0.1.0"
