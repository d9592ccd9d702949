"""Orthanc's bridge to OpenMRS: worklists out, completed steps back.

`plugin` builds everything by hand; the other packages never import it.
"""

__version__ = "0.1.0"
