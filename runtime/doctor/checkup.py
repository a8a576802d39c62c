"""All checks, in the order in which they are shown."""

from collections.abc import Iterator

from subbyte.runtime.doctor.cache_checks import cache_checks
from subbyte.runtime.doctor.check import Check
from subbyte.runtime.doctor.machine_checks import machine_checks
from subbyte.runtime.doctor.software_checks import software_checks


def checkup() -> Iterator[Check]:
    """Looks at the installation, the machine and the folders of models; takes about a second."""
    yield from software_checks()
    yield from machine_checks()
    yield from cache_checks()
