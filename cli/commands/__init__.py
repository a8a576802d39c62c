"""The subcommands, one file each; a large output beside its command."""
