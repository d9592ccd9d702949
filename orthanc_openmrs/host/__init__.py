"""The only package that knows Orthanc's Python module, which is passed in as an object."""
