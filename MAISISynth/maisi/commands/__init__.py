"""The commands of ``maisi``, a file for each subject. ``add_parser(commands)`` of each adds its own."""
