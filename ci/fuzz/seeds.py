#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets: small inputs that reach far."""

import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
HELLO = b"EHLO c\r\n"
MAIL = b"MAIL FROM:<a@b>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n"
TEXT = b"Subject: t\r\n\r\ntext\r\n..\r\n.\r\n"
COPY = b"XSHADOWREQUEST 10000000001 1795291381000\r\n"


def step(who, data):
    return bytes([who, len(data)]) + data


def said(client, data):
    return bytes([(0x80 if client else 0) | len(data)]) + data


EHLO = b"250-x\r\n250-PIPELINING\r\n250-SIZE 9\r\n250 XSHADOWREQUEST\r\n"
PEER = step(0, b"220 n2\r\n") + step(0, EHLO) + step(0, b"@P")
PEER += step(0, b"250 2.7.0 " + b"ab" * 16 + b" 1\r\n")

SEEDS = {
    "session": [
        HELLO + MAIL + TEXT + b"QUIT\r\n",
        b"\x01\x07\x00" + HELLO + MAIL + TEXT,
        b"\x05\x00" + HELLO + MAIL + b"a\n.\nMAIL FROM:<e@b>\r\n.\r\n" + MAIL + TEXT,
        HELLO + b"MAIL FROM:<a@b> SIZE=9 BODY=8BITMIME SMTPUTF8\r\nRSET\r\nNOOP x\r\nVRFY a\r\n",
        HELLO + b"XPEER n2 n1 00112233445566778899aabbccddeeff\r\nXPROVE 00 00 1\r\nXQDISCARD\r\n",
        b"HELO c\r\nRCPT TO:<@x:a%b@c>\r\nEXPN a\r\nHELP\r\nWHAT\r\n" + b"x" * 3000 + b"\r\nQUIT\r\n",
        HELLO + b"MAIL FROM:<a@b>\r\nRCPT TO:<a@x>\r\nBDAT 5\r\nabcdeBDAT 2 LAST\r\n\r\nQUIT\r\n",
    ],
    "peer": [
        COPY + MAIL + TEXT + b"XQDISCARD\r\nXQCONFIRM 1\r\n",
        b"XQSTATUS 100000001 100000002\r\nXSHADOWABORT 10000000001\r\nXQDISCARD\r\nQUIT\r\n",
        COPY + MAIL + TEXT + COPY + MAIL + TEXT + b"XSHADOWABORT 10000000001\r\n" + COPY + MAIL,
        b"XSHADOW\r\n" + MAIL + TEXT + b"XQDISCARD\r\nXQCONFIRM 9\r\nXPEER n2 n1 00\r\n",
    ],
    "replies": [
        PEER + step(0, b"250 a\r\n250 b\r\n250 c\r\n250 c\r\n354 d\r\n") + step(0, b"250 held\r\n"),
        step(0x80, b"") + step(0, b"220 x\r\n") + step(0, EHLO) + step(0, b"250 a\r\n" * 3 + b"354 d\r\n250 e\r\n"),
        step(0x80, b"") + step(0, b"220 x\r\n250 x\r\n250 a\r\n550 b\r\n450 c\r\n") + step(0x60, b"") + step(0x70, b""),
        PEER + step(0, b"250-2.0.0 1 2\r\n250 2.0.0 count=2 token=1 more=0\r\n") + step(0x60, b""),
    ],
    "store": [
        bytes([7]) + bytes([0, 0, 40, 0, 1]),
        bytes([15]) + bytes([1, 1, 0, 16, 9]) + bytes([0, 2, 0, 32, 0]),
        bytes([3]) + bytes([0, 3, 0, 0, 0]),
        bytes([9]),
        b"f" + bytes([4, 2]) + b"mark" + bytes(32) + bytes([24, 200]) + b"segment-0000000000000000" + bytes(3200),
    ],
    "wire_client": [
        b"\x00" + b"220 x\r\n250-x\r\n250 PIPELINING\r\n" + b"250 a\r\n250 b\r\n250 c\r\n354 d\r\n250 e\r\n" * 3 + b"221 q\r\n",
        b"\x02\x09\x00220 x\r\n250 x\r\n250 a\r\n550 b\r\n250 c\r\n354 d\r\n451 e\r\n421 bye\r\n",
        b"\x01" + b"220 x\r\n250 x\r\n250 a\r\n250 b\r\n250 c\r\n354 d\r\n250 e\r\n450 f\r\n",
    ],
    "wire_mailbox": [
        b"\x00" + HELLO + MAIL + TEXT + b"QUIT\r\n",
        b"\x01" + b"LHLO c\r\n" + MAIL + TEXT + MAIL + TEXT,
        b"\x02\x03\x00" + HELLO + b"STARTTLS\r\n",
        b"\x00" + HELLO + b"MAIL FROM:<a@b>\r\nRCPT TO:<a@x>\r\nBDAT 3\r\nabcBDAT 0 LAST\r\n",
    ],
    "wire_observer": [
        said(0, b"220 x\r\n") + said(1, HELLO) + said(0, b"250-x\r\n250 PIPELINING\r\n") + said(1, MAIL)
        + said(0, b"250 a\r\n250 b\r\n250 c\r\n354 d\r\n") + said(1, TEXT) + said(0, b"250 e\r\n") + said(1, b"QUIT\r\n"),
        said(0, b"220 x\r\n") + said(1, HELLO + b"STARTTLS\r\n") + said(0, b"250 STARTTLS\r\n220 go\r\n") + said(1, b"\x16\x03\x01"),
        said(0, b"220 x\r\n") + said(1, b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@x>\r\nBDAT 3 LAST\r\nabc")
        + said(0, b"250 x\r\n250 a\r\n250 b\r\n250 c\r\n"),
    ],
}


def config():
    with open(os.path.join(HERE, "../../reference-impl/sample.toml"), encoding="utf-8") as file:
        sample = file.read()
    yield sample.encode()
    # Every commented key switched on.
    yield re.sub(r"(?m)^# (?=[a-z-]+ = )", "", sample).encode()


def main():
    SEEDS["config"] = list(config())
    for target, seeds in SEEDS.items():
        folder = os.path.join(HERE, "corpus", f"{target}.seeds")
        os.makedirs(folder, exist_ok=True)
        for number, seed in enumerate(seeds):
            with open(os.path.join(folder, str(number)), "wb") as file:
                file.write(seed)


if __name__ == "__main__":
    main()
