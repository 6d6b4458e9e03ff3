"""What the guard costs beside other proxies: measured by `python -m benchmarks`, told in docs/performance.md.

The law of this package: figures report and never gate. Every figure is the CPU time or memory of the proxy's
own processes, asked of the kernel; load and backend are programs of our own in C, cheap and alike for all.
"""
