"""A scripted name server for tests: it knows IPv4 addresses of a few names, and each name can be
answered, refused or left without an answer, whatever happens to the others.

The programs under test ask the name server of the machine's /etc/resolv.conf. In a namespace that
address is free, so this one takes it; nothing of the machine is changed.
"""

import re
import socket
import struct
import threading

import netlab

A_RECORD, INTERNET = 1, 1
SERVER_FAILURE, NO_SUCH_NAME = 2, 3
SILENCE = object()  # nothing is answered
FAILURE = object()  # the name server says that it cannot tell


def system_name_servers():
    """Whom the resolver will ask; what it asks without any is the last resort."""
    try:
        with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
            found = re.findall(r"^\s*nameserver\s+([0-9a-fA-F.:]+)\s*$", file.read(), re.M)
    except FileNotFoundError:
        found = []
    return found or ["127.0.0.1"]


class NameServer:
    """Answers from .names, {name: address, SILENCE or FAILURE}, which may change at any time; every
    other name does not exist. What was asked is in .asked. A context."""

    def __init__(self, namespace, names):
        self.names = dict(names)
        self.asked = []
        self.sockets = []
        with netlab.within(namespace):
            for address in system_name_servers():
                ip6 = ":" in address
                if not address.startswith("127.") and address != "::1":
                    extra = ("nodad",) if ip6 else ()
                    netlab.run("ip", "address", "add", address, "dev", "lo", *extra)
                self.sockets.append(socket.socket(socket.AF_INET6 if ip6 else socket.AF_INET,
                                                  socket.SOCK_DGRAM))
                self.sockets[-1].bind((address, 53))
        self.threads = [threading.Thread(target=self.serve, args=(each,), daemon=True)
                        for each in self.sockets]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for each in self.sockets:
            each.close()

    def serve(self, endpoint):
        while True:
            try:
                query, origin = endpoint.recvfrom(512)
                answer = self.answer(query)
                if answer is not None:
                    endpoint.sendto(answer, origin)
            except OSError:
                return

    def answer(self, query):
        """RFC 1035 section 4; None for a question that is left alone."""
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("ascii", "replace"))
            at += 1 + query[at]
        question = query[12:at + 5]
        kind = struct.unpack("!H", query[at + 1:at + 3])[0]
        name = ".".join(labels).lower()
        self.asked.append(name)
        known = self.names.get(name)
        if known is SILENCE:
            return None
        code = SERVER_FAILURE if known is FAILURE else NO_SUCH_NAME if known is None else 0
        records = b""
        if code == 0 and kind == A_RECORD:
            records = struct.pack("!HHHIH", 0xc00c, A_RECORD, INTERNET, 0, 4) + \
                      socket.inet_aton(known)
        return query[:2] + struct.pack("!HHHHH", 0x8580 | code, 1, 1 if records else 0, 0, 0) + \
            question + records
