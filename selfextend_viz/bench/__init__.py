"""What attention costs: prefill, decoding and memory beside plain attention, and how near the device's own limit.

Nothing here draws. :mod:`selfextend_viz.bench.rows` needs no torch; :mod:`selfextend_viz.bench.suite` runs it all.
"""
