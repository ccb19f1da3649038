"""The command line: one small file a verb. The only place that prints, catches everything, or sets exit codes."""
