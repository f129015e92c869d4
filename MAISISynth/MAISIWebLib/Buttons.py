"""Small buttons that show an icon and tell in a tooltip what they do."""

from __future__ import annotations

from trame.widgets.vuetify3 import VBtn, VIcon, VTooltip


def iconButton(icon: str | tuple[str], text: str, **options) -> None:
    """A button with an icon (or an expression for it); ``options`` are those of Vuetify's button."""
    with VBtn(**{"icon": True, "variant": "text", "size": "small", **options}):
        VIcon(icon=icon)
        VTooltip(text, activator="parent", location="bottom", open_delay=400)
