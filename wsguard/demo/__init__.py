"""The demonstration: an application that checks nothing, an evil site, and the guard between, on one command.

Everything is real: the guard is a process of its own with policy files of its own, and what is told is what a
client read from the wire.
"""
