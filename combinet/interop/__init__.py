"""Other libraries' models as layers, and combinet's models where other libraries want theirs.

One module for each library, which is imported with it alone: `combinet.interop.torch` and so on.
`import combinet` loads none of them.
"""
