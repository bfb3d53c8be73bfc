"""The GPU types that the options gpus, gpu_memory_mib and mig stand for, given the profiles.                [pure]"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analyzer.errors import UsageError
from planner.inputs.fleet import FleetType, devices_of
from planner.inputs.gpu_catalogue import catalogue, find_type, type_of_device
from planner.inputs.profiles import Profile, of_one_device


def named_types(texts: Sequence[str], memory_bytes: int | None) -> tuple[FleetType, ...]:
    """Types named as ``TYPE`` or ``TYPE:COUNT``.

    Parameters
    ----------
    memory_bytes : int or None
        Memory of one GPU; overrides the catalogue's figure, for a single type.

    Raises
    ------
    UsageError
        If a type is not known or named twice, or a count is not a whole number above 0.
    """
    if memory_bytes and len(texts) > 1:
        raise UsageError(
            "`gpu_memory_mib` is for one type, and `gpus` names several; give their memory in a `fleet` file"
        )
    types = tuple(_named(text, memory_bytes) for text in texts)
    names = [t.type for t in types]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"`gpus={name!r}` is given twice; give it once with the sum of the counts")
    return types


def _named(text: str, memory_bytes: int | None) -> FleetType:
    name, _, count = text.partition(":")
    if ":" in text and not (count.isdecimal() and int(count)):
        raise UsageError(f"`gpus={text!r}`: the count '{count}' is no whole number above 0; write {name}:8")
    known = find_type(name)
    return FleetType(
        type=known.name,
        memory_bytes=memory_bytes or known.memory_bytes,
        limit=int(count) if count else None,
        devices=devices_of(known.name),
    )


def type_of_profiles(profile: Profile, memory_bytes: int | None) -> FleetType:
    """Return the type of the device that a profile was measured on.

    Raises
    ------
    UsageError
        If its memory is neither given nor known.
    """
    known = type_of_device(profile.board)
    measured = profile.device_memory_bytes if profile.device == profile.board else None  # not a slice's
    found = memory_bytes or measured or (known.memory_bytes if known else None)
    if not found:
        raise UsageError(
            f"the memory of '{profile.board}' is not known; give `gpu_memory_mib=16384`, or `gpus` with a type"
        )
    return FleetType(
        type=known.name if known else profile.board,
        memory_bytes=found,
        devices=(profile.board,),
    )


def count_unknown_device(
    types: tuple[FleetType, ...], profiles: Sequence[Profile]
) -> tuple[tuple[FleetType, ...], tuple[str, ...]]:
    """Count profiles of a device that the catalogue does not know for the only type there is.

    Profiles of a known device never count for another type.

    Returns
    -------
    tuple
        The types, and what this assumes, as sentences for the user.

    Raises
    ------
    UsageError
        If nothing was measured on any of the types.
    """
    devices = sorted({p.board for p in profiles})
    if any(d in t.devices for t in types for d in devices):
        return types, ()
    names = " or ".join(t.type for t in types)
    for device in devices:
        other = type_of_device(device)
        if other:
            raise UsageError(
                f"the profiles were measured on '{device}', and what a {other.name} does is not assumed of a {names};"
                " measure there, or give a scaling in a `fleet` file"
            )
    if len(types) > 1:
        raise UsageError(f"the profiles were measured on '{devices[0]}', not on {names}; say so in a `fleet` file")
    of_one_device(tuple(profiles), None)
    note = f"what was measured on '{devices[0]}' is taken to hold on {names}"
    return (replace(types[0], devices=(*types[0].devices, devices[0])),), (note,)


def cut_with_mig(fleet: Sequence[FleetType]) -> tuple[FleetType, ...]:
    """Allow MIG slices on every type that can be cut.

    Raises
    ------
    UsageError
        If none of them can.
    """
    cut = tuple(replace(t, mig=t.mig or _mig_of(t)) for t in fleet)
    if not any(t.mig for t in cut):
        able = ", ".join(name for name, entry in catalogue().items() if entry.mig)
        raise UsageError(f"`mig`: {', '.join(t.type for t in fleet)} cannot be cut; types that can are {able}")
    return cut


def _mig_of(fleet_type: FleetType) -> str | None:
    known = next((k for d in (fleet_type.type, *fleet_type.devices) if (k := type_of_device(d))), None)
    return known.mig if known else None
