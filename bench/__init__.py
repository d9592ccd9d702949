"""The benchmark: this plugin beside Orthanc's own worklists plugin and DCMTK's wlmscpfs.

    script/bench [--quick] [--sizes 10,100] [--only PEER] [--json FILE] [--plot FILE]

client: a scanner on a raw socket. openmrs: the stand-in, in a process of its own. queries:
what is asked. peers: who answers. measure: what is timed, one function a section. report:
the tables, the aims, JSON, the picture.
"""
