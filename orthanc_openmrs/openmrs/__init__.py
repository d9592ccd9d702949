"""The other system: OpenMRS's routes, its JSON of all generations, its verdicts."""
