"""What is wrong with an installation, and what to do about it.

The command line (`command`) and `/openmrs/status?full` (`Doctor`) go through the same table of
checks (`checks.CHECKS`). Nothing is changed: neither OpenMRS, nor Orthanc, nor the database.
"""
