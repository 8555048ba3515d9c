"""The subcommands of ``python -m mbi_reauth``; each module is imported only when it is asked for."""
