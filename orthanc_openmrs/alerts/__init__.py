"""Alerts for people who don't look at the page: a webhook (`OpenMRS.Webhook`), told of what waits
for a person, by counts and links. No alert names a patient, an order or a study.
"""
