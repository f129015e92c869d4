"""Who may talk to the server: the holder of the link that was printed, in one browser window at a time."""

from __future__ import annotations

import asyncio
import secrets

from aiohttp import web

from MAISILib.Translate import _

PAGES = ("/", "/index.html")
SOCKET = "/ws"
LEAVING_SECONDS = 2.0  # how long a window that is being closed or reloaded may take to say so


class Access:
    """Refuses requests without the token, and a second window while one is open.

    The link with the token leads to the page and leaves a cookie, so that the token does not stay in the address line.
    """

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(24)
        self._cookie = f"maisi_{secrets.token_hex(4)}"  # a browser sends cookies to every port of this computer
        self._windows = 0

    def protect(self, application: web.Application) -> None:
        """Put the guard before everything that ``application`` serves; call before it starts."""
        application.middlewares.append(self._guard)

    @web.middleware
    async def _guard(self, request: web.Request, handler) -> web.StreamResponse:
        if self._holds(request.query.get("token")) and request.path in PAGES:
            return self._enter()
        if not self._holds(request.cookies.get(self._cookie)):
            return _page(403, _("No entry"), _("Open the complete link that 'maisi web' printed, with its token."))
        if request.path in (*PAGES, SOCKET) and not await self._isFree():
            sentence = _("This workbench is open in another window: close that one, then reload this page.")
            return _page(409, _("Already open"), sentence)
        if request.path != SOCKET:
            return await handler(request)
        self._windows += 1
        try:
            return await handler(request)
        finally:
            self._windows -= 1

    def _holds(self, token: str | None) -> bool:
        return secrets.compare_digest((token or "").encode(), self.token.encode())

    def _enter(self) -> web.Response:
        response = web.Response(status=302, headers={"Location": "index.html"})
        response.set_cookie(self._cookie, self.token, httponly=True, samesite="Lax")
        return response

    async def _isFree(self) -> bool:
        for _attempt in range(20):
            if not self._windows:
                return True
            await asyncio.sleep(LEAVING_SECONDS / 20)
        return not self._windows


def _page(status: int, title: str, sentence: str) -> web.Response:
    html = (
        f"<!doctype html><title>{title}</title><body style='background:#0e1116;color:#d7dde5;font:16px sans-serif;"
        f"display:grid;place-items:center;height:90vh'><div><h1>{title}</h1><p>{sentence}</p></div>"
    )
    return web.Response(status=status, text=html, content_type="text/html")
