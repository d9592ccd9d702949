"""OpenMRS steps as DICOM Modality Worklist answers (PS3.4 Annex K). No network, no clock."""
