"""Generalized advantage estimates for arrays in memory: NumPy on the host, torch tensors where they lie."""

from gaecli.arrays.estimates import GaeResult as GaeResult
from gaecli.arrays.estimates import gae as gae
