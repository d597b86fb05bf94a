"""Questions about advantages rather than the advantages themselves: explain, sweep, verify.

They read through the pipeline, as `compute` does, and return results of `gaecli.results` and `gaecli.explanation`.
"""
