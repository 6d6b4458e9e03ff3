"""Kubernetes manifests with the guard put in, and taken out again. Pure: text in, text out.

A manifest is never written anew. Its text is read into a tree that knows where everything stands, and what changes is
spliced in: comments, quotes, order and layout of all the rest stay as their author left them.
"""
