"""Floor 2: what operators see and touch: log, metrics, probes, the control API."""
