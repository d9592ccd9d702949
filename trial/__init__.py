"""A clinic on one machine, for the demo, the tests and the bench: a scratch Orthanc with the
plugin, and a scanner played by DCMTK. The OpenMRS beside them is `standin`.
"""
