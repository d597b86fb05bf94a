"""The TD error: what one step tells.

    Aₜ = δₜ = rₜ + γ (1 - dₜ) V(sₜ₊₁) - V(sₜ)             Rₜ = rₜ + γ (1 - dₜ) V(sₜ₊₁)

Sutton and Barto 2018, eq. 6.2 and 6.5. It is GAE with λ = 0, so all of blocks, borders and bootstrap rules is
that of `gaecli.estimators.gae`.
"""

from __future__ import annotations

from gaecli.estimators.decays import with_one_lam
from gaecli.estimators.gae_variants import GatedGae
from gaecli.estimators.td_lambda import make as make_td_lambda
from gaecli.estimators.td_lambda import needs_whole_trajectories
from gaecli.kernels.devices import Device
from gaecli.settings import Settings

__all__ = ["make", "needs_whole_trajectories"]


def make(settings: Settings, device: Device) -> GatedGae:
    return make_td_lambda(with_one_lam(settings, 0.0), device)
