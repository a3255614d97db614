"""The engine library seen from Python: the only package that imports ctypes.  One method, one C call."""
