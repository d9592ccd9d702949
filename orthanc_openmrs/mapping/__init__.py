"""Whose a study in Orthanc is."""
