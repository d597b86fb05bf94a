"""The estimator that settings ask for. `gaecli.estimator_kinds` is the table."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from gaecli.estimators.base import Estimator
from gaecli.kernels.devices import Device
from gaecli.settings import Settings


def make_estimator(settings: Settings, device: Device) -> Estimator:
    if settings.stream:
        from gaecli.estimators.streams import StreamsEstimator

        return StreamsEstimator(settings, tuple(make_estimator(one, device) for one in settings.of_streams))
    make: Callable[[Settings, Device], Estimator] = _module(settings).make
    if not settings.is_over_units:
        return make(settings, device)
    from gaecli.estimators.units import over_units

    return over_units(make, settings, device)


def needs_whole_trajectories(settings: Settings) -> bool:
    """Whether more of a trajectory than the inflow of a lane crosses the border of a block."""
    return settings.is_over_units or bool(_module(settings).needs_whole_trajectories(settings))


def units_are_of_next_steps(settings: Settings) -> bool:
    """The unit of the last step of a block is known to the next block alone."""
    return settings.is_over_units and settings.convention.mask_shift


def _module(settings: Settings) -> Any:
    return import_module(settings.kind.module)
