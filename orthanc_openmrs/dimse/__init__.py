"""A bounded DICOM server for the DIMSE-N services: upper layer (PS3.8), messages (PS3.7), sockets.

It knows no SOP class beside Verification, no dataset's contents and no OpenMRS: what a message
means is its handlers' business. `pdu`, `upper_layer` and `messages` do no I/O.
"""
