"""The web pages: the same use cases as the API's, for people with a browser.

A page does no more than its visitor may: callbacks call use cases with the principal of the
session. Nothing comes from outside of the service.
"""
