"""Who may enter: only the holder of the link, in one window at a time."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("aiohttp", reason='the browser workbench is not installed: pip install -e ".[web]"')
from aiohttp import ClientSession, CookieJar, WSServerHandshakeError, web
from aiohttp.test_utils import TestServer

from MAISIWebLib import Access as accessModule
from MAISIWebLib.Access import Access


@pytest.fixture
def an_access(monkeypatch) -> Access:
    monkeypatch.setattr(accessModule, "LEAVING_SECONDS", 0.1)
    return Access()


async def page(_request: web.Request) -> web.Response:
    return web.Response(text="the page")


async def socket(request: web.Request) -> web.WebSocketResponse:
    answer = web.WebSocketResponse()
    await answer.prepare(request)
    async for _message in answer:
        pass
    return answer


def visit(access: Access, visitor) -> None:
    """Run ``visitor(server)`` with a guarded server."""

    async def run() -> None:
        application = web.Application()
        application.add_routes([web.get("/", page), web.get("/index.html", page), web.get("/ws", socket)])
        access.protect(application)
        async with TestServer(application) as server:
            await visitor(server)

    asyncio.run(run())


def browser() -> ClientSession:
    return ClientSession(cookie_jar=CookieJar(unsafe=True))  # unsafe: also for hosts that are numbers


def link(server: TestServer, access: Access) -> str:
    return str(server.make_url(f"/?token={access.token}"))


def test_without_the_token_nothing_is_served(an_access):
    async def visitor(server):
        async with browser() as stranger:
            for path in ("/", "/index.html", "/?token=", "/?token=guess", "/index.html?token=é", "/assets/logo.png"):
                answer = await stranger.get(server.make_url(path))
                assert answer.status == 403
                assert "Open the complete link" in await answer.text()
            with pytest.raises(WSServerHandshakeError, match="403"):
                await stranger.ws_connect(server.make_url("/ws"))

    visit(an_access, visitor)


def test_the_link_leads_to_the_page_and_the_token_leaves_the_address_line(an_access):
    async def visitor(server):
        async with browser() as owner:
            answer = await owner.get(link(server, an_access))
            assert (answer.status, answer.url.path, answer.url.query_string) == (200, "/index.html", "")
            assert await answer.text() == "the page"

    visit(an_access, visitor)


def test_a_second_window_is_refused_until_the_first_is_closed(an_access):
    async def visitor(server):
        async with browser() as owner, browser() as other:
            await owner.get(link(server, an_access))
            window = await owner.ws_connect(server.make_url("/ws"))
            answer = await other.get(link(server, an_access))
            assert answer.status == 409
            assert "open in another window" in await answer.text()
            with pytest.raises(WSServerHandshakeError, match="409"):
                await other.ws_connect(server.make_url("/ws"))
            await window.close()
            assert (await other.get(link(server, an_access))).status == 200

    visit(an_access, visitor)


def test_a_window_that_is_reloaded_finds_its_place_again(an_access, monkeypatch):
    monkeypatch.setattr(accessModule, "LEAVING_SECONDS", 5.0)

    async def visitor(server):
        async with browser() as owner:
            await owner.get(link(server, an_access))
            window = await owner.ws_connect(server.make_url("/ws"))
            reload = asyncio.create_task(owner.get(server.make_url("/index.html")))
            await asyncio.sleep(0.2)
            await window.close()
            assert (await reload).status == 200

    visit(an_access, visitor)


def test_tokens_are_long_and_never_the_same():
    tokens = {Access().token for _ in range(20)}
    assert len(tokens) == 20
    assert min(map(len, tokens)) >= 32
