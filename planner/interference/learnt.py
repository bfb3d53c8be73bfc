"""What was learnt from measuring models together: the fits, and the measured contents themselves.            [pure]"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from analyzer.measurements.co_location import CoLocation
from planner.interference.fitted import Interference


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What a plan knows of co-location.

    Parameters
    ----------
    fits : tuple of Interference
        One for each device type that was measured.
    co_locations : tuple of CoLocation
        The contents that were measured; those that failed are not planned again.
    """

    fits: tuple[Interference, ...] = ()
    co_locations: tuple[CoLocation, ...] = ()

    @classmethod
    def of(cls, co_locations: Iterable[CoLocation]) -> Self:
        """Fit what was measured."""
        from planner.interference.observed import fits_of  # it needs numpy, and a plan without measurements does not

        found = tuple(co_locations)
        return cls(fits=tuple(fits_of(found).values()), co_locations=found)

    def fit_for(self, device: str) -> Interference | None:
        """Return the fit of a device type by its name; None where nothing was measured on it."""
        return next((fit for fit in self.fits if fit.device == device), None)


NOTHING = Learnt()
