"""From a study in Orthanc to a completed step in OpenMRS."""
