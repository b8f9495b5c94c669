"""Models of other libraries as layers, and combinet's models inside other libraries.

Each library has its own module, such as `combinet.interop.torch`. `import combinet` loads none of
them.
"""
