"""The benchmark: this plugin beside Orthanc's own worklists plugin and DCMTK's wlmscpfs;
what it costs Orthanc to tell OpenMRS of studies; and the REST API over an archive.

    script/bench [--part worklist|completion|rest] [--quick] [--sizes 10,100] [--only PEER]
                 [--json FILE] [--plot FILE]

client: a scanner on a raw socket. openmrs: the stand-in, in a process of its own. queries:
what is asked. peers: who answers. studies: images, and who sends them. archive: an Orthanc full
of studies of made-up people (`tests.people`). measure, completion, rest: what is timed of the
worklist, of a study's way to OpenMRS and of the REST API, one function a section. report: the
tables, the aims, JSON, the picture.
"""
