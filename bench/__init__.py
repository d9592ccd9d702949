"""The benchmark: this plugin beside Orthanc's own worklists plugin and DCMTK's wlmscpfs;
and what it costs Orthanc to tell OpenMRS of studies.

    script/bench [--part worklist|completion] [--quick] [--sizes 10,100] [--only PEER]
                 [--json FILE] [--plot FILE]

client: a scanner on a raw socket. openmrs: the stand-in, in a process of its own. queries:
what is asked. peers: who answers. studies: images, and who sends them. measure, completion:
what is timed of the worklist and of a study's way to OpenMRS, one function a section. report:
the tables, the aims, JSON, the picture.
"""
