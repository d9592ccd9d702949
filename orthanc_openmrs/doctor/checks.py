"""The checks, as a table.

Decides: in which order an installation is looked at, and what each check needs.
"""

from orthanc_openmrs.doctor import installation, openmrs, orders, queries, running
from orthanc_openmrs.doctor.case import Case
from orthanc_openmrs.doctor.findings import Check

CHECKS: tuple[Check[Case], ...] = (
    Check("configuration", installation.configuration),
    Check("settings", installation.settings, ("configuration",)),
    Check("Plugins", installation.plugins, ("configuration",)),
    Check("PythonScript", installation.script, ("configuration",)),
    Check("packages", installation.packages, ("Plugins", "PythonScript"), 40),
    Check("DefaultEncoding", installation.encoding, ("configuration",)),
    Check("StableAge", installation.stable_age, ("configuration",)),
    Check("scanners", installation.scanners, ("configuration",)),
    Check("LuaScripts", queries.lua_filter, ("configuration",)),
    Check("DicomThreadsCount", queries.workers, ("configuration",)),
    Check("Orthanc's version", running.installed, ("configuration",)),
    Check("access", running.access, ("configuration",)),
    Check("Orthanc", running.orthanc, ("configuration",)),
    Check("plugin", running.loaded, ("Orthanc",)),
    Check("database", running.database, ("settings",)),
    Check("OpenMRS", openmrs.connection, ("settings",), 20),
    Check("list", openmrs.worklist, ("OpenMRS",), 40),
    Check("clock", openmrs.clock, ("OpenMRS",)),
    Check("status updates", openmrs.updates, ("OpenMRS",), 40),
    Check("names", openmrs.names, ("list",), 20),
    Check("steps", openmrs.steps, ("list",), 20),
    Check("orders", orders.orders, ("OpenMRS",), 20),
    Check("notifications", running.notifications, ("plugin",)),
    Check("C-FIND", running.query, ("plugin", "scanners"), 20),
    Check("MPPS", running.procedures, ("plugin", "settings"), 20),
)
"""Every check, the most fundamental first."""
