"""Streams that say nothing for minutes, and whose other end may be gone without a word."""

from __future__ import annotations

import socket

import aiohttp


def notice_a_dead_peer(response: aiohttp.ClientResponse) -> None:
    """Let the kernel find out within half a minute that the other end of a stream is gone."""
    transport = response.connection.transport if response.connection else None
    peer = transport.get_extra_info("socket") if transport else None
    if peer is None:
        return
    for option, value in ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
        peer.setsockopt(socket.IPPROTO_TCP, option, value)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
