"""A correction to Snakemake's Slurm plugin."""

import snakemake_executor_plugin_slurm as plugin


def stay_with_squeue() -> None:
    """Keep the Slurm plugin from falling back to sacct if the profile selects squeue.

    The plugin (2.8) falls back if slurmctld does not answer for a moment. Without slurmdbd, sacct
    fails, the plugin loses track of the jobs, and the run hangs (docs/reliability.md).
    """
    is_available = plugin.is_query_tool_available
    plugin.is_query_tool_available = lambda tool: tool != "sacct" and is_available(tool)
