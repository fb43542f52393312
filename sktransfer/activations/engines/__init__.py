"""Libraries that run frozen networks, and the choice between them.

``interface`` says what an engine is, each engine has its own file, and ``choice`` lists them.
"""
