"""Measurements, each a program: `python -m bench.NAME --help`.

engine    our engine beside the machine's roofline           sweep    by weight format, sequences, depth
compare   beside llama-cpp-python                            startup  time and memory of a start
shapes    makes random-weight models                         steptax  a decode step beside its forward pass
kvcost    accuracy of KV cache types                         http     a real server, from its clients' side
depth     what a long context costs a decode step            size     lines of this source
plot      draws docs/speed.svg from bench/results
"""
