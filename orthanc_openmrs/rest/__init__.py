"""The REST routes under /openmrs as plain functions of a request. Knows nothing of Orthanc."""
